"""Unwrap phase along its most reliable paths (ROMEO), all echoes together.

The path search is warpkit's port of ROMEO; this module feeds it and makes sure that what comes back differs from the
input by whole turns only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from warpkit.warpkit_cpp import romeo_unwrap3d, romeo_unwrap4d

from pipeline.method import Method, StepContext, setting
from pipeline.susceptibility.phase_unwrapping.turns import add_whole_turns, bounding_box, refuse_unusable, wrap


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
    refuse_unusable(phase, magnitude, mask, echo_times_s)
    box = bounding_box(mask)
    inside = mask[box]
    wrapped = phase[(slice(None), *box)]
    # The path search trusts its input to lie within ±π.
    path_phase = _x_first(wrap(wrapped))
    path_magnitude = _x_first(magnitude[(slice(None), *box)])
    path_mask = np.ascontiguousarray(inside.cpu().numpy().T)
    if len(echo_times_s) == 1:
        turned = romeo_unwrap3d(
            path_phase[..., 0],
            "romeo",
            path_magnitude[..., 0],
            path_mask,
            correct_global=True,
            maxseeds=settings.max_seeds,
            merge_regions=settings.merge_regions,
        )[..., None]
    else:
        turned = romeo_unwrap4d(
            path_phase,
            np.asarray(echo_times_s, dtype=np.float32) * 1e3,
            "romeo",
            path_magnitude,
            path_mask,
            correct_global=True,
            maxseeds=settings.max_seeds,
            merge_regions=settings.merge_regions,
        )
    result = torch.zeros_like(phase)
    # torch wants an owned, C-ordered array.
    guide = torch.from_numpy(np.ascontiguousarray(turned.T)).to(device=phase.device, dtype=phase.dtype)
    result[(slice(None), *box)] = torch.where(inside, add_whole_turns(wrapped, guide), 0)
    return result


def run(inputs: Mapping[str, Tensor], context: StepContext, settings: RomeoSettings) -> dict[str, Tensor]:
    """Unwrap the step's phase; see `unwrap`."""
    unwrapped = unwrap(inputs["phase"], inputs["magnitude"], inputs["mask"], context.echo_times_s, settings)
    return {"unwrapped_phase": unwrapped}


def _x_first(volumes: Tensor) -> np.ndarray:
    """Return `(echo, z, y, x)` as the contiguous float32 `(x, y, z, echo)` that warpkit reads."""
    return np.ascontiguousarray(volumes.detach().to(device="cpu", dtype=torch.float32).numpy().T)


ROMEO = Method(
    name="romeo",
    citation="Dymerska 2021, doi:10.1002/mrm.28563 (path search: warpkit)",
    run=run,
    settings=RomeoSettings,
    inputs=("phase", "magnitude", "mask"),
    outputs=("unwrapped_phase",),
)
