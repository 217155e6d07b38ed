"""Unwrap phase by least squares: solve the Laplace equation that its wrapped differences define inside the mask.

With the mask's surface as a free (Neumann) border the solution keeps the background field, which a Laplacian over the
whole image destroys. Rounding to whole turns afterwards makes the result congruent with the input.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pipeline.method import Method, StepContext, setting
from pipeline.operators.fourier import inverse_transform
from pipeline.operators.gradient import add_weighted_laplacian, adjoint_difference, forward_difference
from pipeline.operators.padding import fast_even_size
from pipeline.susceptibility.phase_unwrapping.each_echo import unwrap_each_echo
from pipeline.susceptibility.phase_unwrapping.turns import TURN, add_whole_turns, number_parts, wrap

_AXES = (-3, -2, -1)


@dataclass(frozen=True)
class LaplacianSettings:
    """Choices of the solver."""

    iterations: int = setting(100, "1", "most iterations of the solver for each echo", minimum=1, maximum=10000)
    tolerance: float = setting(1e-2, "1", "residual at which the solver stops, relative to the start", minimum=0.0)


def unwrap_by_least_squares(
    phase: Tensor, magnitude: Tensor, mask: Tensor, settings: LaplacianSettings | None = None
) -> Tensor:
    """Unwrap one volume by weighted least squares.

    Parameters
    ----------
    phase
        Wrapped phase within ±π [rad], `(z, y, x)`.
    magnitude
        Magnitude [arbitrary], `(z, y, x)`.
    mask
        Where to unwrap, bool `(z, y, x)`.
    settings
        Choices of the solver.

    Returns
    -------
        Unwrapped phase [rad], `(z, y, x)`; inside the mask it is the input plus whole turns.

    Notes
    -----
    Where the phase itself jumps (beside strong sources, in late echoes) least squares spreads the error that a path
    would avoid; ROMEO is more exact there.

    References
    ----------
    Ghiglia 1994, doi:10.1364/JOSAA.11.000107; Schofield 2003, doi:10.1364/OL.28.001194.
    """
    settings = settings or LaplacianSettings()
    bright = torch.masked_select(magnitude, mask).mean().clamp_min(torch.finfo(magnitude.dtype).tiny)
    weights = _edge_weights((magnitude / bright).square_().clamp_(1e-2, 1.0).mul_(mask))
    right_side = torch.zeros_like(phase)
    for axis, weight in enumerate(weights):
        right_side += adjoint_difference(wrap(forward_difference(phase, axis)).mul_(weight), axis)

    def normal_equations(guess: Tensor) -> Tensor:
        image = torch.zeros_like(guess)
        add_weighted_laplacian(image, guess, weights)
        return image

    smooth = _solve(normal_equations, right_side, mask, settings)
    del right_side
    return add_whole_turns(phase, smooth.add_(_open_constants(phase - smooth, magnitude, mask)))


def _open_constants(lag: Tensor, magnitude: Tensor, mask: Tensor) -> Tensor:
    """Return what least squares leaves open in each part of the mask: the mean angle by which the phase is ahead."""
    parts = number_parts(mask)
    sums = lag.new_zeros(2, parts.count)
    sums[0].index_add_(0, parts.number, (magnitude * lag.sin())[mask])
    sums[1].index_add_(0, parts.number, (magnitude * lag.cos())[mask])
    constants = torch.zeros_like(lag)
    constants[mask] = torch.atan2(sums[0], sums[1])[parts.number]
    return constants


def _edge_weights(trust: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each axis the weights of its differences: that of the worse end, none out of the mask."""
    z, y, x = (
        torch.minimum(trust.narrow(axis, 1, n - 1), trust.narrow(axis, 0, n - 1)) for axis, n in enumerate(trust.shape)
    )
    return z, y, x


def _solve(
    normal_equations: Callable[[Tensor], Tensor], residual: Tensor, inside: Tensor, settings: LaplacianSettings
) -> Tensor:
    """Solve by conjugate gradients, preconditioned with the inverse Laplacian of the box; changes the residual."""
    z, y, x = (fast_even_size(length) for length in residual.shape)
    inverse = _inverse_laplacian_spectrum((z, y, x), residual)
    guess = torch.zeros_like(residual)
    direction = torch.zeros_like(residual)
    previous = residual.new_ones(())
    start = residual.norm()
    for _ in range(settings.iterations):
        if residual.norm() <= settings.tolerance * start:
            break
        spectrum = torch.fft.rfftn(residual, s=(z, y, x), dim=_AXES).mul_(inverse)
        padded = inverse_transform(spectrum, (z, y, x))
        better = padded[tuple(slice(n) for n in residual.shape)] * inside
        del spectrum, padded
        size = torch.dot(residual.flatten(), better.flatten())
        direction.mul_(size / previous).add_(better)
        del better
        image = normal_equations(direction)
        stride = size / torch.dot(direction.flatten(), image.flatten())
        guess.addcmul_(direction, stride)
        residual.addcmul_(image, stride, value=-1)
        del image
        previous = size
    return guess


def _inverse_laplacian_spectrum(shape: tuple[int, int, int], like: Tensor) -> Tensor:
    """Return one over the eigenvalues of the negative Laplacian on a periodic box, on the half spectrum."""
    total = like.new_zeros(())
    for axis, length in enumerate(shape):
        places = torch.arange(length // 2 + 1 if axis == 2 else length, device=like.device, dtype=like.dtype)
        waves = [1, 1, 1]
        waves[axis] = -1
        total = total + (2 - 2 * torch.cos(TURN * places / length)).reshape(waves)
    # The constant is open; any finite number will do for it.
    total[0, 0, 0] = total[total > 0].min()
    return total.reciprocal_()


def run(inputs: Mapping[str, Tensor], context: StepContext, settings: LaplacianSettings) -> dict[str, Tensor]:
    """Unwrap the step's phase; see `unwrap_by_least_squares`."""
    unwrapped = unwrap_each_echo(
        partial(unwrap_by_least_squares, settings=settings),
        inputs["phase"],
        inputs["magnitude"],
        inputs["mask"],
        context.echo_times_s,
        context.on_iteration,
    )
    return {"unwrapped_phase": unwrapped}


LAPLACIAN = Method(
    name="laplacian",
    citation="weighted least squares with whole turns, Ghiglia 1994, doi:10.1364/JOSAA.11.000107",
    run=run,
    settings=LaplacianSettings,
    inputs=("phase", "magnitude", "mask"),
    outputs=("unwrapped_phase",),
    memory_volumes=8.5,
)
