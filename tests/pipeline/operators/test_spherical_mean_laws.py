"""The mean over a ball keeps constants and ramps, and leaves a harmonic field as it is."""

import pytest
import torch
from scipy import ndimage

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.operators.spherical_mean import ball_kernel, balls_inside, refuse_too_small_for_ball


def averaged(volume: torch.Tensor, grid: Grid, radius_mm: float) -> torch.Tensor:
    kernel = ball_kernel(grid, radius_mm, volume)
    return torch.fft.irfftn(torch.fft.rfftn(volume) * kernel, s=grid.shape)


@pytest.mark.parametrize("voxel_size_mm", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0), (1.2, 0.8, 1.0)])
def test_a_harmonic_polynomial_equals_its_spherical_mean(voxel_size_mm: tuple[float, float, float]) -> None:
    grid = Grid((40, 44, 48), voxel_size_mm)
    axes = [
        (torch.arange(n, dtype=torch.float64) - n // 2) * step
        for n, step in zip(grid.shape, voxel_size_mm, strict=True)
    ]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    harmonic = 3 + 0.5 * x - y + 0.1 * (2 * z.square() - x.square() - y.square()) + 0.2 * x * y
    middle = (slice(16, 24),) * 3
    change = (averaged(harmonic, grid, 6.0) - harmonic)[middle].abs().max()
    # The parabola alone would change by 0.2 · 3/5 · 36 = 4.3 where the ball's moments are wrong.
    assert float(change) < 0.05


def test_the_mean_of_a_point_is_spread_over_the_volume_of_the_ball() -> None:
    grid = Grid((32, 32, 32), (1.0, 1.0, 1.0))
    point = torch.zeros(grid.shape, dtype=torch.float64)
    point[16, 16, 16] = 1.0
    spread = averaged(point, grid, 5.0)
    assert float(spread.sum()) == pytest.approx(1.0)
    assert float(spread[16, 16, 16]) == pytest.approx(1 / (4 / 3 * torch.pi * 125), rel=0.02)
    assert float(spread[16, 16, 24].abs()) < 1e-12


@pytest.mark.parametrize("voxel_size_mm", [(1.0, 1.0, 1.0), (3.0, 1.0, 1.0), (1.4, 1.4, 3.0), (1.2, 0.8, 1.0)])
def test_the_ball_reaches_equally_far_along_all_axes(voxel_size_mm: tuple[float, float, float]) -> None:
    grid = Grid((40, 44, 48), voxel_size_mm)
    point = torch.zeros(grid.shape, dtype=torch.float64)
    point[20, 22, 24] = 1.0
    ball = averaged(point, grid, 6.0)
    moments = []
    for axis, (size, step) in enumerate(zip(grid.shape, voxel_size_mm, strict=True)):
        shape = [1, 1, 1]
        shape[axis] = -1
        distance = (torch.arange(size, dtype=torch.float64) - size // 2).reshape(shape) * step
        moments.append(float((ball * distance.square()).sum()))
    assert moments == pytest.approx([6.0**2 / 5 + min(voxel_size_mm) ** 2 / 12] * 3, rel=0.002)


def test_a_ball_is_inside_where_the_nearest_voxel_outside_is_farther_than_its_radius() -> None:
    grid = Grid((30, 32, 34), (1.0, 1.0, 1.0))
    mask = torch.zeros(grid.shape, dtype=torch.bool)
    mask[1:29, 1:31, 1:33] = True
    mask[10:14, 12:15, 3:9] = False
    inside = balls_inside(mask, ball_kernel(grid, 5.0, torch.zeros(1)))
    distance = torch.from_numpy(ndimage.distance_transform_edt(mask.numpy()))
    assert bool(inside[distance > 5.9].all())
    assert not bool(inside[distance < 5.0].any())
    assert bool(inside.any())


def test_a_mask_thinner_than_the_ball_is_refused() -> None:
    grid = Grid((6, 30, 30), (2.0, 1.0, 1.0))
    mask = torch.ones(grid.shape, dtype=torch.bool)
    with pytest.raises(UnusableInput, match=r"only 12\.0 mm thick"):
        refuse_too_small_for_ball(mask, grid, 6.5)
    refuse_too_small_for_ball(mask, grid, 6.0)
