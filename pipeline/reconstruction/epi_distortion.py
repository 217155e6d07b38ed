"""Echo-planar images put straight: the field that their own phase shows tells how far each voxel was displaced."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import Finding
from pipeline.susceptibility.phase_unwrapping.romeo import unwrap
from pipeline.susceptibility.smoothing import weighted_gaussian

_FIXED_POINT_STEPS = 12
_FARTHEST_FILL_MM = 64.0
_SIGNAL_SHARE = 0.1
_FOLDED, _FEW_FOLDED = 0.2, 0.01
"""A voxel whose neighbours were found closer together than this is folded; more than this share of voxels is told."""


@dataclass(frozen=True)
class Distortion:
    """How far signal was displaced along y, at the places where it was found.

    `field_hz` and `displacement` [voxels] are `(z, y, x)` in the distorted images; signal of voxel y is found at
    y + displacement.
    """

    field_hz: Tensor
    displacement: Tensor


def find_distortion(
    images: Tensor,
    mask: Tensor,
    echo_times_s: tuple[float, ...],
    seconds_per_line: float,
    grid: Grid,
    smoothing_mm: float = 2.0,
) -> Distortion:
    """Measure the field in distorted images by their unwrapped phase, and the displacement that it causes.

    Parameters
    ----------
    images
        Complex `(echo, z, y, x)`. With one echo the phase offset of coils and transmitter counts as field.
    mask
        Where signal is, bool `(z, y, x)`; beside it the field is continued smoothly.
    echo_times_s
        Echo times [s].
    seconds_per_line
        By how much later each next line along y is measured [s].
    grid
        The grid of the images.
    smoothing_mm
        Standard deviation of the window over which the field is averaged [mm].

    Returns
    -------
        The distortion.

    Raises
    ------
    UnusableInput
        The mask is empty, or shapes disagree.

    References
    ----------
    Jezzard & Balaban 1995, doi:10.1002/mrm.1910340111.
    """
    if images.ndim != 4 or tuple(images.shape[1:]) != grid.shape or tuple(mask.shape) != grid.shape:
        raise UnusableInput(f"Images of shape {tuple(images.shape)} do not fit the grid {grid.shape}.")
    if not bool(mask.any()):
        raise UnusableInput("The mask is empty: no field can be measured, and nothing be put straight.")
    magnitude = images.abs()
    unwrapped = unwrap(images.angle(), magnitude, mask, echo_times_s)
    field, trust = _field(unwrapped, magnitude, echo_times_s)
    field_hz = _continued(field, trust * mask, grid, smoothing_mm)
    return Distortion(field_hz, displacement(field_hz, seconds_per_line))


def straightened(
    images: Tensor, echo_times_s: tuple[float, ...], seconds_per_line: float, grid: Grid
) -> tuple[Tensor, Distortion, Finding]:
    """Put the images of an echo-planar scan straight by the field that their own phase shows, and tell how far.

    Parameters
    ----------
    images
        Complex `(echo, z, y, x)`.
    echo_times_s
        Echo times [s].
    seconds_per_line
        By how much later each next line along y was measured [s].
    grid
        The grid of the images.

    Returns
    -------
        Straight images, the distortion that was taken out, and a finding for the report: a warning where voxels were
        displaced onto one another, or where one echo alone tells the field.

    Raises
    ------
    UnusableInput
        No signal is there.
    """
    mask = _with_signal(images)
    distortion = find_distortion(images, mask, echo_times_s, seconds_per_line, grid)
    result = without_distortion(images, distortion, echo_times_s)
    return result, distortion, _finding(distortion, mask, len(echo_times_s), grid)


def displacement(field_hz: Tensor, seconds_per_line: float) -> Tensor:
    """Return by how many voxels along y a field `(z, y, x)` [Hz] displaces signal."""
    return -field_hz * seconds_per_line * field_hz.shape[-2]


def without_distortion(images: Tensor, distortion: Distortion, echo_times_s: tuple[float, ...]) -> Tensor:
    """Put images straight: each voxel is taken from where its signal was found, and brightened where it was spread.

    Wrapped phase is never interpolated: what the field explains is taken out before and put back, straight, after.

    Parameters
    ----------
    images
        Complex `(echo, z, y, x)`.
    distortion
        As `find_distortion` measures it.
    echo_times_s
        Echo times [s].

    Returns
    -------
        Complex `(echo, z, y, x)`.

    Raises
    ------
    UnusableInput
        Shapes disagree.
    """
    if tuple(images.shape[1:]) != tuple(distortion.field_hz.shape) or len(echo_times_s) != len(images):
        raise UnusableInput(f"A distortion of {tuple(distortion.field_hz.shape)} does not fit {tuple(images.shape)}.")
    found = found_places(distortion.displacement)
    stretch = torch.gradient(found, dim=-2)[0].clamp_min(0)
    straight_field = interpolated(distortion.field_hz, found)
    result = torch.empty_like(images)
    for echo, time in enumerate(echo_times_s):
        calm = images[echo] * _turn(distortion.field_hz, -time)
        parts = [interpolated(part, found) for part in (calm.real, calm.imag)]
        result[echo] = torch.complex(*parts) * stretch * _turn(straight_field, time)
    return result


def found_places(shift: Tensor) -> Tensor:
    """Return where along y the signal of every voxel was found, from displacements known where signal was found.

    Parameters
    ----------
    shift
        Displacement [voxels] `(z, y, x)` at the places where signal was found.

    Returns
    -------
        Places [voxels] `(z, y, x)`, by true voxel: the fixed point of place = y + shift(place).
    """
    straight = torch.arange(shift.shape[-2], device=shift.device, dtype=shift.dtype)[:, None].expand_as(shift)
    found = straight + shift
    for _ in range(_FIXED_POINT_STEPS):
        # Half steps converge even where the displacement changes by more than a voxel per voxel.
        found = 0.5 * (found + straight + interpolated(shift, found))
    return found


def interpolated(values: Tensor, places: Tensor) -> Tensor:
    """Return values at places along y [voxels], both `(z, y, x)`, by cubics; at the edges the last value holds."""
    size = values.shape[-2]
    inside = places.clamp(0, size - 1)
    first = inside.floor()
    rest = inside - first
    weights = (
        ((-0.5 * rest + 1.0) * rest - 0.5) * rest,
        (1.5 * rest - 2.5) * rest * rest + 1,
        ((-1.5 * rest + 2.0) * rest + 0.5) * rest,
        (0.5 * rest - 0.5) * rest * rest,
    )
    index = first.long()
    result = torch.zeros_like(values)
    for step, weight in enumerate(weights, start=-1):
        result += weight * values.gather(-2, (index + step).clamp(0, size - 1))
    return result


def _with_signal(images: Tensor) -> Tensor:
    """Return where the first echo has signal: a tenth of its brightest voxels' or more."""
    magnitude = images[0].abs()
    thinned = magnitude.flatten()[:: max(1, magnitude.numel() // 1_000_000)]
    return (magnitude > _SIGNAL_SHARE * torch.quantile(thinned, 0.98)) & (magnitude > 0)


def _finding(distortion: Distortion, mask: Tensor, n_echoes: int, grid: Grid) -> Finding:
    moved = distortion.displacement[mask].abs()
    thinned = moved[:: max(1, len(moved) // 1_000_000)]
    far = float(torch.quantile(thinned, 0.95))
    stretch = torch.gradient(found_places(distortion.displacement), dim=-2)[0][mask]
    folded = float((stretch < _FOLDED).float().mean())
    millimetres = far * grid.voxel_size_mm[1]
    parts = [
        f"Signal was displaced along the phase encoding by up to {far:.2f} voxels ({millimetres:.2f} mm) in 95 % of "
        "the voxels with signal, and was put back by the field that the images show."
    ]
    if folded > _FEW_FOLDED:
        parts.append(f"In {100 * folded:.1f} % it was pressed together so that it cannot be told apart again.")
    if n_echoes == 1:
        parts.append("One echo alone tells that field: the phase of coils and transmitter counts as field.")
    return Finding(
        "epi_distortion",
        " ".join(parts),
        {"displacement_voxels_percentile_95": far, "folded_percent": 100 * folded},
        is_warning=folded > _FEW_FOLDED or n_echoes == 1,
    )


def _turn(field_hz: Tensor, time_s: float) -> Tensor:
    return torch.polar(torch.ones_like(field_hz), 2 * math.pi * time_s * field_hz)


def _field(unwrapped: Tensor, magnitude: Tensor, echo_times_s: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Return the field [Hz] and how far to trust it: a straight line through the echoes, weighted by their signal."""
    if len(echo_times_s) == 1:
        return unwrapped[0] / (2 * math.pi * echo_times_s[0]), magnitude[0].square()
    times = torch.tensor(echo_times_s, device=unwrapped.device, dtype=unwrapped.dtype)[:, None, None, None]
    weights = magnitude.square()
    total = weights.sum(0).clamp_min(1e-20)
    middle_time, middle = (weights * times).sum(0) / total, (weights * unwrapped).sum(0) / total
    apart = times - middle_time
    spread = (weights * apart.square()).sum(0)
    return (weights * apart * (unwrapped - middle)).sum(0) / spread.clamp_min(1e-20) / (2 * math.pi), spread


def _continued(field: Tensor, trust: Tensor, grid: Grid, smoothing_mm: float) -> Tensor:
    """Smooth a field where it is trusted, and continue it beyond by ever wider averages."""
    known = trust > 0
    result = weighted_gaussian(torch.where(known, field, 0), trust, smoothing_mm, grid)
    width = max(2 * smoothing_mm, 4.0)
    missing = ~known
    while width <= _FARTHEST_FILL_MM and bool(missing.any()):
        wider = weighted_gaussian(torch.where(known, field, 0), trust, width, grid)
        result = torch.where(missing & (wider != 0), wider, result)
        missing = missing & (wider == 0)
        width *= 2
    return result
