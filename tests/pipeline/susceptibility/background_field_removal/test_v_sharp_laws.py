"""V-SHARP removes every field whose sources lie outside, and keeps the field of what lies inside."""

import math

import pytest
import torch

from pipeline.errors import InvalidRecipe, UnusableInput
from pipeline.grid import Grid
from pipeline.method import StepContext
from pipeline.operators.dipole import Dipole
from pipeline.operators.spherical_mean import ball_kernel
from pipeline.susceptibility.background_field_removal.framed_field import cut_field
from pipeline.susceptibility.background_field_removal.v_sharp import (
    V_SHARP,
    SharpSettings,
    VSharpSettings,
    sharp,
    v_sharp,
)

SETTINGS = VSharpSettings(largest_radius_mm=6.0, smallest_radius_mm=2.0)
TILTED = (math.cos(0.3), math.sin(0.3), 0.0)


def coordinates(grid: Grid) -> tuple[torch.Tensor, ...]:
    axes = [
        (torch.arange(n, dtype=torch.float64) - n / 2 + 0.5) * step
        for n, step in zip(grid.shape, grid.voxel_size_mm, strict=True)
    ]
    return torch.meshgrid(*axes, indexing="ij")


def ball(grid: Grid, radius_mm: float) -> torch.Tensor:
    z, y, x = coordinates(grid)
    return z.square() + y.square() + x.square() <= radius_mm**2


def point_dipoles(grid: Grid) -> torch.Tensor:
    """Return the field of two sources outside the mask: harmonic inside, strong near the border."""
    total = torch.zeros(grid.shape, dtype=torch.float64)
    for place, moment in (((0.0, 26.0, 0.0), 900.0), ((-24.0, 0.0, 8.0), -500.0)):
        offset = [c - p for c, p in zip(coordinates(grid), place, strict=True)]
        distance = torch.sqrt(sum(part.square() for part in offset)).clamp_min(1.0)
        along = sum(part * b for part, b in zip(offset, grid.b0_direction, strict=True)) / distance
        total += moment * (3 * along.square() - 1) / distance**3
    return total


@pytest.mark.parametrize("grid", [Grid((52, 52, 52), (1.0,) * 3, TILTED), Grid((30, 52, 52), (2.0, 1.0, 1.0), TILTED)])
def test_a_harmonic_field_is_annihilated(grid: Grid) -> None:
    mask = ball(grid, 18.0)
    background = point_dipoles(grid)
    local, known = v_sharp(background, mask, grid, SETTINGS)
    assert float(local[known].std()) < 0.03 * float(background[known].std())
    assert not local[~known].any()
    assert bool((known & ~mask).sum() == 0)


def test_the_field_of_an_inner_source_is_kept() -> None:
    grid = Grid((64, 64, 64), (1.0, 1.0, 1.0), TILTED)
    mask = ball(grid, 26.0)
    source = ball(grid, 4.0).double()
    field = Dipole.on(grid, source)(source)
    local, known = v_sharp(field + 1e-3 * point_dipoles(grid), mask, grid, SETTINGS)
    near = ball(grid, 12.0) & known
    deviation = (local - field)[near] - (local - field)[near].mean()
    assert float(deviation.norm() / field[near].norm()) < 0.2


def test_the_largest_balls_response_is_undone_as_stated() -> None:
    grid, radius, damping = Grid((30, 32, 28), (1.0, 1.0, 1.0)), 4.0, 0.05
    mask = ball(grid, 12.0)
    field = torch.randn(grid.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    found, known = sharp(field, mask, grid, SharpSettings(radius_mm=radius, regularisation=damping))
    cut = cut_field(field, mask, grid)
    response = 1 - ball_kernel(cut.frame.grid, radius, cut.field)
    filtered = torch.fft.irfftn(torch.fft.rfftn(cut.field) * response, s=cut.shape) * cut.frame.embed(known)
    spectrum = torch.fft.rfftn(filtered) * response / (response**2 + damping)
    expected = cut.frame.restore(torch.fft.irfftn(spectrum, s=cut.shape))
    torch.testing.assert_close(found[known], expected[known], rtol=0, atol=1e-10)


def test_a_constant_offset_of_the_field_changes_nothing() -> None:
    grid = Grid((40, 40, 40), (1.0, 1.0, 1.0))
    mask = ball(grid, 15.0)
    field = torch.randn(grid.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    plain, _ = v_sharp(field, mask, grid, SETTINGS)
    shifted, _ = v_sharp(field + 5.0, mask, grid, SETTINGS)
    torch.testing.assert_close(plain, shifted, rtol=0, atol=1e-9)


def test_voxels_nearer_to_the_border_than_the_smallest_ball_are_given_up() -> None:
    grid = Grid((44, 44, 44), (1.0, 1.0, 1.0))
    made = V_SHARP.run(
        {"total_field": torch.zeros(grid.shape), "mask": ball(grid, 16.0)}, StepContext(grid), VSharpSettings()
    )
    known = made["mask"]
    assert bool(known[ball(grid, 12.0)].all())
    assert not bool(known[~ball(grid, 14.0)].any())


def test_a_mask_too_thin_for_the_smallest_ball_is_refused() -> None:
    grid = Grid((24, 24, 24), (1.0, 1.0, 1.0))
    mask = torch.zeros(grid.shape, dtype=torch.bool)
    mask[12] = True
    with pytest.raises(UnusableInput, match="choose a smaller radius"):
        v_sharp(torch.zeros(grid.shape), mask, grid, SETTINGS)


def test_radii_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(InvalidRecipe, match="swap them"):
        VSharpSettings(largest_radius_mm=2.0, smallest_radius_mm=5.0)
