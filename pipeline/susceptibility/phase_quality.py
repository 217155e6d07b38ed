"""Measure how far the phase of a voxel can be trusted, from the curvature of the phase around it."""

import math

import torch
from torch import Tensor

from pipeline.errors import UnusableInput

_EVERY = 101
_LEAST_FILLED = 0.05
"""Share of voxels above which one common value is a filling; measured values are never that common."""
_SLAB_VOXELS = 800_000
"""Slabs of this size stay in a processor's cache through the many passes."""


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
    mean size is π/2. The rate is 1 − |second difference| / (π/2), averaged over axes, echoes and 3 x 3 x 3 voxels. Air
    that the scanner stored as a constant is rated 0.

    References
    ----------
    Abdul-Rahman 2007, doi:10.1364/AO.46.006623 (second differences as reliability).
    """
    if phase.ndim != 4 or phase.shape != magnitude.shape:
        raise UnusableInput(
            f"Phase {tuple(phase.shape)} and magnitude {tuple(magnitude.shape)} must have one shape (echo, z, y, x)."
        )
    n_slices = phase.shape[1]
    thickness = max(4, _SLAB_VOXELS // phase[0, 0].numel()) if phase.device.type == "cpu" else n_slices
    filled = _filled_in(phase)
    quality = torch.empty_like(phase[0])
    for start in range(0, n_slices, thickness):
        stop = min(start + thickness, n_slices)
        # Two slices more on either side: one for the second difference, one for the mean.
        first, last = max(0, start - 2), min(n_slices, stop + 2)
        rated = _rate(phase[:, first:last], magnitude[:, first:last], thick=n_slices > 2)
        quality[start:stop] = rated[start - first : stop - first]
    return quality if filled is None else quality.masked_fill_(filled, 0.0)


def _filled_in(phase: Tensor) -> Tensor | None:
    """Return the voxels that hold one and the same value in all echoes, as scanners store air; None where none do."""
    value = phase[0].flatten()[::_EVERY].mode().values
    share = float((phase[0] == value).float().mean())
    # A phase of one value throughout is a simulation without a field, not air.
    return (phase == value).all(0) if _LEAST_FILLED < share < 1 else None


def _rate(phase: Tensor, magnitude: Tensor, thick: bool) -> Tensor:
    """Return the quality of a slab; `thick` where the whole volume has slices enough for a difference along z."""
    axes = [axis for axis in range(3) if phase.shape[1 + axis] > 2 and (axis > 0 or thick)]
    weighted = torch.zeros_like(phase[0])
    total = torch.zeros_like(phase[0])
    for image, strength in zip(phase, magnitude, strict=True):
        weight = strength.square()
        total += weight
        weighted.addcmul_(weight, _bend(image / math.tau, axes))
    # The counts of voxels in the two means cancel. Without any signal the rate is zero, not one.
    total = _box_sum(total, axes)
    rate = torch.sub(total, _box_sum(weighted, axes), alpha=4 / max(1, len(axes)))
    return rate.div_(total.clamp_min_(torch.finfo(total.dtype).tiny)).clamp_(0, 1)


def _bend(turns: Tensor, axes: list[int]) -> Tensor:
    """Return the size of the wrapped second difference [turns], summed over the axes."""
    whole = torch.zeros_like(turns)
    for axis in axes:
        inner = turns.shape[axis] - 2
        before, here, after = (turns.narrow(axis, start, inner) for start in range(3))
        bend = (before + after).sub_(here, alpha=2)
        bend.sub_(bend.round()).abs_()
        whole.narrow(axis, 1, inner).add_(bend)
        # The border has one neighbour only and takes the bend of the voxel beside it.
        whole.narrow(axis, 0, 1).add_(bend.narrow(axis, 0, 1))
        whole.narrow(axis, inner + 1, 1).add_(bend.narrow(axis, inner - 1, 1))
    return whole


def _box_sum(volume: Tensor, axes: list[int]) -> Tensor:
    for axis in axes:
        length = volume.shape[axis] - 1
        total = volume.clone()
        total.narrow(axis, 1, length).add_(volume.narrow(axis, 0, length))
        total.narrow(axis, 0, length).add_(volume.narrow(axis, 1, length))
        volume = total
    return volume
