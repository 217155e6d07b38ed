"""The shots of a segmented echo-planar scan: the phase of each and the drift of the field, found by navigators."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput

_SMOOTHING_SHOTS = 6.0
_REFINEMENTS = 3


@dataclass(frozen=True)
class ShotPhases:
    """The phase of every shot at its excitation [rad], and by how much its field is off [Hz], each float64 `(shot,)`.

    Both are relative to the mean over the scan.
    """

    phase_rad: Tensor
    frequency_hz: Tensor


def shot_phases(navigators: Tensor, shot: Tensor, time_s: Tensor) -> ShotPhases:
    """Find each shot's phase and field from its navigators, compared with those of all shots.

    The field drifts slowly: its course is smoothed over neighbouring shots, since navigators of one shot lie only
    milliseconds apart. What it does not explain is the shot's own phase.

    Parameters
    ----------
    navigators
        Complex `(navigator, coil, x)`, after the polarities were aligned.
    shot
        Number of the shot, int64 `(navigator,)`; every shot has the same navigators at the same times.
    time_s
        Time since excitation [s], `(navigator,)`.

    Returns
    -------
        Phases and frequencies, by number of the shot.

    Raises
    ------
    UnusableInput
        Shots have different numbers of navigators.

    References
    ----------
    Foo et al. 2019, doi:10.1002/mrm.27674; Stirnberg & Stöcker 2021, doi:10.1002/mrm.28486.
    """
    n_shots = int(shot.max()) + 1
    order = torch.argsort(shot, stable=True)
    counts = torch.bincount(shot, minlength=n_shots)
    each = int(counts.max())
    if int(counts.min()) != each:
        raise UnusableInput(f"Every shot needs as many navigators; they have {int(counts.min())} to {each}.")
    ordered = navigators[order].reshape(n_shots, each, -1)
    times = time_s[order].double().reshape(n_shots, each)
    angles = _relative_angles(ordered)
    frequency = torch.zeros(n_shots, dtype=torch.float64, device=times.device)
    spread = times - times.mean(1, keepdim=True)
    if float(spread.abs().max()) > 0 and n_shots > 1:
        slopes = (spread * angles).sum(1) / spread.square().sum(1) / (2 * math.pi)
        frequency = _smooth(slopes)
    phase = (angles - 2 * math.pi * frequency[:, None] * times).mean(1)
    return ShotPhases(phase - phase.mean(), frequency - frequency.mean())


def without_shot_phases(lines: Tensor, shot: Tensor, time_s: Tensor, phases: ShotPhases) -> Tensor:
    """Take each shot's phase, and what its field adds until a line is measured, out of lines.

    Parameters
    ----------
    lines
        Complex `(line, coil, x)`.
    shot
        Number of the shot, int64 `(line,)`.
    time_s
        Time since excitation [s], `(line,)`.
    phases
        As `shot_phases` finds them.

    Returns
    -------
        Complex, the same shape.

    Raises
    ------
    UnusableInput
        A line belongs to a shot without navigators.
    """
    if int(shot.max()) >= len(phases.phase_rad):
        raise UnusableInput(f"Shot {int(shot.max()) + 1} has no navigators; only {len(phases.phase_rad)} shots have.")
    angles = phases.phase_rad[shot] + 2 * math.pi * phases.frequency_hz[shot] * time_s.double()
    return lines * torch.polar(torch.ones_like(angles), -angles).to(lines)[:, None, None]


def _relative_angles(navigators: Tensor) -> Tensor:
    """Return the phase [rad] of navigators `(shot, navigator, value)` against the mean over shots, which is aligned."""
    reference = navigators[0]
    angles = torch.zeros(navigators.shape[:2], dtype=torch.float64, device=navigators.device)
    for _ in range(_REFINEMENTS):
        angles = torch.linalg.vecdot(reference[None], navigators, dim=-1).to(torch.complex128).angle()
        turned = navigators * torch.polar(torch.ones_like(angles), -angles).to(navigators)[:, :, None]
        reference = turned.mean(0)
    return _unwrapped(angles)


def _unwrapped(angles: Tensor) -> Tensor:
    """Return angles `(shot, navigator)` without jumps of whole turns between the navigators of a shot."""
    first = angles[:, :1]
    rest = (angles - first + math.pi) % (2 * math.pi) - math.pi
    return first + rest


def _smooth(course: Tensor) -> Tensor:
    """Fit a straight line at every shot to the shots around it, weighted by a Gaussian of their distance."""
    places = torch.arange(len(course), dtype=torch.float64, device=course.device)
    apart = places[None] - places[:, None]
    weights = torch.exp(-0.5 * (apart / _SMOOTHING_SHOTS).square())
    total, first, second = weights.sum(1), (weights * apart).sum(1), (weights * apart.square()).sum(1)
    level, slope = (weights * course).sum(1), (weights * apart * course).sum(1)
    return (second * level - first * slope) / (total * second - first.square()).clamp_min(1e-12)
