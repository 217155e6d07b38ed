"""Frames: cut around the mask, pad, and give back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.operators.padding import fast_even_size, frame_around


@given(st.integers(1, 600), st.sampled_from([2, 4, 8]))
def test_fast_sizes_are_multiples_with_small_factors_only(at_least: int, multiple: int) -> None:
    size = fast_even_size(at_least, multiple)
    assert size >= at_least
    assert size % multiple == 0
    for factor in (2, 3, 5, 7):
        while size % factor == 0:
            size //= factor
    assert size == 1


def test_what_lies_around_the_mask_survives_the_way_there_and_back() -> None:
    grid = Grid((11, 13, 9), (1.0, 1.0, 2.0))
    mask = torch.zeros(grid.shape, dtype=torch.bool)
    mask[2:7, 0:5, 3:9] = True
    volume = torch.rand(grid.shape, generator=torch.Generator().manual_seed(0))
    frame = frame_around(mask, grid, margin=3)
    framed = frame.embed(volume * mask)
    assert framed.shape == frame.grid.shape
    assert frame.grid.voxel_size_mm == grid.voxel_size_mm
    torch.testing.assert_close(frame.restore(framed), volume * mask, rtol=0, atol=0)


def test_the_rim_is_as_wide_as_asked_on_every_side() -> None:
    grid = Grid((20, 20, 20), (1.0, 1.0, 1.0))
    mask = torch.zeros(grid.shape, dtype=torch.bool)
    mask[5:12, 3:20, 0:9] = True
    framed = frame_around(mask, grid, margin=16).embed(mask)
    for axis in range(3):
        occupied = framed.movedim(axis, 0).flatten(1).any(1)
        places = torch.nonzero(occupied).flatten()
        assert int(places[0]) >= 16
        assert framed.shape[axis] - 1 - int(places[-1]) >= 16


def test_an_empty_mask_is_refused_in_words() -> None:
    grid = Grid((4, 4, 4), (1.0, 1.0, 1.0))
    with pytest.raises(UnusableInput, match="mask is empty"):
        frame_around(torch.zeros(grid.shape, dtype=torch.bool), grid)


def test_a_mask_of_another_grid_is_refused() -> None:
    with pytest.raises(UnusableInput, match=r"\(4, 4, 4\)"):
        frame_around(torch.ones(5, 5, 5, dtype=torch.bool), Grid((4, 4, 4), (1.0, 1.0, 1.0)))
