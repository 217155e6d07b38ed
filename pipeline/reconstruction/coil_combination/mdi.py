"""Combine coils by products of echoes in which every coil's phase cancels (multi-dimensional integration, MDI)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.method import Method, NoSettings, OnIteration, StepContext
from pipeline.reconstruction.coil_combination.coils import refuse_unusable, tell_nobody
from pipeline.susceptibility.coarse_grid import CoarseGrid
from pipeline.susceptibility.phase_offset_removal import EchoPair, first_echo_pair, phase_until_first_echo, signal_mask
from pipeline.susceptibility.phase_unwrapping.turns import TURN, add_whole_turns

_SIGNAL_FRACTION = 0.05
_BLOCK_MM = 2.0
_PRODUCT_SHARE = 0.9


def mdi(
    coil_phase: Tensor,
    coil_magnitude: Tensor,
    echo_times_s: Sequence[float],
    grid: Grid,
    on_iteration: OnIteration | None = None,
) -> tuple[Tensor, Tensor]:
    """Sum each echo times the conjugate of the first over the coils, and add the growth of phase until the first.

    Parameters
    ----------
    coil_phase, coil_magnitude
        Wrapped phase [rad] and magnitude [arbitrary], `(echo, coil, z, y, x)`.
    echo_times_s
        Echo times [s], at least two.
    grid
        The grid of the images.
    on_iteration
        Told the fraction done.

    Returns
    -------
        Wrapped phase [rad] that starts at zero at echo time zero, and magnitude [arbitrary], both `(echo, z, y, x)`.

    Raises
    ------
    SingleEcho
        Where there is one echo only.
    UnusableInput
        Where shapes disagree or there is no signal.

    Notes
    -----
    Nothing is smoothed and no coil's sensitivity is known, so the phase of the first echo, which enters all others,
    adds its noise as an offset: combine the echoes by `mdi` or with a free offset afterwards.

    References
    ----------
    Ye 2022, Magnetic Resonance in Medicine 87:658.
    """
    pair = first_echo_pair(echo_times_s)
    refuse_unusable(coil_phase, coil_magnitude, len(echo_times_s), grid)
    real, imaginary = _products_with_first(coil_phase, coil_magnitude, on_iteration or tell_nobody)
    growth = _phase_until_first_echo(real[1], imaginary[1], pair, grid)
    norm = real[0].sqrt().clamp_min_(torch.finfo(real.dtype).tiny)
    for echo in range(real.shape[0]):
        phase = torch.atan2(imaginary[echo], real[echo]).add_(growth)
        torch.hypot(real[echo], imaginary[echo], out=imaginary[echo]).div_(norm)
        real[echo] = phase.sub_((phase / TURN).round_(), alpha=TURN)
    if on_iteration is not None:
        on_iteration(1.0)
    return real, imaginary


def _products_with_first(coil_phase: Tensor, coil_magnitude: Tensor, tell: OnIteration) -> tuple[Tensor, Tensor]:
    """Sum each echo times the conjugate of the first over the coils; real and imaginary part `(echo, z, y, x)`."""
    n_echoes, n_coils = coil_phase.shape[:2]
    real = coil_phase.new_zeros((n_echoes, *coil_phase.shape[2:]))
    imaginary = torch.zeros_like(real)
    for coil in range(n_coils):
        first_phase, first = coil_phase[0, coil], coil_magnitude[0, coil]
        real[0].addcmul_(first, first)
        for echo in range(1, n_echoes):
            angle = coil_phase[echo, coil] - first_phase
            amplitude = first * coil_magnitude[echo, coil]
            real[echo].addcmul_(torch.cos(angle), amplitude)
            imaginary[echo].addcmul_(angle.sin_(), amplitude)
        tell(_PRODUCT_SHARE * (coil + 1) / (n_coils + 8))
    return real, imaginary


def _phase_until_first_echo(real: Tensor, imaginary: Tensor, pair: EchoPair, grid: Grid) -> Tensor:
    """Return the phase [rad] that the field builds up until the first echo, from the second's product with it."""
    coarse = CoarseGrid.of(grid, _BLOCK_MM)
    blocks = coarse.collect(real), coarse.collect(imaginary)
    inside = signal_mask(torch.hypot(*blocks).sqrt_(), _SIGNAL_FRACTION)
    guide = coarse.repeat(phase_until_first_echo(blocks, inside, pair).mul_(inside)).div_(pair.growth)
    return add_whole_turns(torch.atan2(imaginary, real), guide).mul_(pair.growth)


def run(inputs: Mapping[str, Tensor], context: StepContext, settings: NoSettings) -> dict[str, Tensor]:
    """Combine the step's coils; see `mdi`."""
    phase, magnitude = mdi(
        inputs["coil_phase"], inputs["coil_magnitude"], context.echo_times_s, context.grid, context.on_iteration
    )
    return {"phase": phase, "magnitude": magnitude}


MDI = Method(
    name="mdi",
    citation="Ye 2022, Magnetic Resonance in Medicine 87:658",
    run=run,
    settings=NoSettings,
    inputs=("coil_phase", "coil_magnitude"),
    outputs=("phase", "magnitude"),
)
