"""A coarse grid keeps sums, and gives smooth quantities back on the full grid."""

from dataclasses import replace

import pytest
import torch

from pipeline.grid import Grid
from pipeline.susceptibility.coarse_grid import CoarseGrid
from pipeline.susceptibility.smoothing import gaussian
from tests.pipeline.susceptibility.echoes import GRID, SHAPE, coordinates

FINE = Grid((21, 30, 26), (0.6, 1.0, 1.2))


def test_small_voxels_are_joined_and_large_ones_stay_alone() -> None:
    coarse = CoarseGrid.of(FINE, 2.0)
    assert coarse.factors == (3, 2, 1)
    assert coarse.grid.shape == (7, 15, 26)
    assert coarse.grid.voxel_size_mm == pytest.approx((1.8, 2.0, 1.2))
    assert CoarseGrid.of(FINE, 0.1).factors == (1, 1, 1)


@pytest.mark.parametrize("rounding", [1e-10, 1e-6, -1e-10, -1e-6])
def test_rounding_of_a_voxel_size_changes_no_block(rounding: float) -> None:
    rounded = Grid((16, 20, 24), (1.0 + rounding, 0.5 - rounding, (2 / 3) * (1 + rounding)))
    assert CoarseGrid.of(rounded, 2.0).factors == (2, 4, 3)


@pytest.mark.parametrize("shape", [(21, 30, 26), (20, 29, 26), (19, 31, 25)])
def test_blocks_keep_the_sum_even_where_the_border_cuts_them(shape: tuple[int, int, int]) -> None:
    volume = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    coarse = CoarseGrid.of(replace(FINE, shape=shape), 2.0)
    blocks = coarse.collect(volume)
    assert tuple(blocks.shape) == coarse.grid.shape
    torch.testing.assert_close(blocks.sum(), volume.sum())
    torch.testing.assert_close(blocks[0, 0, 0], volume[:3, :2, :1].sum())


def test_every_voxel_gets_back_its_own_block() -> None:
    coarse = CoarseGrid.of(FINE, 2.0)
    numbers = torch.arange(7 * 15 * 26).reshape(7, 15, 26)
    back = coarse.repeat(numbers)
    assert tuple(back.shape) == FINE.shape
    assert back[5, 7, 3] == numbers[1, 3, 3]


def test_with_single_voxels_smoothing_is_the_gaussian_filter() -> None:
    volume = torch.rand(SHAPE, generator=torch.Generator().manual_seed(2))
    coarse = CoarseGrid.of(GRID, 0.5)
    inner = (slice(8, -8), slice(14, -13), slice(10, -10))
    torch.testing.assert_close(coarse.smooth(volume, 2.0)[inner], gaussian(volume, 2.0, GRID)[inner], atol=5e-3, rtol=0)
    assert torch.equal(coarse.smooth(volume, 0.0), volume)


def test_a_smooth_quantity_survives_the_blocks() -> None:
    fine = Grid((40, 44, 36), (1.0, 1.0, 1.0))
    z, y, x = (
        torch.linspace(-1, 1, length).reshape(shape)
        for length, shape in zip(fine.shape, ((-1, 1, 1), (1, -1, 1), (1, 1, -1)), strict=True)
    )
    volume = 2.0 + z - 0.5 * y + x * z
    coarse = CoarseGrid.of(fine, 2.0)
    back = coarse.smooth(coarse.collect(volume), 4.0) / coarse.smooth(coarse.collect(torch.ones_like(volume)), 4.0)
    inner = (slice(13, -13), slice(13, -13), slice(13, -13))
    assert (back - volume)[inner].abs().max() < 0.01


def test_slabs_are_the_whole_in_parts() -> None:
    coarse = CoarseGrid.of(FINE, 2.0)
    volume = torch.rand(coarse.grid.shape, generator=torch.Generator().manual_seed(3))
    whole = coarse.smooth(volume, 3.0)
    seen = torch.zeros(FINE.shape)
    for slab, part in coarse.smooth_slabs(volume, 3.0, 4):
        seen[slab] = part
    torch.testing.assert_close(seen, whole)


def test_the_coordinates_of_the_scan_are_covered_to_the_last_voxel() -> None:
    coarse = CoarseGrid.of(GRID, 4.0)
    z, y, x = coordinates()
    volume = (z + y + x).expand(SHAPE)
    assert tuple(coarse.smooth(coarse.collect(volume), 4.0).shape) == SHAPE
    assert coarse.factors == (2, 4, 2)
