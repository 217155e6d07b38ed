"""Crop to a mask, pad against wrap-around, and give back the full grid."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid

_FAST_FACTORS = (2, 3, 5, 7)


def fast_even_size(at_least: int, multiple: int = 2) -> int:
    """Return the smallest multiple of an even number with no prime factor above 7, for which FFTs are fast."""
    size = max(1, -(-at_least // multiple)) * multiple
    while not _is_smooth(size):
        size += multiple
    return size


def _is_smooth(size: int) -> bool:
    for factor in _FAST_FACTORS:
        while size % factor == 0:
            size //= factor
    return size == 1


@dataclass(frozen=True)
class Frame:
    """A working volume cut around a mask: `inner` of the full grid lies at `offset` in a padded array `(z, y, x)`."""

    grid: Grid
    inner: tuple[slice, slice, slice]
    offset: tuple[int, int, int]
    full_shape: tuple[int, int, int]

    @property
    def window(self) -> tuple[slice, slice, slice]:
        """Return where the cut volume lies in the frame."""
        z, y, x = (
            slice(start, start + cut.stop - cut.start) for start, cut in zip(self.offset, self.inner, strict=True)
        )
        return z, y, x

    def embed(self, volume: Tensor) -> Tensor:
        """Cut a volume of the full grid and surround it by zeros; the result has the shape of `grid`."""
        framed = volume.new_zeros(self.grid.shape)
        framed[self.window] = volume[self.inner]
        return framed

    def restore(self, framed: Tensor) -> Tensor:
        """Put a framed volume back on the full grid, zero where the frame does not reach."""
        volume = framed.new_zeros(self.full_shape)
        volume[self.inner] = framed[self.window]
        return volume


def frame_around(mask: Tensor, grid: Grid, margin: int = 16, multiple: int = 2) -> Frame:
    """Return the frame that holds a mask with at least `margin` voxels around it, rounded up to fast even sizes.

    Parameters
    ----------
    mask
        Bool `(z, y, x)`.
    grid
        The grid of the mask.
    margin
        Least width of the rim on each side [voxels]; what lies outside the mask but inside the rim is zero.
    multiple
        Every size is a multiple of this even number, so that the frame can be halved.

    Raises
    ------
    UnusableInput
        The mask is empty or not on the grid.
    """
    if tuple(mask.shape) != grid.shape:
        raise UnusableInput(f"The mask has shape {tuple(mask.shape)} but the grid is {grid.shape}.")
    if not bool(mask.any()):
        raise UnusableInput("The mask is empty: no voxel can be mapped. Check the magnitude images or give a mask.")
    inner, shape, offset = [], [], []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        occupied = torch.nonzero(mask.any(dim=others[1]).any(dim=others[0])).flatten()
        first, last = int(occupied[0]), int(occupied[-1]) + 1
        size = fast_even_size(last - first + 2 * margin, multiple)
        inner.append(slice(first, last))
        shape.append(size)
        offset.append((size - (last - first)) // 2)
    framed_grid = replace(grid, shape=(shape[0], shape[1], shape[2]))
    return Frame(framed_grid, (inner[0], inner[1], inner[2]), (offset[0], offset[1], offset[2]), grid.shape)
