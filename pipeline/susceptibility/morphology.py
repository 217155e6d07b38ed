"""Shapes on a grid with millimetres: depth, opening, closing, parts and basins of a region."""

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.errors import UnusableInput

Bool = NDArray[np.bool_]
Float = NDArray[np.float32]
Size = tuple[float, ...]


def depth(region: Bool, size: Size) -> Float:
    """Return the distance [mm] of each voxel to the nearest one outside; the border of the image is not outside."""
    if region.all():
        return np.full(region.shape, np.inf, dtype=np.float32)
    return ndimage.distance_transform_edt(region, sampling=size).astype(np.float32)


def dilate(region: Bool, radius: float, size: Size) -> Bool:
    """Return all voxels within a radius [mm] of the region."""
    return depth(~region, size) <= radius if region.any() else region


def open(region: Bool, radius: float, size: Size) -> Bool:
    """Return what a ball of a radius [mm] reaches inside the region."""
    # Half a voxel more, for depth is measured to the middle of the voxel outside.
    return region & dilate(depth(region, size) > radius, radius + 0.5 * max(size), size)


def close(region: Bool, radius: float, size: Size) -> Bool:
    """Return the region and what a ball of a radius [mm] outside cannot reach."""
    margin = [int(np.ceil(radius / step)) + 2 for step in size]
    near = dilate(np.pad(region, [(width, width) for width in margin]), radius, size)
    kept = depth(near, size) > radius
    return region | kept[tuple(slice(width, -width) for width in margin)]


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
    return ndimage.binary_fill_holes(region)


def basins(depths: Float, least_dynamic: float) -> NDArray[np.integer]:
    """Number the bodies that a region falls into at its narrow places.

    `depths` [mm] is positive inside the region. Two bodies stay one where the passage between them is less than
    `least_dynamic` [mm] thinner than the smaller body. Outside the region the number is zero.
    """
    flooded = SimpleITK.MorphologicalWatershed(
        SimpleITK.GetImageFromArray(-depths), level=least_dynamic, markWatershedLine=False
    )
    return SimpleITK.GetArrayFromImage(flooded).astype(np.int64) * (depths > 0)


def head(signal: Float) -> Bool:
    """Return the head: what is not dark, with the cavities inside it."""
    if not (signal > 0).any():
        raise UnusableInput("The magnitude is zero everywhere; there is no head to mask.")
    bright = np.percentile(signal[signal > 0], 98)
    closed = ndimage.binary_closing(np.pad(signal > 0.1 * bright, 3), iterations=3)[3:-3, 3:-3, 3:-3]
    return ndimage.binary_fill_holes(closed)


def local_mean(signal: Float, where: Bool, sigma_mm: float, size: Size) -> Float:
    """Return the Gaussian mean of the signal inside a region, continued outside."""
    sigma = [sigma_mm / step for step in size]
    total = ndimage.gaussian_filter(np.where(where, signal, 0), sigma, mode="constant")
    share = ndimage.gaussian_filter(where.astype(np.float32), sigma, mode="constant")
    return total / np.maximum(share, 1e-3)


def shrink(volume: Float, factors: tuple[int, ...]) -> Float:
    """Average blocks of voxels."""
    padded = np.pad(
        volume, [(0, -length % factor) for length, factor in zip(volume.shape, factors, strict=True)], mode="edge"
    )
    z, y, x = (length // factor for length, factor in zip(padded.shape, factors, strict=True))
    return padded.reshape(z, factors[0], y, factors[1], x, factors[2]).mean((1, 3, 5))


def enlarge(volume: NDArray, factors: tuple[int, ...], shape: tuple[int, ...]) -> NDArray:
    """Repeat voxels to the grid that `shrink` came from."""
    for axis, factor in enumerate(factors):
        volume = volume.repeat(factor, axis)
    return volume[tuple(slice(length) for length in shape)]
