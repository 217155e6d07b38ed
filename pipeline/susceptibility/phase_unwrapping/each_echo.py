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
    guides = torch.zeros_like(phase[(slice(None), *box)])
    expected = torch.zeros_like(guides[0])
    parts = number_parts(inside)
    for echo, time in enumerate(echo_times_s):
        if on_iteration is not None:
            on_iteration(echo / len(echo_times_s))
        if echo:
            expected = guides[echo - 1] * (time / echo_times_s[echo - 1])
        known = expected if follow_previous else torch.zeros_like(expected)
        # Path searches trust their input to lie within ±π; outside the mask anything may stand.
        wrapped = torch.where(inside, wrap(phase[(echo, *box)] - known), 0)
        unwrapped = known + unwrap_volume(wrapped, torch.where(inside, magnitude[(echo, *box)], 0), inside)
        guides[echo] = parts.nearest(unwrapped, expected)
    guides = add_whole_turns(phase[(slice(None), *box)], guides)
    result = torch.zeros_like(phase)
    result[(slice(None), *box)] = torch.where(inside, guides, 0)
    if on_iteration is not None:
        on_iteration(1.0)
    return result
