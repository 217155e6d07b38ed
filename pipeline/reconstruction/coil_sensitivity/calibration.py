"""The k-space from which coil sensitivities are found: a separate reference, or the gapless centre of echo one."""

import torch
from torch import Tensor

from pipeline.errors import MissingCalibration
from pipeline.operators.centred_fourier import to_image
from pipeline.reconstruction.kspace import Kspace, central_block

FEWEST_LINES = 4
"""Fewer gapless lines along an accelerated axis than this tell nothing of how a coil's sensitivity changes."""


def calibration_kspace(kspace: Kspace, most: int) -> Tensor:
    """Return the fully sampled middle of k-space, symmetric about k = 0.

    Parameters
    ----------
    kspace
        The scan.
    most
        The largest number of samples along each axis.

    Returns
    -------
    Complex `(coil, z, y, x)` with its k = 0 at `size // 2`.

    Raises
    ------
    MissingCalibration
        There is no reference and the gapless centre is too small.
    """
    if kspace.calibration is not None:
        block = kspace.calibration
    else:
        z0, z1, y0, y1 = central_block(kspace)
        sizes = [
            symmetric_size(low, high, size)
            for low, high, size in zip((z0, y0), (z1, y1), kspace.grid.shape[:2], strict=True)
        ]
        for name, found, size in zip(("partition", "phase-encoding"), sizes, kspace.grid.shape[:2], strict=True):
            if found < min(FEWEST_LINES, size):
                raise MissingCalibration(
                    f"Only {found} of {size} {name} lines around the centre were measured without a gap and there is "
                    f"no reference scan; acquire {FEWEST_LINES} or more calibration lines."
                )
        block = padded_kspace(kspace.samples[0], (sizes[0], sizes[1], kspace.grid.shape[2]))
    shape = [min(size, most) for size in block.shape[1:]]
    return padded_kspace(block, (shape[0], shape[1], shape[2]))


def low_resolution_images(calibration: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Return coil images `(coil, z, y, x)` of calibration k-space on a grid, apodised by a Hann window."""
    windowed = calibration
    for axis in (-3, -2, -1):
        size = calibration.shape[axis]
        if size < shape[axis]:
            # Symmetric about index size // 2 and zero just outside the block.
            place = (torch.arange(size, device=calibration.device) - size // 2) / (size // 2 + 1)
            window = torch.cos(0.5 * torch.pi * place).square()
            windowed = windowed * window.reshape(-1, *[1] * (-1 - axis))
    return to_image(padded_kspace(windowed, shape))


def padded_kspace(block: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Return k-space `(..., z, y, x)` laid with its centre on the centre of a larger grid of zeros, or cut to it."""
    padded = block.new_zeros((*block.shape[:-3], *shape))
    target, source = padded, block
    for axis, (large, small) in enumerate(zip(shape, block.shape[-3:], strict=True), start=-3):
        common = min(large, small)
        target = target.narrow(axis, large // 2 - common // 2, common)
        source = source.narrow(axis, small // 2 - common // 2, common)
    target.copy_(source)
    return padded


def symmetric_size(low: int, high: int, size: int) -> int:
    """Return how many lines around the middle lie between two limits, the same reach to both sides as a whole has."""
    middle = size // 2
    if (low, high) == (0, size):
        return size
    before, after = middle - low, high - middle
    return 2 * before if after >= before else 2 * after - 1
