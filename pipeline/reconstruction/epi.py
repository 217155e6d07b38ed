"""Readouts of a segmented echo-planar scan as they leave the scanner, and the k-space that is made of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.operators.centred_fourier import to_kspace
from pipeline.reconstruction.epi_drift import ShotPhases, shot_phases, without_shot_phases
from pipeline.reconstruction.epi_ghost import (
    PolarityPhase,
    ghost_share,
    least_entropy_phase,
    navigator_phase,
    phase_beside_object,
    without_polarity,
)
from pipeline.reconstruction.epi_regridding import regridding_matrix
from pipeline.reconstruction.kspace import Kspace

MUCH_GHOST = 0.05
"""A warning is added to more ghost than this share of the signal."""


@dataclass(frozen=True)
class EpiLines:
    """Readouts in the order of acquisition.

    `samples` is complex64 `(line, coil, sample)`. Of every line: `shot`, int64, numbers the excitation; `is_reversed`
    tells that the readout gradient was negative; `time_s` is the time from the excitation to the middle of the readout.
    """

    samples: Tensor
    shot: Tensor
    is_reversed: Tensor
    time_s: Tensor

    def __post_init__(self) -> None:
        if self.samples.ndim != 3 or not self.samples.is_complex():
            raise UnusableInput(f"EPI lines are complex (line, coil, sample), not {tuple(self.samples.shape)}.")
        for name in ("shot", "is_reversed", "time_s"):
            if tuple(getattr(self, name).shape) != (len(self.samples),):
                raise UnusableInput(f"{len(self.samples)} EPI lines need as many values of {name}.")

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self.samples)


@dataclass(frozen=True)
class EpiReadouts:
    """A segmented echo-planar scan.

    `lines` are those of the images; `echo`, `step_y` and `step_z`, int64 `(line,)`, are the places of each in k-space,
    whose centre lies at `size // 2` of `grid`. `navigators` were measured at the centre of k-space along y and z, or
    are None. `trajectory` `(sample,)` is where along k_x each sample of a forward readout lies [1 / field of view];
    a reversed one passes the same places with the other sign. `noise` is complex64 `(coil, n)` or None.
    """

    lines: EpiLines
    echo: Tensor
    step_y: Tensor
    step_z: Tensor
    navigators: EpiLines | None
    trajectory: Tensor
    grid: Grid
    echo_times_s: tuple[float, ...]
    b0_tesla: float
    noise: Tensor | None = None

    def __post_init__(self) -> None:
        n_samples = self.lines.samples.shape[2]
        if tuple(self.trajectory.shape) != (n_samples,):
            raise UnusableInput(f"Readouts of {n_samples} samples need a trajectory of {n_samples} places.")
        if self.navigators is not None and self.navigators.samples.shape[1:] != self.lines.samples.shape[1:]:
            raise UnusableInput(
                "Navigators have other coils or another number of samples than the lines of the images."
            )
        for name, places, size in (
            ("echo", self.echo, len(self.echo_times_s)),
            ("step_y", self.step_y, self.grid.shape[1]),
            ("step_z", self.step_z, self.grid.shape[0]),
        ):
            if len(places) != len(self.lines):
                raise UnusableInput(f"{len(self.lines)} EPI lines need as many values of {name}.")
            if len(places) and not 0 <= int(places.min()) <= int(places.max()) < size:
                raise UnusableInput(
                    f"EPI lines have {name} from {int(places.min())} to {int(places.max())}, outside 0 to {size - 1}; "
                    "the header's limits and the readouts disagree."
                )
        if not len(self.lines) or not bool(torch.isfinite(torch.view_as_real(self.lines.samples)).all()):
            raise UnusableInput("The EPI readouts are empty or hold values that are not finite numbers.")

    @property
    def seconds_per_line(self) -> float:
        """Return by how much later each next line along y was measured [s], negative where y runs backwards."""
        first = self.echo == 0
        places, times = self.step_y[first].double(), self.lines.time_s[first].double()
        places = places - places.mean()
        return float((places * (times - times.mean())).sum() / places.square().sum().clamp_min(1e-12))


@dataclass(frozen=True)
class EpiCorrections:
    """What was found and taken out: the phase between the polarities, and the phases of the shots, None where unknown.

    `by_navigators` tells whether the first began with measurements, or with the least entropy of the images.
    `ghost_share` is the ghost that is left beside the object, as a share of its signal, None where nobody can tell.
    """

    polarity: PolarityPhase
    by_navigators: bool
    shots: ShotPhases | None
    ghost_share: float | None

    @property
    def sentence(self) -> str:
        """Return what was done, and how well, for the report."""
        how = "its navigators" if self.by_navigators else "the least entropy, without navigators"
        said = f"The N/2 ghost was taken out by {how}"
        if self.ghost_share is None:
            return (
                f"{said}; what is left of it cannot be told, since lines or empty space beside the object are missing."
            )
        left = f"{said}; of the signal {100 * self.ghost_share:.1f} % is left as a ghost beside the object."
        return left + (" That is much: look for ghosts in the map." if self.ghost_share > MUCH_GHOST else "")


def sort_epi(readouts: EpiReadouts) -> tuple[Kspace, EpiCorrections]:
    """Make Cartesian k-space of echo-planar readouts: regridded, aligned between polarities, shots and time.

    Parameters
    ----------
    readouts
        The scan. Without navigators the phase between the polarities is that which leaves the least entropy, and
        shots are taken as they are. What remains of the phase is measured beside the object where every line of the
        first echo is there.

    Returns
    -------
        K-space for any reconstruction (lines measured more than once are averaged), and the corrections.

    Raises
    ------
    UnusableInput
        The readouts do not sample the field of view, or all have one polarity while navigators say otherwise.
    """
    n_x = readouts.grid.shape[2]
    along_x = _regridded(readouts.lines, readouts.trajectory, n_x)
    lines, polarity, phases = along_x.samples, PolarityPhase.of_all_coils(along_x.samples.shape[1]), None
    has_navigators = readouts.navigators is not None and len(readouts.navigators) > 0
    if readouts.navigators is not None and has_navigators:
        navigators = _regridded(readouts.navigators, readouts.trajectory, n_x)
        polarity = navigator_phase(navigators.samples, navigators.is_reversed)
        aligned = without_polarity(navigators.samples, navigators.is_reversed, polarity)
        phases = shot_phases(aligned, navigators.shot, navigators.time_s)
        lines = without_polarity(lines, along_x.is_reversed, polarity)
        lines = without_shot_phases(lines, along_x.shot, along_x.time_s, phases)
    for find in (_beside_object if has_navigators else _without_navigators, _beside_object):
        remaining = find(*_first_echo(readouts, lines))
        lines = without_polarity(lines, along_x.is_reversed, remaining)
        polarity = polarity.plus(remaining)
    samples, measured = _on_grid(readouts, lines)
    kspace = Kspace(
        to_kspace(samples, (-1,)), measured, readouts.grid, readouts.echo_times_s, readouts.b0_tesla, readouts.noise
    )
    first, signs, is_whole = _first_echo(readouts, lines)
    left = ghost_share(first, signs) if is_whole else None
    return kspace, EpiCorrections(polarity, has_navigators, phases, left)


def _first_echo(readouts: EpiReadouts, lines: Tensor) -> tuple[Tensor, Tensor, bool]:
    """Return the first echo `(coil, z, y, x)`, the share of reversed readouts `(z, y)`, and whether all are there."""
    first = readouts.echo == 0
    samples, measured = _on_grid(readouts, lines[first], first)
    is_reversed = readouts.lines.is_reversed[first, None, None].to(samples)
    signs = _on_grid(readouts, is_reversed, first)[0][0, 0, :, :, 0].real
    return samples[0], signs, bool(measured[0].all())


def _without_navigators(samples: Tensor, signs: Tensor, is_whole: bool) -> PolarityPhase:
    return least_entropy_phase(samples, signs)


def _beside_object(samples: Tensor, signs: Tensor, is_whole: bool) -> PolarityPhase:
    """Return what is left of the phase; where lines are left out aliases fill the space beside the object."""
    return phase_beside_object(samples, signs) if is_whole else PolarityPhase.of_all_coils(len(samples))


def _regridded(lines: EpiLines, trajectory: Tensor, n_x: int) -> EpiLines:
    """Return lines `(line, coil, x)` as images along x."""
    result = lines.samples.new_empty((*lines.samples.shape[:2], n_x))
    for reverse in (False, True):
        chosen = lines.is_reversed == reverse
        if bool(chosen.any()):
            matrix = regridding_matrix(-trajectory if reverse else trajectory, n_x).to(result)
            result[chosen] = lines.samples[chosen] @ matrix.mT
    return replace(lines, samples=result)


def _on_grid(readouts: EpiReadouts, lines: Tensor, chosen: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return lines `(line, coil, x)` at their places `(echo, coil, z, y, x)`, and which places were measured.

    `chosen` tells which of all lines these are, if not all; echoes behind the last chosen one are left out.
    """
    n_z, n_y, _ = readouts.grid.shape
    places = (readouts.echo * n_z + readouts.step_z) * n_y + readouts.step_y
    places = places if chosen is None else places[chosen]
    n_echoes = len(readouts.echo_times_s) if chosen is None else int(readouts.echo[chosen].max()) + 1
    sums = lines.new_zeros((n_echoes * n_z * n_y, *lines.shape[1:])).index_add_(0, places, lines)
    counts = torch.bincount(places, minlength=len(sums))
    means = sums / counts.clamp_min(1)[:, None, None]
    grid = means.reshape(n_echoes, n_z, n_y, *lines.shape[1:]).permute(0, 3, 1, 2, 4).contiguous()
    return grid, (counts > 0).reshape(n_echoes, n_z, n_y)


def echo_trains(n_y: int, n_shots: int) -> Sequence[tuple[int, ...]]:
    """Return the lines along y that each of the interleaved shots of a partition measures, in order.

    Raises
    ------
    UnusableInput
        The shots do not share the lines evenly.
    """
    if n_shots < 1 or n_y % n_shots:
        raise UnusableInput(f"{n_y} lines cannot be shared evenly by {n_shots} shots.")
    return [tuple(range(shot, n_y, n_shots)) for shot in range(n_shots)]
