"""A head that moves while it is scanned: rigid poses, and images as a pose would show them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid


@dataclass(frozen=True)
class Pose:
    """A turn about the middle of the volume, about its z, then y, then x axis, and then a shift.

    `rotation_deg` and `translation_mm` are `(z, y, x)`.
    """

    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    translation_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)


def restless_head(n_poses: int, largest_deg: float, largest_mm: float, seed: int = 0) -> tuple[Pose, ...]:
    """Return poses that wander away from rest, as a head sinks and nods during minutes.

    Parameters
    ----------
    n_poses
        Number of poses; the first is rest.
    largest_deg
        Largest angle about any axis [degrees].
    largest_mm
        Largest shift along any axis [mm].
    seed
        Decides the way.

    Raises
    ------
    UnusableInput
        There is no pose.
    """
    if n_poses < 1:
        raise UnusableInput("A head has at least one pose.")
    chance = torch.Generator().manual_seed(seed)
    steps = torch.randn(n_poses, 6, generator=chance)
    steps[0] = 0.0
    way = steps.cumsum(0)
    way = way / way.abs().amax(0).clamp_min(1e-9)
    scale = torch.tensor([largest_deg] * 3 + [largest_mm] * 3)
    return tuple(Pose((z, y, x), (dz, dy, dx)) for z, y, x, dz, dy, dx in (way * scale).tolist())


def moved(images: Tensor, grid: Grid, pose: Pose) -> Tensor:
    """Return images of the head in another pose.

    Rotations are three shears each, and shears and shifts are phases in k-space, so that nothing is blurred. The field
    of the head turns with it: its change with the angle to B0 is left out, as small for angles of a few degrees.

    Parameters
    ----------
    images
        Complex `(..., z, y, x)`; what leaves the volume comes in on the other side.
    grid
        The grid of the images.
    pose
        Where the head is.

    Returns
    -------
    Complex, the same shape.

    References
    ----------
    Unser et al. 1995, doi:10.1109/83.465102.
    """
    result = images
    for axis, degrees in enumerate(pose.rotation_deg):
        if degrees:
            first, second = ((1, 2), (2, 0), (0, 1))[axis]
            half = -math.tan(math.radians(degrees) / 2)
            for along, across, slope in (
                (first, second, half),
                (second, first, math.sin(math.radians(degrees))),
                (first, second, half),
            ):
                result = _sheared(result, grid, along, across, slope)
    for axis, shift in enumerate(pose.translation_mm):
        if shift:
            voxels = torch.full((1,), shift / grid.voxel_size_mm[axis], device=images.device)
            result = _shifted(result, axis - 3, voxels)
    return result


def pose_of_lines(n_lines: int, poses: Sequence[Pose]) -> Tensor:
    """Return for each of the lines, in the order of acquisition, the index of the pose that holds meanwhile."""
    return torch.arange(n_lines) * len(poses) // max(n_lines, 1)


def _sheared(images: Tensor, grid: Grid, along: int, across: int, slope: float) -> Tensor:
    """Shift every row along one axis in proportion to its distance [mm] from the middle along another."""
    size = grid.shape[across]
    distance = (torch.arange(size, device=images.device) - size // 2) * grid.voxel_size_mm[across]
    shape = [1, 1, 1]
    shape[across] = size
    return _shifted(images, along - 3, (slope * distance / grid.voxel_size_mm[along]).reshape(shape))


def _shifted(images: Tensor, axis: int, voxels: Tensor) -> Tensor:
    """Shift images along an axis by numbers of voxels that broadcast over them."""
    frequencies = torch.fft.fftfreq(images.shape[axis], device=images.device)
    shape = [1, 1, 1]
    shape[axis] = len(frequencies)
    turn = torch.polar(torch.ones((), device=images.device), -2 * math.pi * frequencies.reshape(shape) * voxels)
    return torch.fft.ifft(torch.fft.fft(images, dim=axis) * turn, dim=axis)
