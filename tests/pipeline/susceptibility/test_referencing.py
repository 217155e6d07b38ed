"""Referencing moves the zero and nothing else."""

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import NoSettings, StepContext
from pipeline.susceptibility.referencing import NONE, WHOLE_BRAIN, subtract_region_mean

GRID = Grid((6, 6, 6), (1.0, 1.0, 1.0))


def masked_map() -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.zeros(GRID.shape, dtype=torch.bool)
    mask[1:5, 1:5, 1:5] = True
    return torch.randn(GRID.shape, generator=torch.Generator().manual_seed(0)) * mask + 0.3 * mask, mask


def test_the_mean_of_the_whole_brain_becomes_zero() -> None:
    susceptibility, mask = masked_map()
    made = WHOLE_BRAIN.run({"susceptibility": susceptibility, "mask": mask}, StepContext(GRID), NoSettings())
    shifted = made["susceptibility"]
    assert abs(float(shifted[mask].mean())) < 1e-6
    assert not shifted[~mask].any()
    difference = (shifted - susceptibility)[mask]
    torch.testing.assert_close(difference, difference[0].expand_as(difference), rtol=0, atol=1e-6)


def test_no_reference_changes_no_voxel() -> None:
    susceptibility, _ = masked_map()
    made = NONE.run({"susceptibility": susceptibility}, StepContext(GRID), NoSettings())
    assert torch.equal(made["susceptibility"], susceptibility)


def test_a_reference_outside_the_brain_is_refused() -> None:
    susceptibility, mask = masked_map()
    with pytest.raises(UnusableInput, match="no voxel of the mask"):
        subtract_region_mean(susceptibility, ~mask, mask)
