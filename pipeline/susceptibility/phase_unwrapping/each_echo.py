"""Unwrap the echoes one after the other, each put on one line through time zero with the echo before it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pipeline.method import OnIteration
from pipeline.susceptibility.phase_unwrapping.turns import (
    add_whole_turns,
    bounding_box,
    number_parts,
    refuse_unusable,
    wrap,
)

UnwrapVolume = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Takes wrapped phase [rad], magnitude and mask, each `(z, y, x)`; returns unwrapped phase [rad], right up to a whole
number of turns in each part of the mask."""


def unwrap_each_echo(
    unwrap_volume: UnwrapVolume,
    phase: Tensor,
    magnitude: Tensor,
    mask: Tensor,
    echo_times_s: Sequence[float],
    on_iteration: OnIteration | None = None,
    *,
    follow_previous: bool = True,
) -> Tensor:
    """Unwrap the echoes inside the mask, one volume at a time.

    Parameters
    ----------
    unwrap_volume
        Unwraps one echo.
    phase
        Wrapped phase [rad], `(echo, z, y, x)`, free of a phase offset.
    magnitude
        Magnitude [arbitrary], `(echo, z, y, x)`.
    mask
        Where to unwrap, bool `(z, y, x)`.
    echo_times_s
        Echo times [s].
    on_iteration
        Told the part of the echoes that is done, before the first and after each.
    follow_previous
        Unwrap of each later echo only what the echo before it, stretched by the ratio of their times, does not tell.
        What is left is nearly flat even where the phase is too steep to be followed from voxel to voxel.

    Returns
    -------
        Unwrapped phase [rad], `(echo, z, y, x)`; inside the mask it is the input plus whole turns, outside it is zero.

    Raises
    ------
    UnusableInput
        Where shapes disagree or the mask is empty.
    """
    refuse_unusable(phase, magnitude, mask, echo_times_s)
    box = bounding_box(mask)
    inside = mask[box]
    outside = ~inside
    result = torch.zeros_like(phase)
    parts = number_parts(inside)
    for echo, time in enumerate(echo_times_s):
        if on_iteration is not None:
            on_iteration(echo / len(echo_times_s))
        acquired, previous = phase[(echo, *box)], result[(max(echo - 1, 0), *box)]
        # Before the first echo there is nothing but zeros.
        stretch = time / echo_times_s[max(echo - 1, 0)]
        # Path searches trust their input to lie within ±π; outside the mask anything may stand.
        left = wrap(acquired - previous * stretch if follow_previous else acquired).masked_fill_(outside, 0)
        unwrapped = unwrap_volume(left, torch.where(inside, magnitude[(echo, *box)], 0), inside)
        del left
        # Worked out again, because the unwrapping needs the memory.
        expected = previous * stretch
        guide = parts.nearest(unwrapped.add_(expected) if follow_previous else unwrapped, expected)
        del unwrapped, expected
        result[(echo, *box)] = add_whole_turns(acquired, guide).masked_fill_(outside, 0)
        del guide
    if on_iteration is not None:
        on_iteration(1.0)
    return result
