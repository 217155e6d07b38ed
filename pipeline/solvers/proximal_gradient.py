"""Accelerated proximal gradients (FISTA) for a smooth term plus one whose proximal map is known."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.errors import NotConverged

_LOOK_EVERY = 10


def accelerated_proximal_gradient(
    gradient_step: Callable[[Tensor], Tensor],
    proximal: Callable[[Tensor, int], Tensor],
    start: Tensor,
    *,
    n_iterations: int,
    on_iteration: Callable[[int], None] | None = None,
) -> Tensor:
    """Minimise f(x) + g(x) from where f's gradient step and g's proximal map are given.

    Parameters
    ----------
    gradient_step
        Returns x − s·∇f(x) in a new tensor, s at most one over the largest curvature of f.
    proximal
        Returns argmin ½‖x − v‖² + s·g(x) of v, which it may overwrite; told the number of steps done, so that it can
        take another basis each time.
    start
        Where to start; any shape and type.
    n_iterations
        How many steps.
    on_iteration
        Called with the number of steps done.

    Returns
    -------
    The last iterate.

    Raises
    ------
    NotConverged
        Values became infinite.

    Source: Beck & Teboulle 2009, doi:10.1137/080716542; restart where momentum points uphill: O'Donoghue & Candès
    2015, doi:10.1007/s10208-013-9150-3.
    """
    current, ahead, momentum = start, start, 1.0
    for step in range(n_iterations):
        improved = proximal(gradient_step(ahead), step)
        moved = improved - current
        if step % _LOOK_EVERY == _LOOK_EVERY - 1 and not math.isfinite(float(moved.abs().sum())):
            raise NotConverged("The reconstruction diverged; the sensitivities' squares sum to more than one.")
        uphill = torch.vdot((ahead - improved).flatten(), moved.flatten()).real > 0
        following = 1.0 if bool(uphill) else 0.5 * (1 + math.sqrt(1 + 4 * momentum**2))
        ahead = improved.clone() if bool(uphill) else improved + moved * ((momentum - 1) / following)
        current, momentum = improved, following
        if on_iteration is not None:
            on_iteration(step + 1)
    return current
