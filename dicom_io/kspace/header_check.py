"""Can images be made of this raw scan at all? Every reason why not has a name and a remedy."""

import math

import numpy as np

from dicom_io.errors import NoiseMissing, RawHeaderUnusable, RawLinesMissing, UnknownTrajectory
from dicom_io.kspace.scan import (
    BENT,
    CARTESIAN,
    EPI,
    MULTIBAND,
    RawHeader,
    RawScan,
    Space,
    imaging_readouts,
    noise_readouts,
)

_LOWEST_FIELD_T, _HIGHEST_FIELD_T = 0.05, 20.0
_LONGEST_ECHO_TIME_S = 0.2
_LARGEST_MATRIX = 8192
_MOST_ACCELERATION = 64
_REMEDY = "correct the header, or state it in the sidecar"


def check_header(header: RawHeader) -> None:
    """Refuse a header of which no image could be made.

    Raises
    ------
    UnknownTrajectory
        The trajectory is neither Cartesian nor EPI, or several slices were measured at once.
    RawHeaderUnusable
        Matrix, field of view, field strength or echo times are absent or cannot be.
    """
    if header.trajectory == BENT:
        raise UnknownTrajectory(
            "The readouts of the raw data do not run along the lines of a grid, whatever their header says; Lodestone "
            "reconstructs Cartesian and EPI."
        )
    if header.trajectory not in (CARTESIAN, EPI):
        known = header.trajectory if header.trajectory.isalnum() and len(header.trajectory) <= 16 else "unknown"
        raise UnknownTrajectory(
            f"The raw data were sampled along a trajectory called {known!r}; Lodestone reconstructs Cartesian and EPI."
        )
    if MULTIBAND in header.parameters:
        raise UnknownTrajectory(
            f"{header.parameters[MULTIBAND]:g} slices of the raw data were measured at once (multiband), and Lodestone "
            "does not take them apart; send the scanner's own images."
        )
    for name, space in (("encoded", header.encoded), ("reconstructed", header.recon)):
        _check_space(name, space)
    if not _LOWEST_FIELD_T <= header.field_strength_t <= _HIGHEST_FIELD_T:
        raise RawHeaderUnusable(
            "The raw data's header states no possible field strength (systemFieldStrength_T, "
            f"H1resonanceFrequency_Hz); {_REMEDY} (field_strength_t)."
        )
    times = header.echo_times_s
    if not times:
        raise RawHeaderUnusable(
            f"The raw data's header states no echo times (sequenceParameters TE); {_REMEDY} (echo_times_ms)."
        )
    if not all(0 < time <= _LONGEST_ECHO_TIME_S for time in times) or list(times) != sorted(set(times)):
        shown = ", ".join(f"{1000 * time:g}" for time in times[:8])
        raise RawHeaderUnusable(f"The raw data's echo times ({shown} ms) do not grow between 0 and 200 ms; {_REMEDY}.")


def check_counts(scan: RawScan) -> None:
    """Refuse readouts that differ from what the header announces in number of echoes or coils.

    Raises
    ------
    RawLinesMissing
        The sentence says what was announced and what came.
    """
    imaging = imaging_readouts(scan)
    if not len(imaging):
        raise RawLinesMissing("The raw data hold no readout that belongs to an image.")
    echoes = sorted({int(echo) for echo in scan.contrast[imaging]})
    n_announced = len(scan.header.echo_times_s)
    if echoes != list(range(n_announced)):
        held = ", ".join(str(echo + 1) for echo in echoes[:16])
        raise RawLinesMissing(
            f"The header announces {_count(n_announced, 'echo', 'echoes')} and the readouts belong to echo {held}; "
            f"send all echoes, or {_REMEDY} (echo_times_ms)."
        )
    (nz, ny, _), per_echo = scan.header.encoded.shape, len(imaging) / n_announced
    if nz * ny > _MOST_ACCELERATION * per_echo:
        raise RawLinesMissing(
            f"The header announces a matrix of {ny} x {nz} lines, and {per_echo:.0f} readouts of each echo came; "
            "header and readouts disagree, send the scan again."
        )
    _check_lengths(scan, imaging)
    coils = sorted({int(number) for number in scan.heads["active_channels"][imaging]})
    if len(coils) != 1 or coils[0] == 0:
        raise RawLinesMissing(f"The readouts have different numbers of coils ({coils}); the scan is damaged.")


def _check_lengths(scan: RawScan, imaging: np.ndarray) -> None:
    """Refuse readouts of one echo that differ in length, hold nothing, or pass k = 0 outside of what they hold."""
    heads = scan.heads[imaging]
    lengths, left = heads["number_of_samples"].astype(int), heads["discard_pre"].astype(int)
    kept = lengths - left - heads["discard_post"]
    for echo in np.unique(heads["idx"]["contrast"]):
        own = heads["idx"]["contrast"] == echo
        if np.ptp(lengths[own]):
            odd = int(imaging[own][np.argmax(lengths[own] != np.bincount(lengths[own]).argmax())])
            n_samples = int(scan.heads["number_of_samples"][odd])
            raise RawLinesMissing(
                f"Readout {odd} has another number of samples ({n_samples}) than most of its echo; the scan is "
                "damaged, send it again."
            )
    passes = (heads["center_sample"] >= left) & (heads["center_sample"] < lengths - heads["discard_post"])
    bad = np.flatnonzero((kept < 1) | ~passes)
    if len(bad):
        first = bad[0]
        raise RawLinesMissing(
            f"Readout {int(imaging[first])} passes k = 0 at sample {int(heads['center_sample'][first])}, and it holds "
            f"{max(0, int(kept[first]))} samples that count; header and readouts disagree."
        )


def check_noise(scan: RawScan, is_required: bool = True) -> None:
    """Refuse several coils without a noise measurement, unless somebody has said that there is none.

    Raises
    ------
    NoiseMissing
        The sentence says how to go on without one.
    """
    n_coils = int(scan.heads["active_channels"][imaging_readouts(scan)[0]])
    if is_required and n_coils > 1 and not len(noise_readouts(scan)):
        raise NoiseMissing(
            f"The raw data of {n_coils} coils hold no noise measurement, so the coils cannot be weighed rightly; send "
            'the scan with its noise adjustment, or go on without one (noise = "absent" in the sidecar or [kspace], '
            "--without-noise for one file)."
        )


def _check_space(name: str, space: Space) -> None:
    if min(space.shape) < 1 or max(space.shape) > _LARGEST_MATRIX:
        raise RawHeaderUnusable(
            f"The raw data's header states an {name} matrix of {space.shape[::-1]} (x, y, z); {_REMEDY}."
        )
    if not all(length > 0 and math.isfinite(length) for length in space.field_of_view_mm):
        shown = " x ".join(f"{length:g}" for length in space.field_of_view_mm[::-1])
        raise RawHeaderUnusable(
            f"The raw data's header states an {name} field of view of {shown} mm; without it no voxel has a size. "
            f"{_REMEDY[0].upper()}{_REMEDY[1:]} (field_of_view_mm)."
        )


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def first_of(indices: np.ndarray, what: str) -> int:
    """Return the first of some readouts, or say that there is none.

    Raises
    ------
    RawLinesMissing
        There is none.
    """
    if not len(indices):
        raise RawLinesMissing(f"The raw data hold no {what}.")
    return int(indices[0])
