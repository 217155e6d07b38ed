"""Accelerated proximal gradients (POGM) for a smooth term plus one whose proximal map is known."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.errors import NotConverged


def accelerated_proximal_gradient(
    gradient_step: Callable[[Tensor], Tensor],
    proximal: Callable[[Tensor, int, float], Tensor],
    start: Tensor,
    *,
    n_iterations: int,
    cycle: int = 1,
    tolerance: float = 0.0,
    on_iteration: Callable[[int], None] | None = None,
) -> Tensor:
    """Minimise f(x) + g(x) from where f's gradient step and g's proximal map are given.

    Where f is steepest the iterates swing about their limit and come to rest slowly; their mean does not.

    Parameters
    ----------
    gradient_step
        Returns x − s·∇f(x) in a new tensor, s at most one over the largest curvature of f.
    proximal
        Returns argmin ½‖x − v‖² + γ·s·g(x) of v in a new tensor; told the number of steps done, so that it can take
        another basis each time, and γ.
    start
        Where to start; any shape and type.
    n_iterations
        How many steps at most; the first cycle is the shorter one if they are no multiple of `cycle`.
    cycle
        After so many steps the proximal map takes its bases again; the iterates of a cycle are averaged.
    tolerance
        Ends where the means of two cycles differ by less, root mean square.
    on_iteration
        Called with the number of steps done.

    Returns
    -------
    The mean of the last cycle's iterates.

    Raises
    ------
    NotConverged
        Values became infinite.

    Source: Taylor 2017, doi:10.1137/16M108104X; Kim & Fessler 2018, doi:10.1007/s10957-018-1287-4.
    """
    current, descended, ahead = start, start, start.clone()
    momentum, size = 1.0, 1.0
    settled, total, n_summed = start, torch.zeros_like(start), 0
    for step in range(n_iterations):
        following = 0.5 * (1 + math.sqrt(1 + 4 * momentum**2))
        before, descended = descended, gradient_step(current)
        past, old = (momentum - 1) / following, (momentum - 1) / (size * following)
        ahead.mul_(old).add_(descended, alpha=1 + past + momentum / following)
        ahead.sub_(before, alpha=past).sub_(current, alpha=momentum / following + old)
        size = (2 * momentum + following - 1) / following
        improved = proximal(ahead, step, size)
        current, momentum = improved, following
        total, n_summed = total.add_(improved), n_summed + 1
        if on_iteration is not None:
            on_iteration(step + 1)
        if (n_iterations - step - 1) % cycle == 0:
            mean = total.div_(n_summed)
            change = float((mean - settled).abs().square().mean().sqrt())
            if not math.isfinite(change):
                raise NotConverged("The reconstruction diverged; the sensitivities' squares sum to more than one.")
            if change < tolerance:
                return mean
            settled, total, n_summed = mean, torch.zeros_like(start), 0
    return settled
