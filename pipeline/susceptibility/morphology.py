"""Shapes on a grid with millimetres: depth, opening, closing, parts and basins of a region."""

import numpy as np
import SimpleITK
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.susceptibility.smoothing import gaussian

Bool = NDArray[np.bool_]
Float = NDArray[np.float32]
Size = tuple[float, ...]

MOST_ROWS = 200
# A scanner that writes 4 mm as 4.000000000420645 still has a neighbour 4 mm away: a share of the radius.
ROUNDING = 1e-5


def depth(region: Bool, size: Size) -> Float:
    """Return the distance [mm] of each voxel to the nearest one outside; the border of the image is not outside."""
    if region.all():
        return np.full(region.shape, np.inf, dtype=np.float32)
    return ndimage.distance_transform_edt(region, sampling=size).astype(np.float32)


def dilate(region: Bool, radius: float, size: Size) -> Bool:
    """Return all voxels within a radius [mm] of the region, give or take the rounding of the voxel size."""
    if not region.any() or radius <= 0:
        return region
    radius *= 1 + ROUNDING
    reach = [min(int(radius / step), length - 1) for step, length in zip(size, region.shape, strict=True)]
    # A ball laid row by row touches the volume a few times per row; one distance transform costs as much as 200 rows.
    if (reach[0] + 1) * (2 * reach[1] + 1) > MOST_ROWS:
        return depth(~region, size) <= radius
    lines = _lines(region, reach[2])
    grown = np.zeros_like(region)
    for dz in range(reach[0] + 1):
        disc = np.zeros_like(region)
        for dy in range(reach[1] + 1):
            rest = radius**2 - (dz * size[0]) ** 2 - (dy * size[1]) ** 2
            if rest >= 0:
                _lay(disc, lines[min(int(rest**0.5 / size[2]), reach[2])], dy, 1)
        _lay(grown, disc, dz, 0)
    return grown


def _lines(region: Bool, reach: int) -> list[Bool]:
    """Return the region grown along x by 0, 1, … voxels."""
    lines = [region]
    for step in range(1, reach + 1):
        longer = lines[-1].copy()
        _lay(longer, region, step, 2)
        lines.append(longer)
    return lines


def _lay(whole: Bool, part: Bool, step: int, axis: int) -> None:
    """Add a part, moved by so many voxels both ways along an axis, to the whole."""
    if step == 0:
        whole |= part
        return
    later, earlier = (
        tuple(cut if at == axis else slice(None) for at in range(3)) for cut in (slice(step, None), slice(None, -step))
    )
    whole[later] |= part[earlier]
    whole[earlier] |= part[later]


def erode(region: Bool, radius: float, size: Size) -> Bool:
    """Return the voxels deeper than a radius [mm] in the region; the border of the image is not outside."""
    return ~dilate(~region, radius, size)


def open(region: Bool, radius: float, size: Size) -> Bool:
    """Return what a ball of a radius [mm] reaches inside the region."""
    # Half a voxel more, for depth is measured to the middle of the voxel outside.
    return region & dilate(erode(region, radius, size), radius + 0.5 * max(size), size)


def close(region: Bool, radius: float, size: Size) -> Bool:
    """Return the region and what a ball of a radius [mm] outside cannot reach."""
    margin = [int(np.ceil(radius / step)) + 2 for step in size]
    near = dilate(np.pad(region, [(width, width) for width in margin]), radius, size)
    return region | erode(near, radius, size)[tuple(slice(width, -width) for width in margin)]


def bounding_box(region: Bool) -> tuple[slice, ...]:
    """Return the smallest box that holds the region."""
    if not region.any():
        raise UnusableInput("The region is empty, so nothing can be cut out around it.")
    return tuple(ndimage.find_objects(region.astype(np.uint8))[0])


def largest(region: Bool) -> Bool:
    """Return the largest connected part."""
    labels, count = ndimage.label(region)
    return region if count < 2 else labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])


def fill(region: Bool) -> Bool:
    """Return the region with its holes filled."""
    labels, count = ndimage.label(np.pad(~region, 1, constant_values=True))
    return region if count < 2 else (labels != labels[0, 0, 0])[1:-1, 1:-1, 1:-1]


def basins(depths: Float, least_dynamic: float) -> NDArray[np.integer]:
    """Number the bodies that a region falls into at its narrow places.

    `depths` [mm] is positive inside the region. Two bodies stay one where the passage between them is less than
    `least_dynamic` [mm] thinner than the smaller body. Outside the region the number is zero.
    """
    numbers = np.zeros(depths.shape, dtype=np.int64)
    box = bounding_box(depths > 0)
    flooded = SimpleITK.MorphologicalWatershed(
        SimpleITK.GetImageFromArray(-depths[box]), level=least_dynamic, markWatershedLine=False
    )
    numbers[box] = SimpleITK.GetArrayFromImage(flooded) * (depths[box] > 0)
    return numbers


def head(signal: Float) -> Bool:
    """Return the head: what is not dark, with the cavities inside it."""
    if not (signal > 0).any():
        raise UnusableInput("The magnitude is zero everywhere; there is no head to mask.")
    bright = np.percentile(signal[signal > 0], 98)
    closed = ndimage.binary_closing(np.pad(signal > 0.1 * bright, 3), iterations=3)[3:-3, 3:-3, 3:-3]
    return fill(closed)


def local_mean(signal: Float, where: Bool, sigma_mm: float, size: Size) -> Float:
    """Return the Gaussian mean of the signal inside a region, continued outside."""
    grid = Grid(tuple(signal.shape), (size[0], size[1], size[2]))
    total, share = (
        gaussian(torch.from_numpy(part), sigma_mm, grid).numpy()
        for part in (np.where(where, signal, np.float32(0)), where.astype(np.float32))
    )
    return total / np.maximum(share, 1e-3)


def shrink(volume: Tensor, factors: tuple[int, ...]) -> Float:
    """Average blocks of voxels."""
    margins = [-length % factor for length, factor in zip(volume.shape, factors, strict=True)]
    padded = torch.nn.functional.pad(
        volume.float()[None, None], (0, margins[2], 0, margins[1], 0, margins[0]), mode="replicate"
    )
    return torch.nn.functional.avg_pool3d(padded, factors)[0, 0].cpu().numpy()


def enlarge(volume: NDArray, factors: tuple[int, ...], shape: tuple[int, ...]) -> NDArray:
    """Repeat voxels to the grid that `shrink` came from."""
    for axis, factor in enumerate(factors):
        volume = volume.repeat(factor, axis)
    return volume[tuple(slice(length) for length in shape)]
