import math

import pytest
import torch

from pipeline.errors import NotConverged
from pipeline.solvers.proximal_gradient import accelerated_proximal_gradient


def test_a_sparse_problem_with_a_known_answer_is_solved() -> None:
    curvature = torch.tensor([1.0, 0.5, 0.1, 0.02])
    wanted = torch.tensor([3.0, -2.0, 10.0, 0.5])
    weight = 0.05

    def shrunk(values: torch.Tensor, step: int) -> torch.Tensor:
        return values.sign() * (values.abs() - weight).clamp_min(0)

    found = accelerated_proximal_gradient(
        lambda x: x - curvature * (x - wanted), shrunk, torch.zeros(4), n_iterations=300
    )
    answer = wanted.sign() * (wanted.abs() - weight / curvature).clamp_min(0)
    torch.testing.assert_close(found, answer, rtol=1e-4, atol=1e-4)


def test_too_long_a_step_is_named() -> None:
    with pytest.raises(NotConverged, match="diverged"):
        accelerated_proximal_gradient(lambda x: -1e10 * x, lambda v, _: v, torch.ones(3), n_iterations=20)


def test_the_listener_hears_every_step() -> None:
    told: list[int] = []
    accelerated_proximal_gradient(
        lambda x: x * math.exp(-1), lambda v, _: v, torch.ones(3), n_iterations=4, on_iteration=told.append
    )
    assert told == [1, 2, 3, 4]
