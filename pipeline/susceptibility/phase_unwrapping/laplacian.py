"""Unwrap phase by least squares: solve the Laplace equation that its wrapped differences define inside the mask.

With the mask's surface as a free (Neumann) border the solution keeps the background field, which a Laplacian over the
whole image destroys. Rounding to whole turns afterwards makes the result congruent with the input.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.susceptibility.phase_unwrapping.turns import (
    TURN,
    add_whole_turns,
    bounding_box,
    refuse_unusable,
    wrap,
)


@dataclass(frozen=True)
class LaplacianSettings:
    """Choices of the solver."""

    iterations: int = setting(100, "1", "most iterations of the solver for each echo", minimum=1, maximum=10000)
    tolerance: float = setting(1e-3, "1", "residual at which the solver stops, relative to the start", minimum=0.0)


def unwrap(
    phase: Tensor,
    magnitude: Tensor,
    mask: Tensor,
    echo_times_s: Sequence[float],
    settings: LaplacianSettings | None = None,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Unwrap each echo by weighted least squares, then bring the echoes onto a common line through time zero.

    Parameters
    ----------
    phase
        Wrapped phase [rad], `(echo, z, y, x)`, free of a phase offset.
    magnitude
        Magnitude [arbitrary], `(echo, z, y, x)`.
    mask
        Where to unwrap, bool `(z, y, x)`.
    echo_times_s
        Echo times [s].
    settings
        Choices of the solver.
    on_iteration
        Told the part of the echoes that is done.

    Returns
    -------
        Unwrapped phase [rad], `(echo, z, y, x)`; inside the mask it is the input plus whole turns, outside it is zero.

    Raises
    ------
    UnusableInput
        Where shapes disagree or the mask is empty.

    Notes
    -----
    Where the phase itself jumps (beside strong sources, in late echoes) least squares spreads the error that a path
    would avoid; ROMEO is more exact there.

    References
    ----------
    Ghiglia 1994, doi:10.1364/JOSAA.11.000107; Schofield 2003, doi:10.1364/OL.28.001194.
    """
    settings = settings or LaplacianSettings()
    refuse_unusable(phase, magnitude, mask, echo_times_s)
    box = bounding_box(mask)
    inside = mask[box]
    result = torch.zeros_like(phase)
    previous: Tensor | None = None
    for echo, time in enumerate(echo_times_s):
        wrapped = phase[(echo, *box)]
        whole = _unwrap_echo(wrapped, magnitude[(echo, *box)], inside, settings)
        expected = torch.zeros_like(whole) if previous is None else previous * (time / echo_times_s[echo - 1])
        whole = whole + TURN * torch.round((expected - whole)[inside].median() / TURN)
        previous = torch.where(inside, whole, 0)
        result[(echo, *box)] = previous
        if on_iteration is not None:
            on_iteration((echo + 1) / len(echo_times_s))
    return result


def _unwrap_echo(wrapped: Tensor, magnitude: Tensor, inside: Tensor, settings: LaplacianSettings) -> Tensor:
    bright = magnitude[inside].mean().clamp_min(torch.finfo(magnitude.dtype).tiny)
    trust = (magnitude / bright).square().clamp(1e-2, 1.0) * inside
    # An edge is worth no more than its worse end; an edge that leaves the mask is worth nothing.
    weights = [torch.minimum(trust.narrow(axis, 1, n - 1), trust.narrow(axis, 0, n - 1)) for axis, n in _axes(trust)]
    steps = [weight * wrap(wrapped.diff(dim=axis)) for axis, weight in enumerate(weights)]

    def normal_equations(guess: Tensor) -> Tensor:
        return _outflow([weight * guess.diff(dim=axis) for axis, weight in enumerate(weights)])

    smooth = _solve(normal_equations, _outflow(steps), inside, settings)
    # Least squares leaves a constant open: take the one that agrees best with the wrapped phase.
    lag = wrapped - smooth
    constant = torch.atan2((trust * lag.sin()).sum(), (trust * lag.cos()).sum())
    return add_whole_turns(wrapped, smooth + constant)


def _solve(
    normal_equations: Callable[[Tensor], Tensor], right_side: Tensor, inside: Tensor, settings: LaplacianSettings
) -> Tensor:
    """Solve by conjugate gradients, preconditioned with the inverse Laplacian of the whole box."""
    spectrum = _laplacian_spectrum(right_side)
    guess = torch.zeros_like(right_side)
    residual = right_side.clone()
    direction = torch.zeros_like(right_side)
    previous = right_side.new_ones(())
    start = residual.norm()
    for _ in range(settings.iterations):
        if residual.norm() <= settings.tolerance * start:
            break
        better = torch.fft.irfftn(torch.fft.rfftn(residual) / spectrum, s=residual.shape) * inside
        size = (residual * better).sum()
        direction = better + size / previous * direction
        image = normal_equations(direction)
        stride = size / (direction * image).sum()
        guess = guess + stride * direction
        residual = residual - stride * image
        previous = size
    return guess


def _axes(volume: Tensor) -> list[tuple[int, int]]:
    return list(enumerate(volume.shape))


def _outflow(flows: list[Tensor]) -> Tensor:
    """Return minus the divergence of a flow along the edges between voxels: the adjoint of the difference."""
    total: Tensor | None = None
    for axis, flow in enumerate(flows):
        padding = [0, 0] * 3
        padding[4 - 2 * axis], padding[5 - 2 * axis] = 1, 1
        part = -pad(flow, padding).diff(dim=axis)
        total = part if total is None else total + part
    assert total is not None
    return total


def _laplacian_spectrum(like: Tensor) -> Tensor:
    """Return the eigenvalues of the negative Laplacian on the periodic box, lifted off zero."""
    total = like.new_zeros(())
    for axis, length in _axes(like):
        places = torch.arange(length // 2 + 1 if axis == 2 else length, device=like.device, dtype=like.dtype)
        eigenvalues = 2 - 2 * torch.cos(TURN * places / length)
        shape = [1, 1, 1]
        shape[axis] = -1
        total = total + eigenvalues.reshape(shape)
    # The constant is open; any small positive number keeps the division finite.
    return total.clamp_min(float(total[total > 0].min()) if bool((total > 0).any()) else 1.0)


def run(inputs: Mapping[str, Tensor], context: StepContext, settings: LaplacianSettings) -> dict[str, Tensor]:
    """Unwrap the step's phase; see `unwrap`."""
    unwrapped = unwrap(
        inputs["phase"], inputs["magnitude"], inputs["mask"], context.echo_times_s, settings, context.on_iteration
    )
    return {"unwrapped_phase": unwrapped}


LAPLACIAN = Method(
    name="laplacian",
    citation="weighted least squares with whole turns, Ghiglia 1994, doi:10.1364/JOSAA.11.000107",
    run=run,
    settings=LaplacianSettings,
    inputs=("phase", "magnitude", "mask"),
    outputs=("unwrapped_phase",),
)
