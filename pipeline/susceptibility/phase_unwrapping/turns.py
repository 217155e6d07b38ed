"""Whole turns: the only thing an unwrapping may add, and the region where it may add them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy import ndimage
from torch import Tensor

from pipeline.errors import UnusableInput

TURN = 2 * math.pi


def wrap(phase: Tensor) -> Tensor:
    """Return the phase [rad], any shape, brought into −π … π."""
    return (phase + math.pi).remainder_(TURN).sub_(math.pi)


def add_whole_turns(wrapped: Tensor, guide: Tensor) -> Tensor:
    """Add to the wrapped phase the whole number of turns that brings it nearest to the guide.

    Parameters
    ----------
    wrapped
        Wrapped phase [rad], any shape.
    guide
        Estimate of the unwrapped phase [rad], same shape.

    Returns
    -------
        Unwrapped phase [rad].
    """
    return (guide - wrapped).div_(TURN).round_().mul_(TURN).add_(wrapped)


def bounding_box(mask: Tensor) -> tuple[slice, slice, slice]:
    """Return the smallest box that holds the mask, bool `(z, y, x)`, as slices of its axes."""
    bounds = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        places = mask.any(dim=others[1]).any(dim=others[0]).nonzero()
        bounds.append(slice(int(places[0]), int(places[-1]) + 1))
    return bounds[0], bounds[1], bounds[2]


@dataclass(frozen=True)
class Parts:
    """The parts of a mask that no shared face of two voxels joins; between them no path tells the turns.

    `number` is each mask voxel's part from 0, in the order of the mask; `count` is how many parts there are.
    """

    mask: Tensor
    number: Tensor
    count: int

    def nearest(self, unwrapped: Tensor, expected: Tensor) -> Tensor:
        """Add to each part the whole turns that bring its median nearest to what is expected.

        Parameters
        ----------
        unwrapped
            Phase [rad], `(z, y, x)`, unwrapped within each part.
        expected
            What the phase is likely to be [rad], `(z, y, x)`.

        Returns
        -------
            Unwrapped phase [rad], `(z, y, x)`, zero outside the mask.
        """
        values = unwrapped[self.mask]
        turns = torch.round(self._medians(values - expected[self.mask]) / TURN)
        moved = torch.zeros_like(unwrapped)
        moved[self.mask] = values - TURN * turns[self.number]
        return moved

    def _medians(self, values: Tensor) -> Tensor:
        """Return the lower median of each part's values."""
        if self.count == 1:
            return values.median()[None]
        by_value = values.argsort(stable=True)
        by_part = by_value[self.number[by_value].argsort(stable=True)]
        sizes = torch.bincount(self.number, minlength=self.count)
        return values[by_part][sizes.cumsum(0) - sizes + (sizes - 1) // 2]


def number_parts(mask: Tensor) -> Parts:
    """Return the parts of a mask, bool `(z, y, x)`."""
    numbers, count = ndimage.label(mask.cpu().numpy())
    if count == 1:
        # One stored zero stands for all voxels.
        zero = torch.zeros(1, dtype=torch.int64, device=mask.device)
        return Parts(mask, zero.expand(int(mask.sum())), count)
    return Parts(mask, torch.from_numpy(numbers).to(device=mask.device)[mask].long() - 1, count)


def refuse_unusable(phase: Tensor, magnitude: Tensor, mask: Tensor, echo_times_s: Sequence[float]) -> None:
    """Refuse images that do not belong together.

    Parameters
    ----------
    phase, magnitude
        Images, `(echo, z, y, x)`.
    mask
        Bool `(z, y, x)`.
    echo_times_s
        Echo times [s].

    Raises
    ------
    UnusableInput
        Where shapes or counts disagree, or the mask is empty.
    """
    if phase.ndim != 4 or phase.shape != magnitude.shape or phase.shape[1:] != mask.shape:
        raise UnusableInput(
            f"Phase and magnitude must have one shape (echo, z, y, x) and the mask (z, y, x); they are "
            f"{tuple(phase.shape)}, {tuple(magnitude.shape)} and {tuple(mask.shape)}."
        )
    if len(echo_times_s) != phase.shape[0]:
        raise UnusableInput(f"{phase.shape[0]} echoes need as many echo times; {len(echo_times_s)} were given.")
    if not bool(mask.any()):
        raise UnusableInput("The mask is empty, so there is no phase to use; check the magnitude or give a mask.")
