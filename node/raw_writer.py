"""Simulated readouts as a raw scan, as scanners send them: with a header, noise, flags and a place in the patient."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from dicom_io.geometry import Geometry
from dicom_io.kspace.readout_heads import (
    CALIBRATION_AND_IMAGING,
    LAST_IN_MEASUREMENT,
    NOISE,
    PHASE_CORRECTION,
    REVERSE,
    new_heads,
)
from dicom_io.kspace.scan import CARTESIAN, EPI, Limit, RawHeader, RawScan, Space
from pipeline.reconstruction.epi import EpiLines, EpiReadouts
from pipeline.simulation.raw_epi import EpiProtocol
from pipeline.simulation.raw_scanner import READOUT_OVERSAMPLING, EchoImages, RawReadouts

VENDOR, MODEL = "Lodestone", "Simulated raw scanner"
_TICK_S = 2.5e-3
_SAMPLE_TIME_US = 5.0
_AFTER_LAST_ECHO_S = 0.006


def cartesian_raw_scan(
    readouts: RawReadouts,
    images: EchoImages,
    geometry: Geometry,
    identity: Mapping[str, str],
    acceleration: tuple[int, int] = (1, 1),
    calibration: tuple[int, int] = (0, 0),
) -> RawScan:
    """Return the raw scan of a Cartesian acquisition.

    Parameters
    ----------
    readouts
        As `acquire_readouts` gives them.
    images
        What was scanned.
    geometry
        Where it lies in the patient.
    identity
        Values by DICOM keyword, such as `StudyInstanceUID`.
    acceleration
        As the header states it, along `(y, z)`.
    calibration
        Lines `(z, y)` of the fully measured centre, flagged as calibration of the images; 0 for none.

    Returns
    -------
        Noise first, then all readouts in their order.
    """
    echo, step_y, step_z = (part.cpu().numpy() for part in (readouts.echo, readouts.step_y, readouts.step_z))
    samples = [*_arrays(readouts.noise), *_arrays(readouts.samples)]
    heads, imaging = _heads(samples, len(readouts.noise), geometry)
    imaging["idx"]["kspace_encode_step_1"], imaging["idx"]["kspace_encode_step_2"] = step_y, step_z
    imaging["idx"]["contrast"] = echo
    n_z, n_y, _ = geometry.shape
    is_central = np.ones(len(imaging), bool)
    for steps, size, lines in ((step_z, n_z, calibration[0]), (step_y, n_y, calibration[1])):
        first = size // 2 - lines // 2
        is_central &= (steps >= first) & (steps < first + lines)
    imaging["flags"][is_central] |= CALIBRATION_AND_IMAGING
    repetition = images.echo_times_s[-1] + _AFTER_LAST_ECHO_S
    excitation = np.cumsum(np.diff(step_z * n_y + step_y, prepend=-1) != 0)
    imaging["acquisition_time_stamp"] = (excitation * repetition / _TICK_S).astype(np.uint32)
    header = _header(images, geometry, identity, CARTESIAN, repetition, acceleration, bool(is_central.any()))
    return RawScan(header, heads, samples)


def epi_raw_scan(
    readouts: EpiReadouts,
    images: EchoImages,
    protocol: EpiProtocol,
    geometry: Geometry,
    identity: Mapping[str, str],
    acceleration: tuple[int, int] = (1, 1),
) -> RawScan:
    """Return the raw scan of an echo-planar acquisition: each shot's navigators, then its lines.

    Parameters
    ----------
    readouts
        As `acquire_epi` gives them.
    images, geometry, identity, acceleration
        As `cartesian_raw_scan` takes them.
    protocol
        How was scanned.

    Returns
    -------
        Noise first, then all readouts in their order; the ramp is stated as ISMRMRD's ConventionalEPI has it.
    """
    width = readouts.lines.samples.shape[2]
    noise = readouts.noise if readouts.noise is not None else readouts.lines.samples.new_zeros((1, width))
    noise_parts = noise[:, : noise.shape[1] // width * width].unflatten(1, (-1, width)).movedim(0, 1)
    parts = [part for part in (readouts.navigators, readouts.lines) if part is not None]
    n_navigators = len(readouts.navigators) if readouts.navigators is not None else 0
    shot = torch.cat([part.shot for part in parts]).cpu()
    order = torch.argsort(2 * shot + (torch.arange(len(shot)) >= n_navigators), stable=True)
    merged = torch.cat([part.samples for part in parts]).cpu()[order]
    samples = [*_arrays(noise_parts), *_arrays(merged)]
    heads, lines = _heads(samples, len(noise_parts), geometry)
    _fill_epi(lines, readouts, parts, order.numpy(), n_navigators)
    repetition = float(readouts.lines.time_s.max()) + _AFTER_LAST_ECHO_S
    lines["acquisition_time_stamp"] = (shot[order].numpy() * repetition / _TICK_S).astype(np.uint32)
    heads["sample_time_us"] = 1e6 * protocol.sampling_s / width
    header = _header(images, geometry, identity, EPI, repetition, acceleration, False, _ramp(protocol, width))
    return RawScan(header, heads, samples)


def _fill_epi(
    heads: np.ndarray, readouts: EpiReadouts, parts: Sequence[EpiLines], order: np.ndarray, n_navigators: int
) -> None:
    """State places, polarities and kinds of readouts in the order of acquisition."""
    n_z, n_y, _ = readouts.grid.shape
    is_reversed = torch.cat([part.is_reversed for part in parts]).cpu().numpy()[order]
    heads["flags"][is_reversed] |= REVERSE
    heads["flags"][order < n_navigators] |= PHASE_CORRECTION
    # The segment counts polarities, as it does on Siemens scanners.
    heads["idx"]["segment"] = is_reversed
    for name, places, centre in (
        ("kspace_encode_step_1", readouts.step_y, n_y // 2),
        ("kspace_encode_step_2", readouts.step_z, n_z // 2),
        ("contrast", readouts.echo, 0),
    ):
        values = np.concatenate([np.full(n_navigators, centre), places.cpu().numpy()])
        heads["idx"][name] = values[order]


def _ramp(protocol: EpiProtocol, n_samples: int) -> dict[str, float | str]:
    """Return the readout gradient [µs] under the names of ISMRMRD's ConventionalEPI trajectory."""
    return {
        "rampUpTime": 1e6 * protocol.ramp_s,
        "rampDownTime": 1e6 * protocol.ramp_s,
        "flatTopTime": 1e6 * protocol.flat_top_s,
        "acqDelayTime": 1e6 * protocol.first_sample_s,
        "numSamples": float(n_samples),
        "echoSpacing": 1e6 * protocol.echo_spacing_s,
        "readoutTime": 1e6 * protocol.sampling_s,
    }


