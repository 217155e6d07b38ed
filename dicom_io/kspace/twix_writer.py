"""Write a raw scan as a file like Siemens' twix (.dat, software VD and later): what readers of such files look at.

For simulated scans: the header holds what a reconstruction needs, not the thousands of values that a scanner states.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dicom_io.errors import RawHeaderUnusable
from dicom_io.kspace import readout_heads
from dicom_io.kspace.directions import turned_about
from dicom_io.kspace.scan import EPI, RawHeader, RawScan, noise_readouts

_ALIGNMENT = 512
_MOST_MEASUREMENTS = 64
_ENTRY = np.dtype([("id", "<u4"), ("file", "<u4"), ("offset", "<u8"), ("n_bytes", "<u8"), ("names", "S64", (2,))])
_CONTENTS = np.dtype([("size", "<u4"), ("count", "<u4"), ("entries", _ENTRY, (_MOST_MEASUREMENTS,))])
_FIRST_OFFSET = 10240
_HEAD = np.dtype(
    [
        ("length", "<u4"),
        ("measurement", "<i4"),
        ("counter", "<u4"),
        ("time", "<u4"),
        ("physiology_time", "<u4"),
        ("table", "<u2", (10,)),
        ("flags", "<u8"),
        ("n_samples", "<u2"),
        ("n_channels", "<u2"),
        ("counters", "<u2", (14,)),
        ("cut", "<u2", (2,)),
        ("centre_column", "<u2"),
        ("coil", "<u2"),
        ("offcentre", "<f4"),
        ("since_pulse", "<u4"),
        ("centre_line", "<u2"),
        ("centre_partition", "<u2"),
        ("position", "<f4", (3,)),
        ("quaternion", "<f4", (4,)),
        ("parameters", "<u2", (32,)),
    ]
)
_CHANNEL_HEAD = np.dtype([("length", "<u4"), ("rest", "<u4", (5,)), ("channel", "<u2"), ("end", "<u2", (3,))])
_END_BYTES = 160
_ACQUISITION_END, _ONLINE = 1 << 0, 1 << 3
# The bits of the evaluation mask that ISMRMRD's flags stand for.
_FLAGS = {
    readout_heads.LAST_IN_MEASUREMENT: 11,
    readout_heads.PHASE_CORRECTION: 21,
    readout_heads.CALIBRATION: 22,
    readout_heads.CALIBRATION_AND_IMAGING: 23,
    readout_heads.REVERSE: 24,
    readout_heads.NOISE: 25,
}
_COUNTERS = (
    "kspace_encode_step_1",
    "average",
    "slice",
    "kspace_encode_step_2",
    "contrast",
    "phase",
    "repetition",
    "set",
    "segment",
)
_CALIBRATION_MODES = {"embedded": 2, "separate": 4}
_RAMP = {
    "alRegridRampupTime": "rampUpTime",
    "alRegridFlattopTime": "flatTopTime",
    "alRegridRampdownTime": "rampDownTime",
    "alRegridDelaySamplesTime": "acqDelayTime",
    "alRegridDestSamples": "numSamples",
}


def write_twix(path: Path, scan: RawScan) -> None:
    """Write a scan; its noise becomes a measurement of its own before the images, as scanners measure it.

    Siemens' phase, read and slice directions are right-handed in this order. A volume that is not is written with its
    partitions the other way round.

    Raises
    ------
    RawHeaderUnusable
        The volume has several slices, or its directions are not perpendicular.
    """
    scan = turned_about(scan)
    noise = noise_readouts(scan)
    others = np.setdiff1d(np.arange(scan.n_readouts), noise)
    measurements = [part for part in (noise, others) if len(part)]
    contents = np.zeros((), _CONTENTS)
    contents["count"] = len(measurements)
    header = _header_bytes(scan.header, float(scan.sample_time_us[others[0]]))
    with path.open("wb") as file:
        file.write(bytes(_FIRST_OFFSET))
        for number, readouts in enumerate(measurements):
            entry = contents["entries"][number]
            entry["id"], entry["file"], entry["offset"] = number + 1, number + 1, file.tell()
            entry["names"] = b"simulated", b"noise" if readouts is noise else b"simulated scan"
            file.write(header)
            _write_readouts(file, scan, readouts)
            entry["n_bytes"] = file.tell() - int(entry["offset"])
            file.write(bytes(-file.tell() % _ALIGNMENT))
        file.seek(0)
        file.write(contents.tobytes())


def _write_readouts(file: BinaryIO, scan: RawScan, readouts: np.ndarray) -> None:
    limits = scan.header.limits
    lines, partitions = (limits.get(f"kspace_encoding_step_{number}") for number in (1, 2))
    n_partitions = scan.header.encoded.shape[0]
    quaternion, is_turned = _quaternion(scan, int(readouts[0]))
    for counter, index in enumerate(readouts, start=1):
        given, samples = scan.heads[index], np.ascontiguousarray(scan.samples[index], "<c8")
        head = np.zeros((), _HEAD)
        head["counter"], head["time"], head["quaternion"] = counter, given["acquisition_time_stamp"], quaternion
        head["n_channels"], head["n_samples"] = samples.shape
        head["flags"] = _ONLINE | sum(1 << bit for flag, bit in _FLAGS.items() if int(given["flags"]) & flag)
        head["counters"][: len(_COUNTERS)] = [given["idx"][name] for name in _COUNTERS]
        if is_turned:
            # Turning an image round about its middle turns its k-space round about k = 0.
            middle = 2 * (n_partitions // 2)
            head["counters"][3] = (middle - int(given["idx"]["kspace_encode_step_2"])) % n_partitions
        head["cut"] = given["discard_pre"], given["discard_post"]
        head["centre_column"], head["position"] = given["center_sample"], given["position"]
        head["centre_line"] = lines.center if lines else scan.header.encoded.shape[1] // 2
        head["centre_partition"] = partitions.center if partitions else n_partitions // 2
        channel = np.zeros((), _CHANNEL_HEAD)
        channel["length"] = _CHANNEL_HEAD.itemsize + samples[0].nbytes
        head["length"] = _HEAD.itemsize + len(samples) * int(channel["length"])
        file.write(head.tobytes())
        for number, values in enumerate(samples):
            channel["channel"] = number
            file.write(channel.tobytes() + values.tobytes())
    end = np.zeros((), _HEAD)
    end["length"], end["flags"], end["counter"] = _HEAD.itemsize + _END_BYTES, _ACQUISITION_END, len(readouts) + 1
    file.write(end.tobytes() + bytes(_END_BYTES))


def _quaternion(scan: RawScan, readout: int) -> tuple[np.ndarray, bool]:
    """Return the rotation to phase, read and slice direction as (w, x, y, z), and whether z is turned."""
    head = scan.heads[readout]
    phase, read, normal = (head[name].astype(float) for name in ("phase_dir", "read_dir", "slice_dir"))
    is_turned = bool(np.cross(phase, read) @ normal < 0)
    matrix = np.stack([phase, read, -normal if is_turned else normal], axis=1)
    if not np.allclose(matrix.T @ matrix, np.eye(3), atol=1e-3) or len(np.unique(scan.slice)) > 1:
        raise RawHeaderUnusable("Twix-like files are written for one volume with perpendicular directions.")
    # The quaternion is the eigenvector of the largest eigenvalue (Bar-Itzhack 2000, doi:10.2514/2.4654).
    (a, b, c), (d, e, f), (g, h, i) = matrix
    symmetric = np.array(
        [
            [a + e + i, h - f, c - g, d - b],
            [h - f, a - e - i, b + d, c + g],
            [c - g, b + d, e - a - i, f + h],
            [d - b, c + g, f + h, i - a - e],
        ]
    )
    return np.linalg.eigh(symmetric)[1][:, -1], is_turned


def _header_bytes(header: RawHeader, sample_time_us: float) -> bytes:
    """Return the buffers of the header: length, number, and for each its name, length and text."""
    buffers = {
        "Config": _protocol({}),
        "Dicom": _protocol(_dicom(header)),
        "Meas": _protocol(_measurement(header)),
        "MeasYaps": _assignments(_settings(header, sample_time_us)),
    }
    body = b"".join(name.encode() + b"\0" + len(text).to_bytes(4, "little") + text for name, text in buffers.items())
    length = 8 + len(body)
    padding = -length % 32
    return (length + padding).to_bytes(4, "little") + len(buffers).to_bytes(4, "little") + body + bytes(padding)


def _dicom(header: RawHeader) -> dict[str, object]:
    identity, is_epi = header.identity, header.trajectory == EPI
    return {
        "SoftwareVersions": "syngo MR E11",
        "ManufacturersModelName": header.model,
        "flMagneticFieldStrength": float(header.field_strength_t),
        "flReadoutOSFactor": float(header.encoded.field_of_view_mm[2] / header.recon.field_of_view_mm[2]),
        "tScanningSequence": "EP" if is_epi else "GR",
        "EchoTrainLength": 2 if is_epi else 1,
        "adFlipAngleDegree": [float(angle) for angle in header.flip_angles_deg],
        "tPatientName": identity.get("PatientName", ""),
        "tPatientPosition": header.patient_position,
        "tProtocolName": identity.get("ProtocolName", ""),
        "lPatientSex": {"F": 1, "M": 2}.get(identity.get("PatientSex", ""), 3),
    }


def _measurement(header: RawHeader) -> dict[str, object]:
    identity, parameters = header.identity, header.parameters
    found: dict[str, object] = {
        "PatientID": identity.get("PatientID", ""),
        "tFrameOfReference": identity.get("FrameOfReferenceUID", ""),
    }
    if header.trajectory == EPI:
        found |= {theirs: [round(float(parameters[ours])), 0] for theirs, ours in _RAMP.items() if ours in parameters}
        found["aflRegridADCDuration"] = [float(parameters.get("readoutTime", 0.0)), 0.0]
        found["lEchoSpacing"] = round(1e6 * (header.echo_spacing_s or 0.0))
    return found


def _settings(header: RawHeader, sample_time_us: float) -> dict[str, object]:
    n_z, n_y, _ = header.encoded.shape
    thick, phase, read = header.recon.field_of_view_mm
    values: dict[str, object] = {
        "sKSpace.lBaseResolution": header.recon.shape[2],
        "sKSpace.lPhaseEncodingLines": n_y,
        "sKSpace.lPartitions": n_z,
        "sKSpace.lImagesPerSlab": header.recon.shape[0],
        "sKSpace.ucDimension": "0x4",
        "sSliceArray.asSlice[0].dThickness": thick,
        "sSliceArray.asSlice[0].dPhaseFOV": phase,
        "sSliceArray.asSlice[0].dReadoutFOV": read,
        "lContrasts": len(header.echo_times_s),
        "sPat.lAccelFactPE": header.acceleration[0],
        "sPat.lAccelFact3D": header.acceleration[1],
        "sPat.ucRefScanMode": hex(_CALIBRATION_MODES.get(header.calibration_mode, 1)),
        "sRXSPEC.alDwellTime[0]": round(1000 * sample_time_us),
    }
    values |= {f"alTE[{number}]": round(1e6 * time) for number, time in enumerate(header.echo_times_s)}
    values |= {f"alTR[{number}]": round(1e6 * time) for number, time in enumerate(header.repetition_times_s)}
    return values


def _assignments(values: Mapping[str, object]) -> bytes:
    lines = [f"{name}\t = \t{value}" for name, value in values.items()]
    return "\n".join(("### ASCCONV BEGIN ###", *lines, "### ASCCONV END ###", "")).encode("latin1", "replace")


def _protocol(values: Mapping[str, object]) -> bytes:
    lines = [f"  {_parameter(name, value)}" for name, value in values.items()]
    return "\n".join(("<XProtocol>", "{", *lines, "}", "")).encode("latin1", "replace")


def _parameter(name: str, value: object) -> str:
    parts: Iterable[object] = value if isinstance(value, list) else (value,)
    first = next(iter(parts), "")
    if isinstance(first, str):
        plain = "".join(sign for sign in first if sign.isprintable() and sign not in _MARKS)
        return f'<ParamString."{name}"> {{ "{plain}" }}'
    kind, precision = ("Double", "<Precision> 6 ") if isinstance(first, float) else ("Long", "")
    return f'<Param{kind}."{name}"> {{ {precision}{" ".join(str(part) for part in parts)} }}'


_MARKS = '"{}<>'
