"""The mean over a ball in millimetres: harmonic fields equal their own spherical mean."""

import math

import torch
from torch import Tensor

from pipeline.grid import Grid

_SUBVOXELS = 5


def ball_kernel(grid: Grid, radius_mm: float, like: Tensor) -> Tensor:
    """Return the half spectrum of a normalised ball, real because the ball is even.

    Voxels at the surface count by the share of their volume inside the ball, so that second moments are right on
    anisotropic voxels too; a centre-in-ball rule would leave a share of every harmonic field behind.

    Parameters
    ----------
    grid
        A periodic grid that is larger than the ball.
    radius_mm
        Radius [mm].
    like
        Its precision and device are used.

    Returns
    -------
    Shape `(z, y, x // 2 + 1)`, 1 at zero frequency.
    """
    reach = [
        min(math.ceil(radius_mm / step + 0.5), size // 2)
        for step, size in zip(grid.voxel_size_mm, grid.shape, strict=True)
    ]
    inside = _share_inside(reach, grid.voxel_size_mm, radius_mm)
    ball = torch.zeros(grid.shape, dtype=torch.float64)
    block = ball[: 2 * reach[0] + 1, : 2 * reach[1] + 1, : 2 * reach[2] + 1]
    block.copy_(inside[: block.shape[0], : block.shape[1], : block.shape[2]])
    ball = torch.roll(ball / ball.sum(), tuple(-r for r in reach), dims=(0, 1, 2))
    spectrum = torch.fft.rfftn(ball.to(device=like.device, dtype=like.dtype))
    return spectrum.real.contiguous()


def _share_inside(reach: list[int], voxel_size_mm: tuple[float, float, float], radius_mm: float) -> Tensor:
    """Return for each voxel of a block around the centre the share of its volume inside the ball."""
    squared = []
    for steps, size in zip(reach, voxel_size_mm, strict=True):
        centres = torch.arange(-steps, steps + 1, dtype=torch.float64)[:, None]
        parts = (torch.arange(_SUBVOXELS, dtype=torch.float64) + 0.5) / _SUBVOXELS - 0.5
        squared.append(((centres + parts) * size).square())
    share = torch.zeros([2 * steps + 1 for steps in reach], dtype=torch.float64)
    for a in range(_SUBVOXELS):
        for b in range(_SUBVOXELS):
            for c in range(_SUBVOXELS):
                distance2 = squared[0][:, a, None, None] + squared[1][None, :, b, None] + squared[2][None, None, :, c]
                share += (distance2 <= radius_mm**2).to(torch.float64)
    return share / _SUBVOXELS**3
