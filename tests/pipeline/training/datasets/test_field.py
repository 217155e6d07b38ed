"""The field of a patch is that of the dipole in a wide empty space, whatever part is kept and wherever B0 points."""

import math
from dataclasses import replace

import pytest
import torch

from pipeline.grid import Grid
from pipeline.operators.dipole import Dipole
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.field import PatchField, cosmos_labels, head_turns, tilted

GRID = Grid((20, 24, 18), (2.0, 1.0, 1.2), tilted(35.0, 70.0))


def susceptibility() -> torch.Tensor:
    return torch.randn(GRID.shape, generator=torch.Generator().manual_seed(1)) * 0.1


def field_in_a_wide_space(values: torch.Tensor, grid: Grid, wide: tuple[int, int, int]) -> torch.Tensor:
    space = torch.zeros(wide)
    corner = tuple(slice(0, size) for size in grid.shape)
    space[corner] = values
    return Dipole.on(replace(grid, shape=wide), space)(space)[corner]


def test_the_field_of_a_patch_is_that_of_the_dipole_in_twice_the_space() -> None:
    values = susceptibility()
    field = PatchField.of(values, GRID, GRID.shape).at(GRID.b0_direction)
    assert torch.allclose(field, field_in_a_wide_space(values, GRID, (40, 48, 36)), atol=1e-6)


def relative_difference(field: torch.Tensor, truth: torch.Tensor) -> float:
    """Return the difference up to a constant, which the value of the kernel at k = 0 leaves open."""
    difference, truth = field - truth, truth - truth.mean()
    return float((difference - difference.mean()).norm() / truth.norm())


def test_a_cropped_patch_has_the_field_of_the_whole_around_it() -> None:
    values = susceptibility()
    patch = PatchField.of(values, GRID, (12, 16, 12))
    whole = field_in_a_wide_space(values, GRID, (60, 72, 54))[patch.kept]
    alone = PatchField.of(values[patch.kept], replace(GRID, shape=(12, 16, 12)), (12, 16, 12))
    assert relative_difference(patch.at(GRID.b0_direction), whole) < 0.07
    assert relative_difference(alone.at(GRID.b0_direction), whole) > 0.3


@pytest.mark.parametrize("tilt_deg", [0.0, 25.0, 60.0])
def test_a_tilt_is_the_angle_to_the_first_axis(tilt_deg: float) -> None:
    direction = tilted(tilt_deg, 130.0)
    assert math.degrees(math.acos(direction[0])) == pytest.approx(tilt_deg, abs=1e-4)
    assert math.hypot(*direction) == pytest.approx(1.0)


def test_a_turned_head_sees_b0_from_other_sides() -> None:
    turns = torch.tensor(head_turns(GRID.b0_direction, 5, Chance("turns", torch.device("cpu"))))
    angles = torch.rad2deg(torch.acos((turns[1:] @ turns[0]).clamp(-1, 1)))
    assert torch.allclose(turns.norm(dim=1), torch.ones(5), atol=1e-5)
    assert bool(((angles >= 14.9) & (angles <= 45.1)).all())


def test_cosmos_labels_come_nearer_to_the_truth_than_the_noise_of_one_field_allows() -> None:
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in GRID.shape), indexing="ij")
    mask = z**2 + y**2 + x**2 < 0.9
    truth = torch.where((z.abs() < 0.4) & (y.abs() < 0.3), 0.1, 0.0) * mask
    truth = (truth - truth[mask].mean()) * mask
    patch = PatchField.of(truth, GRID, GRID.shape)
    noise = torch.full(GRID.shape, 1e-3) * mask
    label = cosmos_labels(patch, mask, noise, GRID, 5, Chance("cosmos", torch.device("cpu")))
    label = (label - label[mask].mean()) * mask
    assert (label - truth).norm() / truth.norm() < 0.15
    assert not bool(label[~mask].any())
