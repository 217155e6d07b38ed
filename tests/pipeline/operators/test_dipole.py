"""The dipole operator against the closed form of a magnetised sphere."""

import math

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.operators.dipole import Dipole, dipole_kernel

OBLIQUE = (math.cos(math.radians(20)), math.sin(math.radians(20)) * 0.6, math.sin(math.radians(20)) * 0.8)


def coordinates(grid: Grid) -> torch.Tensor:
    """Return millimetres from the middle of the grid, `(3, z, y, x)`."""
    axes = [
        (torch.arange(size, dtype=torch.float64) - size // 2) * step
        for size, step in zip(grid.shape, grid.voxel_size_mm, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def sphere(grid: Grid, radius_mm: float) -> torch.Tensor:
    """Return a sphere with a soft edge one voxel wide, so that its volume is right to a per cent."""
    distance = coordinates(grid).square().sum(0).sqrt()
    width = max(grid.voxel_size_mm)
    return ((radius_mm - distance) / width + 0.5).clamp(0, 1)


def field_outside(grid: Grid, radius_mm: float) -> torch.Tensor:
    """Return (χ/3)(a/r)³(3cos²θ − 1) for χ = 1 ppm."""
    position = coordinates(grid)
    distance = position.square().sum(0).sqrt().clamp_min(1e-6)
    along = sum(position[axis] * grid.b0_direction[axis] for axis in range(3)) / distance
    return (radius_mm / distance) ** 3 / 3 * (3 * along.square() - 1)


@pytest.mark.parametrize("voxel_size_mm", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0), (1.0, 1.5, 0.8)])
@pytest.mark.parametrize("direction", [(1.0, 0.0, 0.0), (0.0, 0.0, 1.0), OBLIQUE])
def test_a_sphere_makes_the_field_of_the_closed_form(
    voxel_size_mm: tuple[float, float, float], direction: tuple[float, float, float]
) -> None:
    size = tuple(int(96 / step) // 2 * 2 for step in voxel_size_mm)
    grid = Grid((size[0], size[1], size[2]), voxel_size_mm, direction)
    source, radius = sphere(grid, 6.0), 6.0
    field = Dipole.on(grid, source)(source)
    distance = coordinates(grid).square().sum(0).sqrt()
    shell = (distance > 9) & (distance < 20)
    expected = field_outside(grid, radius)
    assert float((field - expected)[shell].abs().max()) < 0.02
    assert float(torch.corrcoef(torch.stack([field[shell], expected[shell]]))[0, 1]) > 0.999
    assert abs(float(field[distance < 4].mean())) < 5e-3


def test_a_susceptibility_above_its_surroundings_raises_the_field_along_b0() -> None:
    grid = Grid((48, 48, 48), (1.0, 1.0, 1.0), (1.0, 0.0, 0.0))
    source = sphere(grid, 3.0)
    field = Dipole.on(grid, source)(source)
    assert field[24 + 8, 24, 24] > 0
    assert field[24, 24 + 8, 24] < 0


def test_the_kernel_is_zero_at_the_origin_and_bounded_by_the_physics() -> None:
    kernel = dipole_kernel(Grid((20, 18, 16), (1.0, 1.2, 0.9), OBLIQUE), dtype=torch.float64)
    assert kernel[0, 0, 0] == 0
    assert kernel.max() <= 1 / 3 + 1e-12
    assert kernel.min() >= -2 / 3 - 1e-12


def test_a_map_of_another_shape_is_refused() -> None:
    dipole = Dipole.on(Grid((8, 8, 8), (1.0, 1.0, 1.0)), torch.zeros(1))
    with pytest.raises(UnusableInput, match=r"\(8, 8, 10\)"):
        dipole(torch.zeros(8, 8, 10))
