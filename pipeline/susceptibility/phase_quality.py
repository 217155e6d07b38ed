"""Measure how far the phase of a voxel can be trusted, from the curvature of the phase around it."""

import math

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.susceptibility.phase_unwrapping.turns import wrap


def phase_quality(phase: Tensor, magnitude: Tensor) -> Tensor:
    """Rate each voxel between 0 (phase is noise) and 1 (phase is locally linear).

    Parameters
    ----------
    phase
        Wrapped phase [rad], `(echo, z, y, x)`.
    magnitude
        Magnitude [arbitrary], `(echo, z, y, x)`; strong echoes count more.

    Returns
    -------
        Quality [1], `(z, y, x)`.

    Raises
    ------
    UnusableInput
        Where shapes disagree.

    Notes
    -----
    The second difference of a linear phase is zero whatever its slope and wraps; that of noise is uniform in ±π, whose
    mean size is π/2. The rate is 1 − |second difference| / (π/2), averaged over axes, echoes and 3 x 3 x 3 voxels.

    References
    ----------
    Abdul-Rahman 2007, doi:10.1364/AO.46.006623 (second differences as reliability).
    """
    if phase.ndim != 4 or phase.shape != magnitude.shape:
        raise UnusableInput(
            f"Phase {tuple(phase.shape)} and magnitude {tuple(magnitude.shape)} must have one shape (echo, z, y, x)."
        )
    weighted = torch.zeros_like(phase[0])
    total = torch.zeros_like(phase[0])
    for image, strength in zip(phase, magnitude, strict=True):
        weight = strength.square()
        weighted += weight * _local_linearity(image)
        total += weight
    quality = _box_mean(weighted) / _box_mean(total).clamp_min(torch.finfo(total.dtype).tiny)
    return quality.clamp(0, 1)


def _local_linearity(phase: Tensor) -> Tensor:
    rate = torch.zeros_like(phase)
    axes = [axis for axis in range(3) if phase.shape[axis] > 2]
    for axis in axes:
        length = phase.shape[axis]
        before = phase.narrow(axis, 0, length - 2)
        here = phase.narrow(axis, 1, length - 2)
        after = phase.narrow(axis, 2, length - 2)
        bend = wrap(after - 2 * here + before)
        inner = 1 - bend.abs() / (math.pi / 2)
        # The border has one neighbour only and takes the rate of the voxel beside it.
        edges = [inner.narrow(axis, 0, 1), inner, inner.narrow(axis, length - 3, 1)]
        rate += torch.cat(edges, dim=axis)
    return rate / max(1, len(axes))


def _box_mean(volume: Tensor) -> Tensor:
    widths = [3 if length > 2 else 1 for length in volume.shape]
    margins = [width // 2 for width in widths]
    return torch.nn.functional.avg_pool3d(volume[None, None], widths, 1, margins, count_include_pad=False)[0, 0]
