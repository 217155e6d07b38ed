"""Laws of the differences: adjointness, and the weighted Laplacian as what it is defined to be."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.operators.gradient import (
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
