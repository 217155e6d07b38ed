"""Preconditioned conjugate gradients for a symmetric positive semi-definite operator given as a function."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.errors import NotConverged


def conjugate_gradient(
    operator: Callable[[Tensor], Tensor],
    residual: Tensor,
    start: Tensor,
    *,
    n_iterations: int,
    tolerance: float = 0.0,
    preconditioner: Callable[[Tensor], Tensor] | None = None,
    on_iteration: Callable[[int], None] | None = None,
    in_place: bool = False,
) -> Tensor:
    """Improve a solution of `operator(x) = b` by conjugate gradients.

    Parameters
    ----------
    operator
        Applies the operator; must be symmetric and positive semi-definite, and return a new tensor.
    residual
        b − operator(start), any shape; overwritten.
    start
        Where to start, same shape; not changed unless `in_place`.
    n_iterations
        How many steps at most.
    tolerance
        Stop where the residual's norm (in the preconditioner's metric) is below this; single precision cannot reach
        less than about 1e-6 of the right side's norm, and steps beyond that diverge where the operator is singular.
    preconditioner
        Applies an approximate inverse; symmetric and positive definite.
    on_iteration
        Called with the number of steps done.
    in_place
        Let the solution take the memory of `start`.

    Raises
    ------
    NotConverged
        A value became infinite, or the operator is not positive semi-definite.

    Source: Hestenes & Stiefel 1952, doi:10.6028/jres.049.044.
    """
    solution = start if in_place else start.clone()
    direction = residual.clone() if preconditioner is None else preconditioner(residual).clone()
    energy = _inner(residual, direction)
    for step in range(n_iterations):
        if energy <= tolerance**2:
            break
        applied = operator(direction)
        curvature = _inner(direction, applied)
        if not math.isfinite(curvature) or not math.isfinite(energy) or curvature < 0:
            raise NotConverged("The inversion diverged; the field or its noise holds extreme values. Check the mask.")
        if curvature == 0.0:
            break
        length = energy / curvature
        solution.add_(direction, alpha=length)
        residual.sub_(applied, alpha=length)
        # Freed before the preconditioner asks for as much again.
        del applied
        improved = residual if preconditioner is None else preconditioner(residual)
        previous, energy = energy, _inner(residual, improved)
        torch.add(improved, direction, alpha=energy / previous, out=direction)
        del improved
        if on_iteration is not None:
            on_iteration(step + 1)
    return solution


def _inner(left: Tensor, right: Tensor) -> float:
    return float(torch.dot(left.flatten(), right.flatten()))
