import math

import pytest
import torch

from pipeline.errors import NotConverged
from pipeline.solvers.proximal_gradient import accelerated_proximal_gradient


def test_a_sparse_problem_with_a_known_answer_is_solved() -> None:
    curvature = torch.tensor([1.0, 0.5, 0.1, 0.02])
    wanted = torch.tensor([3.0, -2.0, 10.0, 0.5])
    weight = 0.05

    def shrunk(values: torch.Tensor, step: int, size: float) -> torch.Tensor:
        return values.sign() * (values.abs() - size * weight).clamp_min(0)

    found = accelerated_proximal_gradient(
        lambda x: x - curvature * (x - wanted), shrunk, torch.zeros(4), n_iterations=300, cycle=8
    )
    answer = wanted.sign() * (wanted.abs() - weight / curvature).clamp_min(0)
    torch.testing.assert_close(found, answer, rtol=1e-4, atol=1e-4)


def test_too_long_a_step_is_named() -> None:
    with pytest.raises(NotConverged, match="diverged"):
        accelerated_proximal_gradient(lambda x: -1e10 * x, lambda v, _step, _size: v, torch.ones(3), n_iterations=20)


def test_the_listener_hears_every_step() -> None:
    told: list[int] = []
    accelerated_proximal_gradient(
        lambda x: x * math.exp(-1), lambda v, _step, _size: v, torch.ones(3), n_iterations=4, on_iteration=told.append
    )
    assert told == [1, 2, 3, 4]


def test_it_ends_where_a_cycle_changes_little() -> None:
    told: list[int] = []
    found = accelerated_proximal_gradient(
        lambda x: x - 0.5 * (x - 4.0),
        lambda v, _step, _size: v.clone(),
        torch.zeros(3),
        n_iterations=100,
        cycle=4,
        tolerance=0.01,
        on_iteration=told.append,
    )
    assert len(told) < 60
    assert len(told) % 4 == 0
    torch.testing.assert_close(found, torch.full((3,), 4.0), rtol=0.01, atol=0)


def test_bases_that_alternate_are_averaged() -> None:
    def one_of_two(values: torch.Tensor, step: int, size: float) -> torch.Tensor:
        return torch.full_like(values, 1.0 if step % 2 else -1.0)

    found = accelerated_proximal_gradient(lambda x: 0 * x, one_of_two, torch.zeros(3), n_iterations=7, cycle=2)
    torch.testing.assert_close(found, torch.zeros(3))
