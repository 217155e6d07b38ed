"""Regions that a susceptibility map itself shows, where no atlas and no label map is at hand."""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from pipeline.grid import Grid

CONTRAST_PPM = 0.04
SMALLEST_ML = 0.1
_SIGMA_MM = 1.5
_RIM_MM = 4.0
_MOST = 16


def regions_shown(susceptibility: Tensor, mask: Tensor, grid: Grid) -> tuple[Tensor, dict[int, str]]:
    """Return the connected bodies that stand out of a map, or parts of the mask where there are none.

    Parameters
    ----------
    susceptibility
        The map [ppm], `(z, y, x)`.
    mask
        Where it holds values, bool, same shape.
    grid
        Of both.

    Returns
    -------
        Labels, int64, same shape, 0 for no region, and the name of each. A body is where the map, smoothed by a
        Gaussian of 1.5 mm, is 40 ppb above or below zero, away from the rim of the mask, in 0.1 ml or more; the
        largest sixteen of either sign are taken.
    """
    sigmas = [_SIGMA_MM / size for size in grid.voxel_size_mm]
    smooth = ndimage.gaussian_filter(torch.where(mask, susceptibility, 0).cpu().numpy(), sigmas, mode="constant")
    inside = mask.cpu().numpy().astype(bool)
    deep = ndimage.distance_transform_edt(inside, sampling=grid.voxel_size_mm) > _RIM_MM
    labels, names = np.zeros(grid.shape, np.int64), dict[int, str]()
    for sign, word in ((1, "paramagnetic"), (-1, "diamagnetic")):
        found, count = ndimage.label((sign * smooth > CONTRAST_PPM) & deep)
        sizes = np.bincount(found.ravel(), minlength=count + 1)[1:] * (np.prod(grid.voxel_size_mm) / 1000)
        for rank, body in enumerate(np.argsort(-sizes, kind="stable")[:_MOST], start=1):
            if sizes[body] >= SMALLEST_ML:
                labels[found == body + 1] = len(names) + 1
                names[len(names) + 1] = f"{word} body {rank} ({sizes[body]:.1f} ml)"
    if not names:
        labels, names = _parts_of(deep if deep.any() else inside)
    return torch.from_numpy(labels).to(susceptibility.device), names


def _parts_of(inside: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
    """Return the eight parts of a mask that the middles of its bounding box cut."""
    labels = np.zeros(inside.shape, np.int64)
    if not inside.any():
        return labels, {}
    middles = [(int(places.min()) + int(places.max()) + 1) // 2 for places in np.nonzero(inside)]
    z, y, x = np.ogrid[tuple(slice(-middle, size - middle) for middle, size in zip(middles, inside.shape, strict=True))]
    z, y, x = z >= 0, y >= 0, x >= 0
    labels[inside] = (1 + 4 * z + 2 * y + x + np.zeros(inside.shape, np.int64))[inside]
    return labels, {int(label): f"part {label} of 8" for label in np.unique(labels[inside])}
