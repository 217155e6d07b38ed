"""Conjugate gradients solve what they claim to solve, and say so where they cannot."""

import pytest
import torch

from pipeline.errors import NotConverged
from pipeline.solvers.conjugate_gradient import conjugate_gradient


def system(size: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    root = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return root @ root.T + torch.eye(size, dtype=torch.float64), torch.randn(size, generator=generator).double()


def test_as_many_steps_as_unknowns_solve_the_system() -> None:
    matrix, right = system()
    start = torch.zeros_like(right)
    found = conjugate_gradient(lambda v: matrix @ v, right.clone(), start, n_iterations=24)
    torch.testing.assert_close(matrix @ found, right)
    assert not start.any()


def test_a_good_preconditioner_saves_steps() -> None:
    matrix, right = system()
    scaled = torch.diag(torch.logspace(0, 4, 12, dtype=torch.float64))
    matrix = scaled @ matrix @ scaled
    exact = torch.linalg.inv(matrix)
    found = conjugate_gradient(
        lambda v: matrix @ v, right.clone(), torch.zeros_like(right), n_iterations=2, preconditioner=lambda v: exact @ v
    )
    torch.testing.assert_close(matrix @ found, right, rtol=1e-4, atol=1e-4)


def test_a_start_at_the_solution_stays_there() -> None:
    matrix, right = system()
    solution = torch.linalg.solve(matrix, right)
    found = conjugate_gradient(
        lambda v: matrix @ v, right - matrix @ solution, solution, n_iterations=5, tolerance=1e-3
    )
    torch.testing.assert_close(found, solution)


def test_every_step_is_told_and_the_tolerance_ends_them() -> None:
    matrix, right = system()
    steps: list[int] = []
    conjugate_gradient(
        lambda v: matrix @ v,
        right.clone(),
        torch.zeros_like(right),
        n_iterations=100,
        tolerance=1e-6,
        on_iteration=steps.append,
    )
    assert steps == list(range(1, len(steps) + 1))
    assert 1 < len(steps) < 30


def test_an_indefinite_operator_is_refused() -> None:
    with pytest.raises(NotConverged, match="diverged"):
        conjugate_gradient(lambda v: -v, torch.ones(4), torch.zeros(4), n_iterations=3)
