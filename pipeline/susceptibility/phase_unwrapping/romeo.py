"""Unwrap phase along its most reliable paths (ROMEO), all echoes together or each alone.

The path search is warpkit's port of ROMEO; this module feeds it and makes sure that what comes back differs from the
input by whole turns only.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from warpkit.warpkit_cpp import romeo_unwrap3d, romeo_unwrap4d

from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.susceptibility.phase_unwrapping.each_echo import unwrap_each_echo
from pipeline.susceptibility.phase_unwrapping.spun import SpunSettings, unwrap_by_regions
from pipeline.susceptibility.phase_unwrapping.turns import (
    add_whole_turns,
    bounding_box,
    number_parts,
    refuse_unusable,
    wrap,
)

_LEAST_PART_VOXELS = 1000
"""Smaller islands of a mask are grown instead of searched, all of them at once."""


@dataclass(frozen=True)
class RomeoSettings:
    """Choices of the ROMEO path search."""

    mode: str = setting(
        "template",
        "-",
        "template: unwrap one echo and carry its turns to the others by the echo times; individual: each echo alone",
        choices=("template", "individual"),
    )
    max_seeds: int = setting(1, "1", "starting points of independent regions", minimum=1, maximum=255)
    merge_regions: bool = setting(False, "1", "join regions grown from several seeds along their common border")


def unwrap(
    phase: Tensor,
    magnitude: Tensor,
    mask: Tensor,
    echo_times_s: Sequence[float],
    settings: RomeoSettings | None = None,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Unwrap multi-echo phase inside the mask.

    Parameters
    ----------
    phase
        Wrapped phase [rad], `(echo, z, y, x)`, free of a phase offset.
    magnitude
        Magnitude [arbitrary], `(echo, z, y, x)`.
    mask
        Where to unwrap, bool `(z, y, x)`.
    echo_times_s
        Echo times [s].
    settings
        Choices of the path search.
    on_iteration
        Told the part that is done.

    Returns
    -------
        Unwrapped phase [rad], `(echo, z, y, x)`; inside the mask it is the input plus whole turns, outside it is zero.

    Raises
    ------
    UnusableInput
        Where shapes disagree or the mask is empty.

    References
    ----------
    Dymerska 2021, doi:10.1002/mrm.28563.
    """
    settings = settings or RomeoSettings()
    if settings.mode == "individual":
        alone = partial(_unwrap_volume, settings=settings)
        return unwrap_each_echo(alone, phase, magnitude, mask, echo_times_s, on_iteration, follow_previous=False)
    refuse_unusable(phase, magnitude, mask, echo_times_s)
    if on_iteration is not None:
        on_iteration(0.0)
    box = (slice(None), *bounding_box(mask))
    inside, wrapped = mask[box[1:]], phase[box]
    # The path search trusts its input to lie within ±π.
    bounded = wrap(wrapped) if float(wrapped.abs().max()) > math.pi else wrapped
    guide = _search_parts(bounded, magnitude[box], inside, np.asarray(echo_times_s, dtype=np.float32) * 1e3, settings)
    result = torch.zeros_like(phase)
    for echo, (acquired, turned) in enumerate(zip(wrapped, guide, strict=True)):
        result[(echo, *box[1:])] = torch.where(inside, add_whole_turns(acquired, turned), 0)
    if on_iteration is not None:
        on_iteration(1.0)
    return result


def _unwrap_volume(phase: Tensor, magnitude: Tensor, mask: Tensor, settings: RomeoSettings) -> Tensor:
    """Unwrap one echo by itself, `(z, y, x)`."""
    return _search_parts(phase[None], magnitude[None], mask, np.ones(1, dtype=np.float32), settings)[0]


def _search_parts(
    phase: Tensor, magnitude: Tensor, inside: Tensor, times: NDArray[np.float32], settings: RomeoSettings
) -> Tensor:
    """Search paths in each part of the mask; `(echo, z, y, x)`.

    One search leaves what its seed does not reach as it was, so an island would stay wrapped.
    """
    parts = number_parts(inside)
    if parts.count == 1:
        return _search(phase, magnitude, inside, times, settings)
    sizes = torch.bincount(parts.number, minlength=parts.count)
    least = min(_LEAST_PART_VOXELS, int(sizes.max()))
    small = torch.zeros_like(inside)
    small[inside] = (sizes < least)[parts.number]
    guide = torch.zeros_like(phase)
    for number in torch.nonzero(sizes >= least).flatten().tolist():
        part = torch.zeros_like(inside)
        part[inside] = parts.number == number
        box = (slice(None), *bounding_box(part))
        found = _search(phase[box], magnitude[box], part[box[1:]], times, settings)
        guide[box] += torch.where(part[box[1:]], found, 0)
    if bool(small.any()):
        grow = partial(unwrap_by_regions, settings=SpunSettings())
        guide += unwrap_each_echo(grow, phase, magnitude, small, times.tolist())
    return guide


def _search(
    phase: Tensor, magnitude: Tensor, inside: Tensor, times: NDArray[np.float32], settings: RomeoSettings
) -> Tensor:
    """Search paths in one part of the mask; `(echo, z, y, x)`."""
    seeds: dict[str, Any] = {
        "correct_global": True,
        "maxseeds": settings.max_seeds,
        "merge_regions": settings.merge_regions,
    }
    # Transposed views of contiguous volumes are the (x, y, z, echo) that warpkit reads without a copy of its own.
    angles, strengths, mask = _x_first(phase), _x_first(magnitude), inside.cpu().numpy().T
    if len(times) == 1:
        turned = romeo_unwrap3d(angles[..., 0], "romeo", strengths[..., 0], mask, **seeds)[..., None]
    else:
        turned = romeo_unwrap4d(angles, times, "romeo", strengths, mask, **seeds)
    # torch wants an array that is C-ordered; warpkit's, transposed back, is.
    return torch.from_numpy(np.ascontiguousarray(turned.T)).to(device=phase.device, dtype=phase.dtype)


def _x_first(volumes: Tensor) -> NDArray[np.float32]:
    """Return `(echo, z, y, x)` as a float32 view `(x, y, z, echo)`."""
    return volumes.detach().to(device="cpu", dtype=torch.float32).contiguous().numpy().T


def run(inputs: Mapping[str, Tensor], context: StepContext, settings: RomeoSettings) -> dict[str, Tensor]:
    """Unwrap the step's phase; see `unwrap`."""
    unwrapped = unwrap(
        inputs["phase"], inputs["magnitude"], inputs["mask"], context.echo_times_s, settings, context.on_iteration
    )
    return {"unwrapped_phase": unwrapped}


ROMEO = Method(
    name="romeo",
    citation="Dymerska 2021, doi:10.1002/mrm.28563 (path search: warpkit)",
    run=run,
    settings=RomeoSettings,
    inputs=("phase", "magnitude", "mask"),
    outputs=("unwrapped_phase",),
    memory_volumes=8.0,
)
