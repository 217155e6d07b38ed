"""The mean over a ball in millimetres: harmonic fields equal their own spherical mean."""

import math

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.operators.dipole import AXES

_SUBVOXELS = 8
_MOMENT_ROUNDS = 20
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
    octant = _ball_octant(grid, radius_mm)
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


def _ball_octant(grid: Grid, radius_mm: float) -> Tensor:
    """Return the octant of offsets of a ball whose second moments are alike along all axes.

    A voxel blurs the ball by its own size, more along its long edges: a mean that reaches farther along one axis leaves
    a share of every parabola, however harmonic. The ball is therefore shortened along long edges until it is even.
    """
    wanted = radius_mm**2 / 5 + min(grid.voxel_size_mm) ** 2 / 12
    least = (min(grid.voxel_size_mm) / 2) ** 2
    squared_axes = [radius_mm**2] * 3
    octant = _share_inside(grid, squared_axes)
    if len(set(grid.voxel_size_mm)) == 1:
        return octant
    for _ in range(_MOMENT_ROUNDS):
        moments = _second_moments(octant, grid)
        squared_axes = [max(a + 2 * (wanted - m), least) for a, m in zip(squared_axes, moments, strict=True)]
        octant = _share_inside(grid, squared_axes)
    return octant


def _second_moments(octant: Tensor, grid: Grid) -> list[float]:
    """Return the mean squared distance from the centre along each axis [mm²] of the whole ball."""
    weights = octant.clone()
    for axis in range(3):
        weights.narrow(axis, 1, weights.shape[axis] - 1).mul_(2)
    weights /= weights.sum()
    moments = []
    for axis, step in enumerate(grid.voxel_size_mm):
        others = tuple(other for other in range(3) if other != axis)
        distances = step * torch.arange(weights.shape[axis], dtype=torch.float64)
        moments.append(float((weights.sum(dim=others) * distances.square()).sum()))
    return moments


def _share_inside(grid: Grid, squared_axes: list[float]) -> Tensor:
    """Return for each voxel of the octant the share of its volume inside an ellipsoid of these half axes [mm²].

    Along the longest voxel edge the share is exact, across it the mean over a fine lattice of lines.
    """
    steps, half_axes = grid.voxel_size_mm, [math.sqrt(squared) for squared in squared_axes]
    exact = max(range(3), key=lambda axis: steps[axis])
    across = [axis for axis in range(3) if axis != exact]
    reach = [min(math.ceil(half_axes[i] / steps[i] + 0.5), grid.shape[i] // 2) + 1 for i in range(3)]
    parts = (torch.arange(_SUBVOXELS, dtype=torch.float64) + 0.5) / _SUBVOXELS - 0.5
    lines = [
        ((torch.arange(reach[axis])[:, None] + parts) * (steps[axis] / half_axes[axis])).square().flatten()
        for axis in across
    ]
    chord = (1.0 - lines[0][:, None] - lines[1]).clamp_min_(0.0).sqrt_() * (half_axes[exact] / steps[exact])
    centres = torch.arange(reach[exact], dtype=torch.float64)[:, None, None]
    upper, lower = torch.minimum(chord, centres + 0.5), torch.maximum(-chord, centres - 0.5)
    covered = (upper - lower).clamp_min_(0.0)
    share = torch.nn.functional.avg_pool2d(covered[None], _SUBVOXELS)[0]
    return share.movedim(0, exact).contiguous()
