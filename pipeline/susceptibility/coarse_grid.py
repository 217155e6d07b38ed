"""A coarser grid on which smooth quantities are estimated, and their way back to the full grid."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from pipeline.grid import Grid

_REACH = 3.0
# A share of a voxel: 1.0000000001 mm fit into 4 mm four times as well.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class CoarseGrid:
    """Blocks of voxels of a full grid: `factors` voxels `(z, y, x)` make one voxel of `grid`."""

    full: Grid
    grid: Grid
    factors: tuple[int, int, int]

    @classmethod
    def of(cls, full: Grid, step_mm: float) -> "CoarseGrid":
        """Join voxels of a grid into blocks as near to, but not above, the given size [mm]; large voxels stay alone."""
        z, y, x = (
            max(1, min(int(step_mm / size * (1 + _ROUNDING)), length // 4))
            for size, length in zip(full.voxel_size_mm, full.shape, strict=True)
        )
        nz, ny, nx = (-(-length // factor) for length, factor in zip(full.shape, (z, y, x), strict=True))
        dz, dy, dx = full.voxel_size_mm
        coarse = replace(full, shape=(nz, ny, nx), voxel_size_mm=(dz * z, dy * y, dx * x))
        return cls(full, coarse, (z, y, x))

    def collect(self, volume: Tensor) -> Tensor:
        """Sum a volume `(z, y, x)` over each block; the last blocks may be cut by the border."""
        for axis, factor in enumerate(self.factors):
            if factor == 1:
                continue
            missing = -volume.shape[axis] % factor
            if missing:
                volume = pad(volume, (0, 0) * (2 - axis) + (0, missing))
            parts = volume.unflatten(axis, (-1, factor)).unbind(axis + 1)
            total = parts[0] + parts[1]
            for part in parts[2:]:
                total += part
            volume = total
        return volume

    def repeat(self, volume: Tensor) -> Tensor:
        """Give every voxel of the full grid the value of its block."""
        for axis, (factor, length) in enumerate(zip(self.factors, self.full.shape, strict=True)):
            volume = volume.repeat_interleave(factor, axis).narrow(axis, 0, length)
        return volume

    def smooth(self, volume: Tensor, sigma_mm: float) -> Tensor:
        """Smooth a volume of this grid with a Gaussian [mm] and sample the result on the full grid.

        The standard deviation must not be below a block's size, unless every block is one voxel; 0 then only copies.
        """
        if sigma_mm <= 0:
            return volume
        z, y, x = (self._window(axis, sigma_mm, volume) for axis in range(3))
        smooth = y @ (volume @ x.T)
        return (z @ smooth.flatten(1)).reshape(self.full.shape)

    def smooth_slabs(self, volume: Tensor, sigma_mm: float, thickness: int) -> Iterator[tuple[slice, Tensor]]:
        """Give the result of `smooth` in slabs of so many slices, each with its place along z.

        The standard deviation must be above zero. Slabs keep the memory small and stay in the processor's cache.
        """
        z, y, x = (self._window(axis, sigma_mm, volume) for axis in range(3))
        # Along z first, so that nothing between the coarse volume and a slab of the full one is ever held.
        rows = volume.flatten(1)
        for start in range(0, self.full.shape[0], thickness):
            slab = slice(start, min(start + thickness, self.full.shape[0]))
            yield slab, y @ (z[slab] @ rows).reshape(-1, *volume.shape[1:]) @ x.T

    def _window(self, axis: int, sigma_mm: float, like: Tensor) -> Tensor:
        """Return the matrix of Gaussian weights from the blocks to the voxels of an axis; inner rows sum to one."""
        size, factor = self.full.voxel_size_mm[axis], self.factors[axis]
        voxels = (torch.arange(self.full.shape[axis], dtype=torch.float64) + 0.5) * size
        blocks = (torch.arange(self.grid.shape[axis], dtype=torch.float64) + 0.5) * (size * factor)
        distance = (voxels[:, None] - blocks).abs_()
        weights = torch.exp(-0.5 * (distance / sigma_mm) ** 2) * (distance <= max(_REACH * sigma_mm, size) + 0.5 * size)
        weights *= size * factor / (sigma_mm * math.sqrt(2 * math.pi))
        return weights.to(dtype=like.dtype, device=like.device)
