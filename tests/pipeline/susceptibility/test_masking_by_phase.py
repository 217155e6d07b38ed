"""The phase alone bounds what has a field; of the brain it tells the voxels that can be relied on."""

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import StepContext
from pipeline.susceptibility.masking_by_phase import (
    PHASE_ONLY,
    TWO_PASS,
    PhaseOnlySettings,
    TwoPassSettings,
    phase_mask,
    reliable_voxels,
)

GRID = Grid((24, 26, 28), (1.5, 1.0, 1.0))


def distance(z: float, y: float, x: float) -> torch.Tensor:
    """Return the distance [mm] of each voxel to a place."""
    axes = [
        (torch.arange(n) + 0.5) * size - place
        for n, size, place in zip(GRID.shape, GRID.voxel_size_mm, (z, y, x), strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0).sqrt()


BODY = distance(18, 13, 14) < 10.5
BLEED = distance(18, 13, 16) < 2.1


def images() -> tuple[torch.Tensor, torch.Tensor]:
    """Return magnitude and phase of a body with a steep field and a dark focus, in air full of noise."""
    chance = torch.Generator().manual_seed(3)
    field = 2.0 * distance(0, 0, 0)
    strength = torch.where(BODY, 100.0, 0.0) * torch.stack([torch.where(BLEED, share, 1.0) for share in (0.5, 0.01)])
    signal = torch.polar(strength, torch.stack([field, 1.5 * field]))
    noise = torch.view_as_complex(torch.randn((*signal.shape, 2), generator=chance))
    return (signal + noise).abs(), (signal + noise).angle()


def test_the_phase_finds_the_body_and_fills_its_dark_focus() -> None:
    magnitude, phase = images()
    mask, quality = phase_mask(magnitude, phase, GRID, PhaseOnlySettings())
    assert (mask & BODY).sum() > 0.9 * BODY.sum()
    assert (mask & ~BODY).sum() < 0.1 * BODY.sum()
    assert mask[BLEED].all()
    assert quality[BODY & ~BLEED].mean() > 0.8


def test_a_phase_of_nothing_but_noise_is_refused() -> None:
    chance = torch.Generator().manual_seed(5)
    noise = torch.pi * (2 * torch.rand(1, *GRID.shape, generator=chance) - 1)
    with pytest.raises(UnusableInput, match="noise everywhere"):
        phase_mask(torch.ones_like(noise), noise, GRID, PhaseOnlySettings(least_quality=0.9))


def test_the_reliable_voxels_leave_out_a_focus_whose_last_echo_is_lost() -> None:
    magnitude, phase = images()
    _, quality = phase_mask(magnitude, phase, GRID, PhaseOnlySettings())
    reliable = reliable_voxels(BODY, quality, magnitude, GRID)
    assert not reliable[BLEED].any()
    assert not reliable[~BODY].any()
    assert reliable.sum() > 0.85 * (BODY & ~BLEED).sum()


def test_a_mask_of_which_nothing_is_reliable_is_refused() -> None:
    magnitude, _ = images()
    with pytest.raises(UnusableInput, match="No voxel of the mask is reliable"):
        reliable_voxels(BODY, torch.zeros(GRID.shape), magnitude, GRID, TwoPassSettings())


def test_reliable_voxels_of_other_shapes_are_refused() -> None:
    magnitude, _ = images()
    with pytest.raises(UnusableInput, match="share one grid"):
        reliable_voxels(BODY, torch.zeros(3, 3, 3), magnitude, GRID)


def test_both_passes_come_from_one_step() -> None:
    magnitude, phase = images()
    context = StepContext(GRID, (0.005, 0.02))
    made = TWO_PASS.apply({"magnitude": magnitude, "phase": phase}, context, TWO_PASS.settings())
    assert tuple(made) == TWO_PASS.outputs
    assert made["mask"][BLEED].all()
    assert not made["reliable_mask"][BLEED].any()
    assert not (made["reliable_mask"] & ~made["mask"]).any()
    alone = PHASE_ONLY.apply({"magnitude": magnitude, "phase": phase}, context, PHASE_ONLY.settings())
    assert torch.equal(alone["quality"], made["quality"])
