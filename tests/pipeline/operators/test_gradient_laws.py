"""Laws of the differences: adjointness, and the weighted Laplacian as what it is defined to be."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.grid import Grid
from pipeline.operators import gradient as module
from pipeline.operators.gradient import (
    SplitGradient,
    add_weighted_laplacian,
    adjoint_difference,
    forward_difference,
    gradient_length,
)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=30, deadline=None)
@given(st.tuples(st.integers(2, 9), st.integers(2, 9), st.integers(2, 9)), st.integers(0, 2))
def test_difference_and_adjoint_give_the_same_inner_product(shape: tuple[int, int, int], axis: int) -> None:
    volume = random(*shape, seed=1)
    difference = forward_difference(volume, axis)
    flow = random(*difference.shape, seed=2)
    left, right = float((difference * flow).sum()), float((volume * adjoint_difference(flow, axis)).sum())
    assert left == pytest.approx(right, rel=1e-10, abs=1e-10)


def test_the_weighted_laplacian_is_the_sum_of_its_definition() -> None:
    volume = random(5, 6, 7)
    weights = (random(4, 6, 7, seed=3).abs(), random(5, 5, 7, seed=4).abs(), random(5, 6, 6, seed=5).abs())
    target = random(5, 6, 7, seed=6)
    expected = target + sum(
        adjoint_difference(weight * forward_difference(volume, axis), axis) for axis, weight in enumerate(weights)
    )
    add_weighted_laplacian(target, volume, weights)
    torch.testing.assert_close(target, expected)


def test_a_constant_has_no_gradient_and_a_ramp_the_same_everywhere() -> None:
    ramp = torch.arange(6, dtype=torch.float64)[:, None, None].expand(6, 4, 4) * 3.0
    assert not gradient_length(torch.ones(4, 5, 6), (1.0, 1.0, 1.0)).any()
    torch.testing.assert_close(gradient_length(ramp, (2.0, 1.0, 1.0))[:-1], torch.full((5, 4, 4), 1.5).double())


def test_the_far_side_of_the_volume_is_not_a_neighbour() -> None:
    volume = torch.zeros(4, 4, 4)
    volume[0] = 1.0
    assert gradient_length(volume, (1.0, 1.0, 1.0))[3].abs().max() == 0


def test_slabs_shrink_gradients_as_the_whole_does(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = Grid((7, 6, 4), (1.5, 1.0, 0.7))
    found = []
    for slab_voxels in (1, 50, 10**9):
        monkeypatch.setattr(module, "_SLAB_VOXELS", slab_voxels)
        split = SplitGradient(grid, random(*grid.shape, seed=9).abs(), 1.6)
        drawn = [split.update(random(*grid.shape, seed=seed)) for seed in range(3)]
        split.spare_steep_places(drawn[0], 0.5, 0.1)
        found.append(torch.stack([*drawn, split.thresholds]))
    torch.testing.assert_close(found[0], found[2])
    torch.testing.assert_close(found[1], found[2])


def test_what_the_first_update_draws_towards_is_the_gradient_less_twice_what_is_cut_off() -> None:
    grid, volume = Grid((5, 6, 4), (1.0, 1.0, 1.0)), random(5, 6, 4)
    slope = torch.stack([torch.roll(volume, -1, axis) - volume for axis in range(3)]) * 1.6
    cut = (0.5 / slope.square().sum(0).sqrt()).clamp(max=1.0)
    flow = slope * (1 - 2 * cut)
    expected = sum(torch.roll(flow[axis], 1, axis) - flow[axis] for axis in range(3))
    drawn = SplitGradient(grid, torch.full(grid.shape, 0.5, dtype=torch.float64), 1.6).update(volume)
    assert drawn is volume
    torch.testing.assert_close(drawn, expected)


def test_places_without_a_threshold_stay_without() -> None:
    grid, thresholds = Grid((5, 6, 4), (1.0, 1.0, 1.0)), torch.full((5, 6, 4), 0.5, dtype=torch.float64)
    thresholds[2] = 0.0
    SplitGradient(grid, thresholds, 1.6).spare_steep_places(random(5, 6, 4), 0.3, 0.1)
    assert not thresholds[2].any()
    assert float(thresholds[[0, 1, 3, 4]].min()) > 0
    assert float(thresholds.max()) < 0.3
