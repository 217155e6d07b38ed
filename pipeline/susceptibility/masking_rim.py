"""Draw the border of the brain on the fine grid: tissue near the hull, without the fluid that lies around the brain."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.input_check import LEAST_MASK_VOXELS
from pipeline.susceptibility import morphology as shapes
from pipeline.susceptibility.morphology import Bool, Float, Size
from pipeline.susceptibility.relaxometry import LogLinearSettings, log_linear

RIM_CLOSING_MM = 3.0
RIM_OPENING_MM = 2.0
PEEL_CLOSING_MM = 2.0
PEEL_OPENING_MM = 1.5

CORTEX_SIGNAL = 0.65
"""Least signal of cortex at the first echo, as a part of the local brain's; fluid in a T1-weighted image is below."""
FLUID_RATE = 0.55
"""Highest R2* of fluid, and of cortex half filled with it, as a part of the brain's."""
CERTAIN_SPREAD = 0.35
"""Spread of R2* inside the brain, as a part of its median, up to which R2* tells fluid from tissue."""
DEEP_MM = 10.0
LEAST_DEEP_VOXELS = 100


def eroded(mask: Tensor, erosion_mm: float, grid: Grid) -> Tensor:
    """Return what of a mask lies deeper than an erosion; the border of the image counts as surface.

    Parameters
    ----------
    mask
        Bool `(z, y, x)`.
    erosion_mm
        Depth of the erosion [mm].
    grid
        Gives the voxel size.

    Raises
    ------
    UnusableInput
        Nothing is left.
    """
    if erosion_mm <= 0:
        return mask
    framed = np.pad(mask.cpu().numpy(), 1)
    kept = shapes.erode(framed, erosion_mm, grid.voxel_size_mm)[1:-1, 1:-1, 1:-1]
    if kept.sum() < LEAST_MASK_VOXELS:
        raise UnusableInput(f"An erosion by {erosion_mm:g} mm leaves nothing of the mask; erode less.")
    return torch.from_numpy(kept).to(mask.device)


def fine_rim(tissue: Bool, hull: Bool, factors: tuple[int, ...], size: Size) -> Bool:
    """Return tissue within a coarse voxel of the hull, with all that is deep inside the hull, without holes.

    `tissue` and the result lie on the fine grid, `hull` on the coarse one, whose voxels are `factors` as long;
    `size` [mm] is of the fine one.
    """
    step = (1.0, 1.0, 1.0)
    inner, outer = (
        shapes.enlarge(part, factors, tissue.shape)
        for part in (shapes.erode(hull, 2.5, step), shapes.dilate(hull, 1.0, step))
    )
    whole = (tissue & outer) | inner
    whole = shapes.close(whole, RIM_CLOSING_MM, size) & outer
    return shapes.fill(shapes.largest(shapes.open(whole, RIM_OPENING_MM, size)))


def without_fluid(
    mask: Bool, magnitude: Tensor, level: Float, echo_times_s: Sequence[float], size: Size, peel_mm: float
) -> Bool:
    """Take fluid off the surface of a mask, down to a depth.

    Parameters
    ----------
    mask
        Brain with the fluid around it, `(z, y, x)`.
    magnitude
        Magnitude [arbitrary], `(echo, z, y, x)`.
    level
        Local brain signal at the first echo [arbitrary], `(z, y, x)`.
    echo_times_s
        Echo times [s]; with fewer than two, or where they are too close together for an R2* that tells fluid from
        tissue, only the signal at the first echo decides.
    size
        Voxel size [mm].
    peel_mm
        Depth [mm] below the surface to which fluid is taken off.

    Returns
    -------
        The mask without it, one body without holes, `(z, y, x)`.
    """
    surface = mask & ~shapes.erode(mask, peel_mm, size)
    fluid = surface & (magnitude[0].cpu().numpy() < CORTEX_SIGNAL * level)
    if len(echo_times_s) > 1:
        fluid |= _slow(surface, mask, magnitude, echo_times_s, size)
    kept = shapes.largest(shapes.open(mask & ~fluid, PEEL_OPENING_MM, size))
    return shapes.fill(shapes.close(kept, PEEL_CLOSING_MM, size) & mask)


def _slow(surface: Bool, mask: Bool, magnitude: Tensor, echo_times_s: Sequence[float], size: Size) -> Bool:
    """Return the voxels of the surface whose R2* is that of fluid; none where R2* is too uncertain to tell."""
    # Every other voxel along each axis is enough for a median.
    deep, coarsely = np.zeros_like(mask), (slice(None, None, 2),) * 3
    deep[coarsely] = shapes.erode(mask, DEEP_MM, size)[coarsely]
    if deep.sum() < LEAST_DEEP_VOXELS:
        return np.zeros_like(mask)
    where = torch.from_numpy(surface | deep).to(magnitude.device)
    rate = log_linear(magnitude, where, echo_times_s, LogLinearSettings(reweightings=0)).cpu().numpy()
    low, middle, high = np.percentile(rate[deep], (25, 50, 75))
    if 0.74 * (high - low) > CERTAIN_SPREAD * middle:
        return np.zeros_like(mask)
    return surface & (rate < FLUID_RATE * middle)
