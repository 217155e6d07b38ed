"""What the coil combinations share: refusing unusable coil images, and the sum over the coils by their sensitivity."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import OnIteration
from pipeline.susceptibility.coarse_grid import CoarseGrid
from pipeline.susceptibility.phase_unwrapping.turns import TURN

# So many slices of a head stay in a processor's cache.
SLAB = 4
# Angles are kept in so many steps to half a turn: a ten-thousandth of a radian.
_STEPS = 32767
_NO_SIGNAL = -32768


def refuse_unusable(coil_phase: Tensor, coil_magnitude: Tensor, n_echoes: int, grid: Grid) -> None:
    """Refuse coil images that do not belong together.

    Parameters
    ----------
    coil_phase, coil_magnitude
        Images, `(echo, coil, z, y, x)`.
    n_echoes
        How many echo times there are; 0 where they are not known.
    grid
        The grid of the images.

    Raises
    ------
    UnusableInput
        Where shapes disagree or every magnitude is zero.
    """
    shape = tuple(coil_phase.shape)
    if coil_phase.shape != coil_magnitude.shape or len(shape) != 5 or shape[2:] != grid.shape or 0 in shape:
        raise UnusableInput(
            f"Coil phase {shape} and coil magnitude {tuple(coil_magnitude.shape)} must both be (echo, coil, z, y, x) "
            f"with {grid.shape} voxels."
        )
    if n_echoes and shape[0] != n_echoes:
        raise UnusableInput(f"The coil images have {shape[0]} echoes but there are {n_echoes} echo times.")
    if not bool(coil_magnitude.any()):
        raise UnusableInput("The coil images are zero everywhere; there is no signal to combine.")


def tell_nobody(fraction: float) -> None:
    """Stand in where nobody listens to the progress."""


@dataclass(frozen=True)
class SmoothSensitivity:
    """How each coil sees the object: real and imaginary part on coarse blocks, to be smoothed over a distance [mm]."""

    coarse: CoarseGrid
    smoothing_mm: float
    of_coil: Callable[[int], tuple[Tensor, Tensor]]


def sensitivity_grid(grid: Grid, smoothing_mm: float) -> CoarseGrid:
    """Return the blocks on which sensitivities are collected that are smoothed over a distance [mm] later."""
    return CoarseGrid.of(grid, smoothing_mm / 2)


@dataclass(frozen=True)
class CommonPhase:
    """A phase that all coils share, `(z, y, x)`, in 16-bit steps, because it is kept beside all images."""

    steps: Tensor

    @classmethod
    def of(cls, angle: Tensor, inside: Tensor | None = None) -> "CommonPhase":
        """Keep an angle [rad] `(z, y, x)`, which is overwritten; voxels not inside (bool) count as without signal."""
        turns = angle.div_(TURN)
        steps = turns.sub_(turns.round()).mul_(2 * _STEPS).round_().to(torch.int16)
        if inside is not None:
            steps.masked_fill_(~inside, _NO_SIGNAL)
        return cls(steps)

    def collect(self, coarse: CoarseGrid, phase: Tensor, magnitude: Tensor) -> tuple[Tensor, Tensor]:
        """Sum a coil's image less this phase over blocks; real and imaginary part.

        Parameters
        ----------
        coarse
            The blocks.
        phase, magnitude
            Phase [rad] and magnitude [arbitrary] of one coil, `(z, y, x)`.
        """
        # Whole blocks at a time, so that no product of a full volume is ever held.
        thickness = max(1, SLAB // coarse.factors[0]) * coarse.factors[0]
        real, imaginary = (phase.new_empty(coarse.grid.shape) for _ in range(2))
        for start in range(0, phase.shape[0], thickness):
            slab = slice(start, start + thickness)
            blocks = slice(start // coarse.factors[0], (start + thickness) // coarse.factors[0])
            angle = torch.add(phase[slab], self.steps[slab], alpha=-math.pi / _STEPS)
            amplitude = magnitude[slab] * (self.steps[slab] != _NO_SIGNAL)
            real[blocks] = coarse.collect(torch.cos(angle).mul_(amplitude))
            imaginary[blocks] = coarse.collect(angle.sin_().mul_(amplitude))
        return real, imaginary


def combine(
    coil_phase: Tensor, coil_magnitude: Tensor, sensitivity: SmoothSensitivity, on_coil: OnIteration
) -> tuple[Tensor, Tensor]:
    """Sum the coils with the conjugate of their sensitivity, which gives the least noise where the noise is alike.

    Parameters
    ----------
    coil_phase, coil_magnitude
        Phase [rad] and magnitude [arbitrary], `(echo, coil, z, y, x)`.
    sensitivity
        Asked for one coil at a time, so that the maps of many coils are never in memory together.
    on_coil
        Told the fraction of the coils that is done.

    Returns
    -------
        Phase [rad] and magnitude [arbitrary], both `(echo, z, y, x)`; zero where no coil has any sensitivity.

    References
    ----------
    Roemer 1990, doi:10.1002/mrm.1910160203.
    """
    n_echoes, n_coils = coil_phase.shape[:2]
    real = coil_phase.new_zeros((n_echoes, *coil_phase.shape[2:]))
    imaginary, power = torch.zeros_like(real), torch.zeros_like(real[0])
    for coil in range(n_coils):
        parts = sensitivity.of_coil(coil)
        slabs = (sensitivity.coarse.smooth_slabs(part, sensitivity.smoothing_mm, SLAB) for part in parts)
        for (slab, ahead), (_, aside) in zip(*slabs, strict=True):
            power[slab].addcmul_(ahead, ahead).addcmul_(aside, aside)
            for echo in range(n_echoes):
                along = torch.cos(coil_phase[echo, coil, slab]).mul_(coil_magnitude[echo, coil, slab])
                across = torch.sin(coil_phase[echo, coil, slab]).mul_(coil_magnitude[echo, coil, slab])
                real[echo, slab].addcmul_(ahead, along).addcmul_(aside, across)
                imaginary[echo, slab].addcmul_(ahead, across).addcmul_(aside, along, value=-1)
        on_coil((coil + 1) / n_coils)
    # Powers that underflow would make noise of rounding; such voxels lie outside the reach of every coil.
    norm = power.sqrt_().clamp_min_(torch.finfo(power.dtype).tiny)
    to_phase_and_magnitude(real, imaginary, norm)
    return real, imaginary


def to_phase_and_magnitude(real: Tensor, imaginary: Tensor, norm: Tensor) -> None:
    """Write phase [rad] over the real and magnitude / norm over the imaginary part, slab by slab.

    Parameters
    ----------
    real, imaginary
        Parts of the images, `(echo, z, y, x)`.
    norm
        What the magnitudes are divided by, `(z, y, x)`.
    """
    for start in range(0, norm.shape[0], SLAB):
        slab = slice(start, start + SLAB)
        for ahead, aside in zip(real[:, slab], imaginary[:, slab], strict=True):
            phase = torch.atan2(aside, ahead)
            torch.hypot(ahead, aside, out=aside).div_(norm[slab])
            ahead.copy_(phase)
