"""Unwrap phase along its most reliable paths (ROMEO), all echoes together.

The path search is warpkit's port of ROMEO; this module feeds it and makes sure that what comes back differs from the
input by whole turns only.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from warpkit.warpkit_cpp import romeo_unwrap3d, romeo_unwrap4d

from pipeline.errors import UnusableInput
from pipeline.method import Method, StepContext, setting

TURN = 2 * math.pi


@dataclass(frozen=True)
class RomeoSettings:
    """Choices of the ROMEO path search."""

    max_seeds: int = setting(1, "1", "starting points of independent regions", minimum=1, maximum=255)
    merge_regions: bool = setting(False, "1", "join regions grown from several seeds along their common border")


def unwrap(
    phase: Tensor,
    magnitude: Tensor,
    mask: Tensor,
    echo_times_s: Sequence[float],
    settings: RomeoSettings | None = None,
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
    _refuse_wrong_shapes(phase, magnitude, mask, echo_times_s)
    box = _bounding_box(mask)
    inside = mask[box]
    wrapped = phase[(slice(None), *box)]
    path_phase = _x_first(wrapped)
    path_magnitude = _x_first(magnitude[(slice(None), *box)])
    path_mask = np.ascontiguousarray(inside.cpu().numpy().T)
    options = {"maxseeds": settings.max_seeds, "merge_regions": settings.merge_regions, "correct_global": True}
    if len(echo_times_s) == 1:
        turned = romeo_unwrap3d(path_phase[..., 0], "romeo", path_magnitude[..., 0], path_mask, **options)[..., None]
    else:
        milliseconds = np.asarray(echo_times_s, dtype=np.float32) * 1e3
        turned = romeo_unwrap4d(path_phase, milliseconds, "romeo", path_magnitude, path_mask, **options)
    result = torch.zeros_like(phase)
    # torch wants an owned, C-ordered array.
    guide = torch.from_numpy(np.ascontiguousarray(turned.T)).to(device=phase.device, dtype=phase.dtype)
    result[(slice(None), *box)] = torch.where(inside, add_whole_turns(wrapped, guide), 0)
    return result


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
    return wrapped + TURN * torch.round((guide - wrapped) / TURN)


def run(inputs: Mapping[str, Tensor], context: StepContext, settings: RomeoSettings) -> dict[str, Tensor]:
    """Unwrap the step's phase; see `unwrap`."""
    unwrapped = unwrap(inputs["phase"], inputs["magnitude"], inputs["mask"], context.echo_times_s, settings)
    return {"unwrapped_phase": unwrapped}


def _x_first(volumes: Tensor) -> np.ndarray:
    """Return `(echo, z, y, x)` as the contiguous float32 `(x, y, z, echo)` that warpkit reads."""
    return np.ascontiguousarray(volumes.detach().to(device="cpu", dtype=torch.float32).numpy().T)


def _bounding_box(mask: Tensor) -> tuple[slice, slice, slice]:
    places = mask.nonzero()
    low, high = places.amin(0).tolist(), places.amax(0).tolist()
    return slice(low[0], high[0] + 1), slice(low[1], high[1] + 1), slice(low[2], high[2] + 1)


def _refuse_wrong_shapes(phase: Tensor, magnitude: Tensor, mask: Tensor, echo_times_s: Sequence[float]) -> None:
    if phase.ndim != 4 or phase.shape != magnitude.shape or phase.shape[1:] != mask.shape:
        raise UnusableInput(
            f"Unwrapping needs phase and magnitude of one shape (echo, z, y, x) and a mask (z, y, x); they are "
            f"{tuple(phase.shape)}, {tuple(magnitude.shape)} and {tuple(mask.shape)}."
        )
    if len(echo_times_s) != phase.shape[0]:
        raise UnusableInput(f"{phase.shape[0]} phase images need as many echo times; {len(echo_times_s)} were given.")
    if not bool(mask.any()):
        raise UnusableInput("The mask is empty: there is nothing to unwrap. Check the magnitude or give a mask.")


ROMEO = Method(
    name="romeo",
    citation="Dymerska 2021, doi:10.1002/mrm.28563 (path search: warpkit)",
    run=run,
    settings=RomeoSettings,
    inputs=("phase", "magnitude", "mask"),
    outputs=("unwrapped_phase",),
)
