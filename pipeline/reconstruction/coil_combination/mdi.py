"""Combine coils by products of echoes in which every coil's phase cancels (multi-dimensional integration, MDI)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.method import Method, NoSettings, OnIteration, StepContext
from pipeline.reconstruction.coil_combination.coils import SLAB, refuse_unusable, tell_nobody, to_phase_and_magnitude
from pipeline.susceptibility.coarse_grid import CoarseGrid
from pipeline.susceptibility.phase_offset_removal import EchoPair, first_echo_pair, phase_until_first_echo, signal_mask
from pipeline.susceptibility.phase_unwrapping.turns import TURN, add_whole_turns

_SIGNAL_FRACTION = 0.05
_BLOCK_MM = 2.0


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
    tell = on_iteration or tell_nobody
    real, imaginary = (coil_phase.new_empty((len(echo_times_s), *grid.shape)) for _ in range(2))
    n_steps = coil_phase.shape[1] * len(echo_times_s) + 1

    def add_products(echo: int) -> None:
        real[echo].zero_()
        imaginary[echo].zero_()
        for coil in range(coil_phase.shape[1]):
            _add_product(real[echo], imaginary[echo], coil_phase[:, coil], coil_magnitude[:, coil], echo)
            tell((echo * coil_phase.shape[1] + coil + 1) / n_steps)

    # The growth takes the most memory: it is found while the memory of the later echoes is untouched.
    add_products(0)
    add_products(1)
    growth = _phase_until_first_echo(real[1], imaginary[1], pair, grid)
    for echo in range(2, len(echo_times_s)):
        add_products(echo)
    norm = real[0].sqrt().clamp_min_(torch.finfo(real.dtype).tiny)
    to_phase_and_magnitude(real, imaginary, norm)
    del norm
    for phase in real:
        phase.add_(growth)
        for slab in phase.split(SLAB):
            slab.sub_((slab / TURN).round_(), alpha=TURN)
    tell(1.0)
    return real, imaginary


def _add_product(real: Tensor, imaginary: Tensor, phase: Tensor, magnitude: Tensor, echo: int) -> None:
    """Add an echo of one coil `(echo, z, y, x)` times the conjugate of the first to real and imaginary part."""
    for start in range(0, real.shape[0], SLAB):
        slab = slice(start, start + SLAB)
        amplitude = magnitude[0, slab] * magnitude[echo, slab]
        if echo == 0:
            real[slab].add_(amplitude)
            continue
        angle = phase[echo, slab] - phase[0, slab]
        real[slab].addcmul_(torch.cos(angle), amplitude)
        imaginary[slab].addcmul_(angle.sin_(), amplitude)


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
    memory_volumes=3.0,
)
