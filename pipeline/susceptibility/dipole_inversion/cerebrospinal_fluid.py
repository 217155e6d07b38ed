"""Find the cerebrospinal fluid of the ventricles: it decays slowly and lies in the middle of the brain."""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid

_LARGEST_PARTS = 3
_LEAST_VOXELS = 8


def cerebrospinal_fluid(
    r2star: Tensor, mask: Tensor, grid: Grid, highest_rate: float = 5.0, radius_mm: float = 30.0
) -> Tensor:
    """Return the largest connected parts of what decays slowly near the centre of the mask.

    Parameters
    ----------
    r2star
        Decay rate `(z, y, x)` [1/s].
    mask
        Bool `(z, y, x)`.
    grid
        The grid.
    highest_rate
        Fluid decays more slowly than this [1/s].
    radius_mm
        The ventricles lie within this distance of the mask's centre of mass [mm].

    Returns
    -------
    Bool `(z, y, x)`.

    Raises
    ------
    UnusableInput
        Shapes disagree, or nothing near the centre decays slowly enough.

    Source: Liu 2018, doi:10.1002/mrm.26946.
    """
    if r2star.shape != mask.shape:
        raise UnusableInput(f"R2* has shape {tuple(r2star.shape)} but the mask {tuple(mask.shape)}.")
    slow = (mask & (r2star < highest_rate) & _central_ball(mask, grid, radius_mm)).cpu().numpy()
    parts, count = ndimage.label(slow)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    chosen = [int(number) + 1 for number in np.argsort(-sizes, kind="stable")[:_LARGEST_PARTS]]
    found = np.isin(parts, [number for number in chosen if sizes[number - 1] >= _LEAST_VOXELS])
    if not found.any():
        raise UnusableInput(
            f"No fluid was found: nothing within {radius_mm:.0f} mm of the brain's centre decays more slowly than "
            f"{highest_rate:g} 1/s. Give its region, raise the limit, or choose a method without this reference."
        )
    return torch.from_numpy(found).to(mask.device)


def _central_ball(mask: Tensor, grid: Grid, radius_mm: float) -> Tensor:
    """Return the ball around the mask's centre of mass."""
    places = torch.nonzero(mask).double()
    squared = torch.zeros((), dtype=torch.float64, device=mask.device)
    for axis, (centre, step) in enumerate(zip(places.mean(0).tolist(), grid.voxel_size_mm, strict=True)):
        shape = [1, 1, 1]
        shape[axis] = -1
        line = torch.arange(mask.shape[axis], dtype=torch.float64, device=mask.device)
        squared = squared + ((line - centre) * step).square().reshape(shape)
    return squared <= radius_mm**2
