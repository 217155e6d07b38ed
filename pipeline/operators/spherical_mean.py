"""The mean over a ball in millimetres: harmonic fields equal their own spherical mean."""

import math

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.operators.dipole import AXES

_SUBVOXELS = 5
# A ball counts as inside the mask where the mask's mean over it is one: less than a voxel's share of the largest ball,
# more than the rounding of float32 FFTs.
_COMPLETE = 1 - 3e-5


def ball_kernel(grid: Grid, radius_mm: float, like: Tensor) -> Tensor:
    """Return the half spectrum of a normalised ball, real because the ball is even.

    Voxels at the surface count by the share of their volume inside the ball, so that second moments are right on
    anisotropic voxels too; a centre-in-ball rule would leave a share of every harmonic field behind. The spectrum is a
    sum of cosines over one octant of the ball, which is far smaller than the grid: no FFT is needed.

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
    octant = _share_inside(grid, radius_mm)
    waves = [_cosines(size, octant.shape[axis], half=axis == 2) for axis, size in enumerate(grid.shape)]
    plane = torch.tensordot(octant, waves[2], dims=([2], [1]))
    plane = torch.tensordot(plane, waves[1], dims=([1], [1])).transpose(1, 2)
    plane /= (waves[0][0, :, None, None] * plane[:, :1, :1]).sum()
    plane = plane.to(dtype=like.dtype, device=like.device)
    along = waves[0].to(dtype=like.dtype, device=like.device)
    spectrum = (along @ plane.reshape(octant.shape[0], -1)).view(grid.shape[0], grid.shape[1], -1)
    # Exactly one: 1 − spectrum is divided by later.
    spectrum[0, 0, 0] = 1.0
    return spectrum


def balls_inside(mask: Tensor, kernel: Tensor) -> Tensor:
    """Return the voxels `(z, y, x)` around which a ball lies wholly in the mask.

    Parameters
    ----------
    mask
        Bool `(z, y, x)` with an empty voxel at least between its ends across the periodic border.
    kernel
        The ball's half spectrum, from `ball_kernel`.
    """
    spectrum = torch.fft.rfftn(mask.to(kernel.dtype), dim=AXES).mul_(kernel)
    return (torch.fft.irfftn(spectrum, s=mask.shape, dim=AXES) >= _COMPLETE).logical_and_(mask)


def refuse_too_small_for_ball(mask: Tensor, grid: Grid, radius_mm: float) -> None:
    """Refuse a mask whose bounding box is thinner than a ball, before any work.

    Raises
    ------
    UnusableInput
        No ball of this radius fits into the mask.
    """
    occupied = torch.nonzero(mask)
    if occupied.numel() == 0:
        raise UnusableInput("The mask is empty: no voxel can be mapped. Check the magnitude images or give a mask.")
    extent = (occupied.amax(dim=0) - occupied.amin(dim=0) + 1).tolist()
    thinnest = min(count * step for count, step in zip(extent, grid.voxel_size_mm, strict=True))
    if thinnest < 2 * radius_mm:
        raise UnusableInput(
            f"The mask is only {thinnest:.1f} mm thick: no ball of radius {radius_mm:g} mm fits into it; "
            "choose a smaller radius."
        )


def _cosines(size: int, reach: int, half: bool) -> Tensor:
    """Return the waves `(frequency, offset)` by which the octant's offsets sum to the whole ball's spectrum."""
    frequencies = torch.arange(size // 2 + 1 if half else size, dtype=torch.float64)
    waves = torch.cos(2 * torch.pi / size * frequencies[:, None] * torch.arange(reach, dtype=torch.float64))
    waves[:, 1:] *= 2
    return waves


def _share_inside(grid: Grid, radius_mm: float) -> Tensor:
    """Return for each voxel of the octant of offsets from the centre the share of its volume inside the ball."""
    squared, reaches = [], []
    parts = (torch.arange(_SUBVOXELS, dtype=torch.float64) + 0.5) / _SUBVOXELS - 0.5
    for step, size in zip(grid.voxel_size_mm, grid.shape, strict=True):
        reach = min(math.ceil(radius_mm / step + 0.5), size // 2) + 1
        centres = torch.arange(reach, dtype=torch.float64)[:, None]
        squared.append(((centres + parts) * step).square().flatten())
        reaches += [reach, _SUBVOXELS]
    distance2 = squared[0][:, None, None] + squared[1][:, None] + squared[2]
    inside = (distance2 <= radius_mm**2).view(reaches)
    return inside.sum(dim=(1, 3, 5)).to(torch.float64) / _SUBVOXELS**3
