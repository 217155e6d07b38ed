"""Laws of the dipole operator: it is its own adjoint, and knows no preferred axis, voxel shape or precision."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.grid import Grid
from pipeline.operators.dipole import Dipole

sizes = st.integers(3, 12)
steps = st.floats(0.5, 3.0)
angles = st.floats(0.0, math.pi)


def unit(polar: float, azimuth: float) -> tuple[float, float, float]:
    return math.cos(polar), math.sin(polar) * math.sin(azimuth), math.sin(polar) * math.cos(azimuth)


@settings(max_examples=40, deadline=None)
@given(st.tuples(sizes, sizes, sizes), st.tuples(steps, steps, steps), angles, angles)
def test_the_dipole_is_its_own_adjoint_on_any_grid(
    shape: tuple[int, int, int], voxel_size_mm: tuple[float, float, float], polar: float, azimuth: float
) -> None:
    generator = torch.Generator().manual_seed(3)
    left, right = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    dipole = Dipole.on(Grid(shape, voxel_size_mm, unit(polar, azimuth)), left)
    forward, backward = float((left * dipole(right)).sum()), float((dipole(left) * right).sum())
    assert forward == pytest.approx(backward, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_permuting_axes_and_b0_together_permutes_the_field(order: tuple[int, int, int]) -> None:
    generator = torch.Generator().manual_seed(5)
    shape, voxel_size_mm, direction = (10, 12, 9), (1.0, 1.5, 2.0), unit(0.6, 0.9)
    source = torch.randn(shape, generator=generator, dtype=torch.float64)
    field = Dipole.on(Grid(shape, voxel_size_mm, direction), source)(source)
    turned_grid = Grid(
        tuple(shape[axis] for axis in order),
        tuple(voxel_size_mm[axis] for axis in order),
        tuple(direction[axis] for axis in order),
    )
    turned = Dipole.on(turned_grid, source)(source.permute(order).contiguous())
    torch.testing.assert_close(turned, field.permute(order), rtol=0, atol=1e-12)


def test_shifting_the_source_shifts_the_field() -> None:
    source = torch.randn(8, 9, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    dipole = Dipole.on(Grid((8, 9, 10), (1.0, 1.0, 2.0), unit(0.3, 0.1)), source)
    shifted = source.roll((2, 3, 4), (0, 1, 2))
    torch.testing.assert_close(dipole(shifted), dipole(source).roll((2, 3, 4), (0, 1, 2)), rtol=0, atol=1e-12)


def test_thick_voxels_see_the_field_of_thin_ones() -> None:
    thin = Grid((64, 32, 32), (1.0, 2.0, 2.0), unit(0.35, 0.5))
    thick = Grid((32, 32, 32), (2.0, 2.0, 2.0), unit(0.35, 0.5))
    z, y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) - n / 2 + 0.5 for n in thin.shape), indexing="ij")
    # Smooth enough that both grids resolve it.
    source = torch.exp(-(z.square() + (2 * y).square() + (2 * x).square()) / (2 * 6.0**2))
    field_thin = Dipole.on(thin, source)(source)
    averaged = source.reshape(32, 2, 32, 32).mean(1)
    field_thick = Dipole.on(thick, averaged)(averaged)
    torch.testing.assert_close(field_thin.reshape(32, 2, 32, 32).mean(1), field_thick, rtol=0, atol=2e-3)


def test_single_precision_is_enough() -> None:
    source = torch.randn(24, 20, 22, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    grid = Grid((24, 20, 22), (1.0, 1.0, 1.5), unit(0.2, 2.0))
    double = Dipole.on(grid, source)(source)
    single = Dipole.on(grid, source.float())(source.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=0, atol=2e-6)
