"""The bridge for raw data: the readouts of a scan ⇄ k-space as tensors, Cartesian or echo-planar."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from dicom_io.errors import NotFiniteValues, RawHeaderUnusable, RawLinesMissing
from dicom_io.geometry import Geometry
from dicom_io.kspace.cartesian import noise_samples, sort_cartesian
from dicom_io.kspace.header_check import check_counts, check_header, check_noise
from dicom_io.kspace.line_check import check_lines, of_one_repetition, refuse_silence
from dicom_io.kspace.readout_heads import REVERSE
from dicom_io.kspace.scan import EPI, RawHeader, RawScan, imaging_readouts, navigator_readouts
from dicom_io.kspace.source import geometry_of, is_mirrored
from dicom_io.kspace.stack import n_slices, places_of_slices
from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.networks.super_resolution import FACTOR
from pipeline.operators.centred_fourier import to_kspace as transformed
from pipeline.reconstruction.epi import EpiCorrections, EpiLines, EpiReadouts, sort_epi
from pipeline.reconstruction.epi_regridding import trapezoid_trajectory
from pipeline.reconstruction.kspace import Kspace

OnFraction = Callable[[float], None]
MICROSECOND = 1e-6
RAMP = ("rampUpTime", "flatTopTime", "rampDownTime")
EVENLY_SPACED = "The header states no ramps of the readout gradient: samples were taken as evenly spaced along k-space."
TIMELESS = "The header states no echo spacing: images were not put straight where the field displaces them."
_SAME_VIEW = 0.999


@dataclass(frozen=True)
class ConvertedScan:
    """K-space for the mathematics, with what was noticed on the way.

    `seconds_per_line` is by how much later each next line along y of an echo-planar scan was measured [s]; its images
    are distorted by as much.
    """

    kspace: Kspace
    notes: tuple[str, ...]
    seconds_per_line: float | None = None


def to_kspace(
    scan: RawScan, device: str = "cpu", needs_noise: bool = True, on_progress: OnFraction | None = None
) -> ConvertedScan:
    """Sort the readouts of a scan into k-space on `device`.

    Raises
    ------
    DicomError
        Something forbids an image; the class and the sentence say what.
    UnusableInput
        Echo-planar readouts do not sample the field of view.
    """
    if scan.header.trajectory == EPI:
        return _echo_planar(scan, device, needs_noise)
    found = sort_cartesian(scan, needs_noise, on_progress)
    kspace = Kspace(
        torch.from_numpy(found.samples).to(device),
        torch.from_numpy(found.measured).to(device),
        _grid(scan, found.samples.shape[2:]),
        scan.header.echo_times_s,
        scan.header.field_strength_t,
        None if found.noise is None else torch.from_numpy(found.noise).to(device),
        None if found.calibration is None else torch.from_numpy(found.calibration).to(device),
    )
    return ConvertedScan(kspace, found.notes)


def place_images(scan: RawScan, images: Tensor) -> Tensor:
    """Return complex images `(echo, z, y, x)` cut to what is to be shown, and in DICOM's order along z."""
    shown = shown_shape(scan)
    starts = [old // 2 - new // 2 for old, new in zip(images.shape[1:], shown, strict=True)]
    region = tuple(slice(start, start + new) for start, new in zip(starts, shown, strict=True))
    placed = images[(slice(None), *region)]
    return (placed.flip(1) if is_mirrored(scan) else placed).contiguous()


def geometry_of_images(scan: RawScan, frame_of_reference_uid: str, shape: Sequence[int] | None = None) -> Geometry:
    """Return where the images of a scan lie: as they were measured, or twice as fine where `shape` `(z, y, x)` says so.

    Raises
    ------
    RawHeaderUnusable
        The directions are not perpendicular unit vectors.
    UnusableInput
        Images of that shape are not this scan's.
    """
    measured = geometry_of(scan, shown_shape(scan), frame_of_reference_uid)
    if shape is None or tuple(shape) == measured.shape:
        return measured
    nz, ny, nx = (FACTOR * size for size in measured.shape)
    if tuple(shape) != (nz, ny, nx):
        raise UnusableInput(f"Images of shape {tuple(shape)} are not those of this scan, {measured.shape}.")
    dz, dy, dx = (step / FACTOR for step in measured.slice_step)
    rows, columns = (spacing / FACTOR for spacing in measured.pixel_spacing)
    return replace(measured, slice_step=(dz, dy, dx), pixel_spacing=(rows, columns), shape=(nz, ny, nx))


def shown_shape(scan: RawScan) -> tuple[int, int, int]:
    """Return the matrix `(z, y, x)` of the images: what was sampled beyond the field of view to be shown is cut off.

    Where the matrix alone differs the scanner would interpolate; the images keep the voxels that were measured.
    """
    header = scan.header
    along_x = _shown(scan, 2) if header.trajectory != EPI else header.recon.shape[2]
    count = n_slices(scan)
    return count if count > 1 else _shown(scan, 0), _shown(scan, 1), along_x


def _shown(scan: RawScan, axis: int) -> int:
    sampled, shown = scan.header.encoded, scan.header.recon
    is_wider = shown.field_of_view_mm[axis] < sampled.field_of_view_mm[axis] * _SAME_VIEW
    return min(shown.shape[axis], sampled.shape[axis]) if is_wider else sampled.shape[axis]


def _grid(scan: RawScan, shape: tuple[int, ...]) -> Grid:
    dz, dy, dx = scan.header.encoded.voxel_size_mm
    nz, ny, nx = shape
    return Grid((nz, ny, nx), (dz, dy, dx))


def _echo_planar(scan: RawScan, device: str, needs_noise: bool) -> ConvertedScan:
    check_header(scan.header)
    check_counts(scan)
    check_noise(scan, needs_noise)
    places = places_of_slices(scan)
    notes = of_one_repetition(scan, imaging_readouts(scan))[1]
    slices: list[tuple[Kspace, EpiCorrections]] = []
    for number in np.argsort(places):
        readouts = epi_readouts(scan, device, int(number))
        slices.append(sort_epi(readouts))
    kspace = _stacked([one for one, _ in slices])
    check_lines(scan, kspace.measured.cpu().numpy(), len(slices))
    told = max((corrections for _, corrections in slices), key=lambda one: one.ghost_share or 0.0).sentence
    if len(slices) > 1:
        told = f"{len(slices)} slices; of the one with the most ghost: {told}"
    notes += () if has_ramp(scan.header) else (EVENLY_SPACED,)
    notes += () if readouts.seconds_per_line else (TIMELESS,)
    return ConvertedScan(kspace, (*scan.notes, *notes, told), readouts.seconds_per_line)


def _stacked(slices: list[Kspace]) -> Kspace:
    """Return k-space of slices in their order along z, transformed along it so that one volume gives them back."""
    if len(slices) == 1:
        return slices[0]
    samples = torch.cat([one.samples for one in slices], dim=2)
    grid = replace(slices[0].grid, shape=(len(slices), *slices[0].grid.shape[1:]))
    measured = torch.cat([one.measured for one in slices], dim=1)
    return replace(slices[0], samples=transformed(samples, (-3,)), measured=measured, grid=grid)


def epi_readouts(scan: RawScan, device: str = "cpu", slice_number: int = 0) -> EpiReadouts:
    """Return the readouts of an echo-planar scan with their shots, polarities and times; of one slice or the volume.

    Raises
    ------
    RawLinesMissing
        Readouts have different lengths.
    NotFiniteValues
        A sample is NaN or infinite; the sentence names the readout.
    """
    header = scan.header
    nz, ny, _ = header.encoded.shape
    nx = header.recon.shape[2]
    imaging, navigators = (
        readouts[scan.slice[readouts] == slice_number]
        for readouts in (of_one_repetition(scan, chosen(scan))[0] for chosen in (imaging_readouts, navigator_readouts))
    )
    shots = _shots(scan, imaging, navigators)
    times = _times(scan, imaging, navigators, shots)
    y = scan.step_1[imaging].astype(np.int64) - _centre(scan, "kspace_encoding_step_1", ny) + ny // 2
    z = scan.step_2[imaging].astype(np.int64) - _centre(scan, "kspace_encoding_step_2", nz) + nz // 2
    noise = noise_samples(scan, imaging)
    return EpiReadouts(
        lines=_lines(scan, imaging, shots, times, device),
        echo=torch.from_numpy(scan.contrast[imaging].astype(np.int64)).to(device),
        step_y=torch.from_numpy(y).to(device),
        step_z=torch.from_numpy(z).to(device),
        navigators=_lines(scan, navigators, shots, times, device) if len(navigators) else None,
        trajectory=_trajectory(scan, int(imaging[0]), nx).to(device),
        grid=_grid(scan, (nz, ny, nx)),
        echo_times_s=header.echo_times_s,
        b0_tesla=header.field_strength_t,
        noise=None if noise is None else torch.from_numpy(noise).to(device),
    )


def _centre(scan: RawScan, name: str, size: int) -> int:
    limit = scan.header.limits.get(name)
    return limit.center if limit is not None else size // 2


def _lines(scan: RawScan, readouts: np.ndarray, shots: np.ndarray, times: np.ndarray, device: str) -> EpiLines:
    shapes = {scan.samples[int(number)].shape for number in readouts}
    if len(shapes) > 1:
        raise RawLinesMissing(
            f"The echo-planar readouts have different shapes ({sorted(shapes)}); the scan is damaged."
        )
    samples = np.stack([scan.samples[int(number)] for number in readouts])
    if not np.isfinite(samples).all():
        worst = int(readouts[np.flatnonzero(~np.isfinite(samples).all(axis=(1, 2)))[0]])
        raise NotFiniteValues(
            f"Readout {worst} of the raw data holds samples that are no finite numbers; the scan must be repeated."
        )
    refuse_silence(samples)
    is_reversed = (scan.flags[readouts] & np.uint64(REVERSE)) != 0
    return EpiLines(
        torch.from_numpy(samples).to(device),
        torch.from_numpy(shots[readouts]).to(device),
        torch.from_numpy(is_reversed).to(device),
        torch.from_numpy(times[readouts].astype(np.float32)).to(device),
    )


def _shots(scan: RawScan, imaging: np.ndarray, navigators: np.ndarray) -> np.ndarray:
    """Number the excitations: a new one begins where navigators follow lines, or the blips start anew.

    Siemens counts polarities in the segment counter, so that it does not tell shots apart.
    """
    shots = np.zeros(scan.n_readouts, np.int64)
    is_navigator = np.zeros(scan.n_readouts, bool)
    is_navigator[navigators] = True
    lines = scan.step_1.astype(int)
    same = np.flatnonzero(np.diff(imaging) == 1)
    steps = np.diff(lines[imaging])[same]
    sweep = np.sign(np.median(steps[steps != 0])) if (steps != 0).any() else 1
    shot, before = 0, -1
    for number in np.union1d(imaging, navigators):
        if before >= 0:
            if is_navigator[number]:
                shot += not is_navigator[before]
            elif not is_navigator[before]:
                is_same_train = (
                    scan.contrast[number] == scan.contrast[before] and scan.step_2[number] == scan.step_2[before]
                )
                goes_on = (lines[number] - lines[before]) * sweep > 0
                shot += (is_same_train and not goes_on) or scan.contrast[number] < scan.contrast[before]
        shots[number], before = shot, number
    return shots


def _times(scan: RawScan, imaging: np.ndarray, navigators: np.ndarray, shots: np.ndarray) -> np.ndarray:
    """Return when each readout was measured after its excitation [s], counted in echo spacings from the echo time."""
    header = scan.header
    spacing = header.echo_spacing_s or _stated_s(header, "echoSpacing")
    times = np.zeros(scan.n_readouts)
    centre = _centre(scan, "kspace_encoding_step_1", header.encoded.shape[1])
    lines = scan.step_1.astype(int)
    for shot in np.unique(shots[imaging]):
        of_shot = imaging[shots[imaging] == shot]
        for echo in np.unique(scan.contrast[of_shot]):
            train = of_shot[scan.contrast[of_shot] == echo]
            nearest = int(np.abs(lines[train] - centre).argmin())
            times[train] = header.echo_times_s[int(echo)] + (np.arange(len(train)) - nearest) * spacing
        before = navigators[shots[navigators] == shot]
        times[before] = times[of_shot[0]] - (len(before) - np.arange(len(before))) * spacing
    return times


def has_ramp(header: RawHeader) -> bool:
    """Say whether the header of an echo-planar scan states the shape of its readout gradient."""
    return _stated_s(header, RAMP[0]) > 0 and _stated_s(header, RAMP[1]) > 0


def _stated_s(header: RawHeader, name: str) -> float:
    """Return a time that the trajectory's description states in µs [s], 0 where it does not.

    Raises
    ------
    RawHeaderUnusable
        It is no number, or negative.
    """
    try:
        value = float(header.parameters.get(name, 0.0))
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise RawHeaderUnusable(
            f"The raw data's header states a {name} that is no time; correct the description of the trajectory."
        )
    return value * MICROSECOND


def _trajectory(scan: RawScan, first: int, nx: int) -> Tensor:
    """Return where along k_x the samples of a forward readout lie [1 / field of view]."""
    header = scan.header
    n_samples, centre = scan.samples[first].shape[1], int(scan.center_sample[first])
    ramps = [_stated_s(header, name) for name in RAMP]
    dwell_s = float(scan.sample_time_us[first]) * MICROSECOND
    duration = _stated_s(header, "readoutTime") or n_samples * dwell_s
    if has_ramp(header) and duration > 0:
        delay = _stated_s(header, "acqDelayTime")
        return trapezoid_trajectory(n_samples, nx, ramps[0], ramps[1], ramps[2], delay, duration)
    per_sample = header.recon.field_of_view_mm[2] / header.encoded.field_of_view_mm[2]
    return (torch.arange(n_samples, dtype=torch.float32) - centre) * per_sample