def _arrays(samples: Tensor) -> list[np.ndarray]:
    return list(samples.cpu().numpy())


def _heads(samples: Sequence[np.ndarray], n_noise: int, geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Return the heads of all readouts, and the part of them behind the noise."""
    heads = new_heads((array.shape[1] for array in samples), samples[0].shape[0])
    heads["flags"][:n_noise] = NOISE
    heads["sample_time_us"] = _SAMPLE_TIME_US
    row, column = np.array(geometry.row_direction), np.array(geometry.column_direction)
    step = np.array(geometry.slice_step)
    n_z, n_y, n_x = geometry.shape
    dy, dx = geometry.pixel_spacing
    middle = np.array(geometry.first_position) + row * dx * (n_x // 2) + column * dy * (n_y // 2) + step * (n_z // 2)
    heads["position"], heads["read_dir"], heads["phase_dir"] = middle, row, column
    heads["slice_dir"] = step / np.linalg.norm(step)
    heads["flags"][-1] |= LAST_IN_MEASUREMENT
    return heads, heads[n_noise:]


def _header(
    images: EchoImages,
    geometry: Geometry,
    identity: Mapping[str, str],
    trajectory: str,
    repetition_time_s: float,
    acceleration: tuple[int, int],
    is_embedded: bool,
    parameters: Mapping[str, float | str] | None = None,
) -> RawHeader:
    n_z, n_y, n_x = geometry.shape
    dz, dy, dx = images.grid.voxel_size_mm
    view = (n_z * dz, n_y * dy, n_x * dx)
    return RawHeader(
        field_strength_t=images.b0_tesla,
        echo_times_s=images.echo_times_s,
        encoded=Space((n_z, n_y, READOUT_OVERSAMPLING * n_x), (*view[:2], READOUT_OVERSAMPLING * view[2])),
        recon=Space((n_z, n_y, n_x), view),
        limits={
            "kspace_encoding_step_1": Limit(0, n_y - 1, n_y // 2),
            "kspace_encoding_step_2": Limit(0, n_z - 1, n_z // 2),
            "contrast": Limit(0, len(images.echo_times_s) - 1, 0),
        },
        acceleration=acceleration,
        calibration_mode="embedded" if is_embedded and acceleration != (1, 1) else "",
        trajectory=trajectory,
        identity=identity,
        vendor=VENDOR,
        model=MODEL,
        repetition_times_s=(repetition_time_s,),
        flip_angles_deg=(15.0,),
        echo_spacing_s=float(parameters["echoSpacing"]) * 1e-6 if parameters else None,
        parameters=dict(parameters or {}),
    )
