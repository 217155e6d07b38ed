"""What the coil combinations share: refusing unusable coil images, and the sum over the coils by their sensitivity."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import OnIteration
from pipeline.susceptibility.coarse_grid import CoarseGrid

# So many slices of a head stay in a processor's cache.
_SLAB = 8


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
        slabs = (sensitivity.coarse.smooth_slabs(part, sensitivity.smoothing_mm, _SLAB) for part in parts)
        for (slab, ahead), (_, aside) in zip(*slabs, strict=True):
            power[slab].addcmul_(ahead, ahead).addcmul_(aside, aside)
            for echo in range(n_echoes):
                along = torch.cos(coil_phase[echo, coil, slab]).mul_(coil_magnitude[echo, coil, slab])
                across = torch.sin(coil_phase[echo, coil, slab]).mul_(coil_magnitude[echo, coil, slab])
                real[echo, slab].addcmul_(ahead, along).addcmul_(aside, across)
                imaginary[echo, slab].addcmul_(ahead, across).addcmul_(aside, along, value=-1)
        on_coil((coil + 1) / n_coils)
    smallest = torch.finfo(power.dtype).tiny
    # Powers that underflow would make noise of rounding; such voxels lie outside the reach of every coil.
    norm = power.sqrt_().clamp_min_(smallest)
    for echo in range(n_echoes):
        phase = torch.atan2(imaginary[echo], real[echo])
        torch.hypot(real[echo], imaginary[echo], out=imaginary[echo]).div_(norm)
        real[echo] = phase
    return real, imaginary
