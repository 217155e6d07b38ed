"""Refuse arrays and facts that no method can work with, before any work is done."""

import itertools
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid

PER_ECHO = frozenset({"phase", "magnitude", "unwrapped_phase"})
"""Artefacts `(echo, z, y, x)`; a magnitude may also be one image `(z, y, x)`."""
PER_COIL = frozenset({"coil_phase", "coil_magnitude"})
"""Artefacts `(echo, coil, z, y, x)`."""
PER_ORIENTATION = frozenset({"local_fields"})
"""Artefacts `(orientation, z, y, x)`."""
PER_MAP = frozenset({"start"})
"""Artefacts `(map, z, y, x)`."""
LEAST_MASK_VOXELS = 8
LEAST_VOXELS_PER_AXIS = 4


def refuse_wrong_context(grid: Grid, echo_times_s: Sequence[float], b0_tesla: float | None) -> None:
    """Refuse echo times that do not rise, an impossible field strength, and a volume too thin for any kernel.

    Raises
    ------
    UnusableInput
        One of these; the sentence says which.
    """
    times = tuple(echo_times_s)
    if any(not math.isfinite(time) or time <= 0 for time in times):
        raise UnusableInput(f"Echo times must be positive numbers of seconds; they are {list(times)}.")
    if any(later <= earlier for earlier, later in itertools.pairwise(times)):
        raise UnusableInput(
            f"Echo times must rise from echo to echo; they are {list(times)} s. Sort the echoes and drop repeated ones."
        )
    if b0_tesla is not None and not (math.isfinite(b0_tesla) and b0_tesla > 0):
        raise UnusableInput(f"The field strength must be a positive number of tesla; it is {b0_tesla}.")
    if min(grid.shape) < LEAST_VOXELS_PER_AXIS:
        raise UnusableInput(
            f"The volume is {grid.shape} voxels; it must have {LEAST_VOXELS_PER_AXIS} or more along every axis."
        )


def checked_inputs(
    needed: Sequence[str], artefacts: Mapping[str, Tensor], grid: Grid, echo_times_s: Sequence[float], who: str
) -> dict[str, Tensor]:
    """Return the artefacts with a mask of type bool and zeros for values outside the mask that are not finite.

    Parameters
    ----------
    needed
        Names that must be there.
    artefacts
        Arrays by name.
    grid
        The grid on which they must lie.
    echo_times_s
        Echo times [s]; where given, their number must be that of the echoes.
    who
        Who asks, for the error.

    Raises
    ------
    UnusableInput
        Something is missing, has a wrong shape, is not finite, or the mask is empty.
    """
    missing = [name for name in needed if name not in artefacts]
    if missing:
        raise UnusableInput(f"The {who} needs {', '.join(missing)}; give it, or do the step that makes it first.")
    checked = dict(artefacts)
    for name, values in artefacts.items():
        _refuse_wrong_shape(name, values, grid, len(echo_times_s))
    mask = artefacts.get("mask")
    if mask is not None:
        mask = checked["mask"] = (mask if mask.dtype == torch.bool else _finite("mask", mask, None)).bool()
        count = int(mask.count_nonzero())
        if count < LEAST_MASK_VOXELS:
            raise UnusableInput(
                f"The mask holds {count} voxels; no map can be made in it. Check the magnitude images or give a mask."
            )
    for name, values in artefacts.items():
        if values.is_floating_point() and name != "mask":
            checked[name] = _finite(name, values, mask)
    return checked


def all_finite(values: Tensor) -> bool:
    """Say whether no value is NaN or infinite, in one pass where that is so."""
    # NaN and infinity survive a sum; a sum of finite values may overflow, so only then is each one looked at.
    return math.isfinite(float(values.sum())) or bool(torch.isfinite(values).all())


def _refuse_wrong_shape(name: str, values: Tensor, grid: Grid, n_echoes: int) -> None:
    shape = tuple(values.shape)
    leading = shape[:-3]
    allowed: tuple[int, ...] = (0,)
    if name in PER_ECHO:
        allowed = (0, 1) if name == "magnitude" else (1,)
    elif name in PER_ORIENTATION | PER_MAP:
        allowed = (1,)
    elif name in PER_COIL:
        allowed = (2,)
    words = name.replace("_", " ")
    if shape[-3:] != grid.shape or len(leading) not in allowed:
        raise UnusableInput(
            f"The {words} has shape {shape} but the grid is {grid.shape} (z, y, x); give one grid to all."
        )
    if name in PER_ECHO | PER_COIL and leading and n_echoes and leading[0] != n_echoes:
        raise UnusableInput(f"The {words} has {leading[0]} echoes but there are {n_echoes} echo times.")


def _finite(name: str, values: Tensor, mask: Tensor | None) -> Tensor:
    if all_finite(values):
        return values
    finite = torch.isfinite(values)
    words = name.replace("_", " ")
    wrong = ~finite if mask is None else ~finite & mask
    count = int(wrong.sum())
    if count:
        place = "" if mask is None else " in the mask"
        raise UnusableInput(
            f"The {words} holds {count} values{place} that are not finite (NaN or infinity); mask them out."
        )
    return torch.where(finite, values, 0.0)
