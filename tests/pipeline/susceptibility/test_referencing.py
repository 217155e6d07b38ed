"""Referencing moves the zero and nothing else."""

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import NoSettings, StepContext
from pipeline.susceptibility.referencing import CSF, NONE, REGION, WHOLE_BRAIN, subtract_region_mean

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


def test_a_region_becomes_zero_and_the_part_of_it_outside_the_brain_does_not_count() -> None:
    susceptibility, mask = masked_map()
    region = torch.zeros_like(mask)
    region[:3] = True
    given = {"susceptibility": susceptibility + 5.0 * ~mask, "mask": mask, "region": region}
    shifted = REGION.apply(given, StepContext(GRID), NoSettings())["susceptibility"]
    assert abs(float(shifted[region & mask].mean())) < 1e-6
    assert abs(float(shifted[mask].mean())) > 1e-3
    assert not shifted[~mask].any()


def head_with_ventricle() -> tuple[dict[str, torch.Tensor], torch.Tensor, StepContext]:
    """Return map, mask and R2* of a brain with fluid in the middle and fluid at its rim."""
    grid = Grid((40, 44, 42), (2.0, 2.0, 2.0))
    z, y, x = torch.meshgrid(*(2.0 * (torch.arange(n) - n // 2) for n in grid.shape), indexing="ij")
    mask = (z**2 + y**2 + x**2).sqrt() < 38
    ventricle = (z.abs() < 6) & (y.abs() < 12) & ((x.abs() - 7).abs() < 4)
    rim = mask & (y > 33)
    r2star = torch.where(ventricle | rim, 2.0, 20.0) * mask
    susceptibility = (0.05 * ventricle - 0.4 * rim + 0.02 * torch.sin(z)) * mask
    return {"susceptibility": susceptibility, "mask": mask, "r2star": r2star}, ventricle, StepContext(grid)


def test_the_fluid_of_the_ventricles_becomes_zero_and_fluid_at_the_rim_does_not_count() -> None:
    given, ventricle, context = head_with_ventricle()
    shifted = CSF.apply(given, context, CSF.settings())["susceptibility"]
    assert abs(float(shifted[ventricle].mean())) < 1e-6


def test_fluid_is_found_in_the_magnitude_where_no_rate_is_given() -> None:
    given, _, context = head_with_ventricle()
    times = (0.004, 0.012, 0.02)
    magnitude = torch.stack([100 * torch.exp(-given["r2star"] * time) for time in times])
    rest = {name: values for name, values in given.items() if name != "r2star"} | {"magnitude": magnitude}
    found = CSF.apply(rest, StepContext(context.grid, times), CSF.settings())["susceptibility"]
    torch.testing.assert_close(found, CSF.apply(given, context, CSF.settings())["susceptibility"])


def test_a_given_region_stands_for_the_fluid() -> None:
    given, ventricle, context = head_with_ventricle()
    given["r2star"] = torch.full_like(given["r2star"], 20.0)
    shifted = CSF.apply(given | {"region": ventricle}, context, CSF.settings())["susceptibility"]
    assert abs(float(shifted[ventricle].mean())) < 1e-6


def test_a_brain_without_fluid_is_refused_with_what_to_do() -> None:
    given, _, context = head_with_ventricle()
    given["r2star"] = torch.full_like(given["r2star"], 20.0)
    with pytest.raises(UnusableInput, match="No fluid was found"):
        CSF.apply(given, context, CSF.settings())


def test_fluid_without_rate_magnitude_or_region_is_refused() -> None:
    given, _, context = head_with_ventricle()
    del given["r2star"]
    with pytest.raises(UnusableInput, match="give r2star, magnitude or a region"):
        CSF.apply(given, context, CSF.settings())


def test_a_region_on_another_grid_is_refused() -> None:
    susceptibility, mask = masked_map()
    with pytest.raises(UnusableInput, match="share one grid"):
        subtract_region_mean(susceptibility, mask[1:], mask)
