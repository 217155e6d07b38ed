"""Random fields have unit variance and the scale that they were asked for, in millimetres and not in voxels."""

import pytest
import torch

from pipeline.grid import Grid
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.fields import enlarged, rough_field, smooth_field, sparse_field, wave_field

GRID = Grid((24, 48, 48), (2.0, 1.0, 1.0))


def chance(key: object) -> Chance:
    return Chance(str(key), torch.device("cpu"))


def slopes(field: torch.Tensor) -> list[float]:
    """Return the root mean square of the slope along each axis [1/mm]."""
    return [float(field.diff(dim=axis).square().mean().sqrt()) / step for axis, step in enumerate(GRID.voxel_size_mm)]


def test_every_field_has_unit_variance() -> None:
    for make in (
        lambda key: smooth_field(GRID, 6.0, chance(key)),
        lambda key: sparse_field(GRID, 5.0, 0.3, chance(key)),
        lambda key: wave_field(GRID, 9.0, chance(key)),
        lambda key: rough_field(GRID, 2.0, chance(key)),
    ):
        variance = torch.stack([make(key).square().mean() for key in range(5)]).mean()
        assert 0.75 < float(variance) < 1.3


def test_a_smooth_field_is_as_steep_along_a_thick_voxel_as_along_a_thin_one() -> None:
    along = torch.tensor([slopes(smooth_field(GRID, 8.0, chance(key))) for key in range(6)]).mean(0)
    assert float(along.max() / along.min()) < 1.3


def test_waves_of_half_the_length_are_twice_as_steep() -> None:
    long = [slopes(wave_field(GRID, 24.0, chance(key)))[2] for key in range(6)]
    short = [slopes(wave_field(GRID, 12.0, chance(key)))[2] for key in range(6)]
    assert sum(short) / sum(long) == pytest.approx(2.0, rel=0.2)


def test_a_larger_exponent_makes_a_smoother_texture() -> None:
    assert slopes(rough_field(GRID, 4.0, chance(1)))[1] < 0.5 * slopes(rough_field(GRID, 1.5, chance(1)))[1]


def test_enlarging_keeps_a_slope_exactly() -> None:
    z, y, x = torch.meshgrid(*(torch.linspace(0.0, 1.0, size) for size in (9, 7, 5)), indexing="ij")
    fine = torch.meshgrid(*(torch.linspace(0.0, 1.0, size) for size in (16, 12, 10)), indexing="ij")
    larger = enlarged((z + 2 * y - x)[None], (16, 12, 10))[0]
    assert torch.allclose(larger, fine[0] + 2 * fine[1] - fine[2], atol=1e-5)
