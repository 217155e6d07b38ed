"""Siemens twix files (.dat): the last measurement that holds images, and the noise measured before it.

Positions, directions and flags are translated as siemens_to_ismrmrd does; `directions` says which way images then lie.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from io import SEEK_END, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import twixtools

from dicom_io.errors import IncompleteRawData, MalformedRawData
from dicom_io.kspace import readout_heads
from dicom_io.kspace.directions import as_images_lie
from dicom_io.kspace.readout_heads import new_heads
from dicom_io.kspace.scan import CARTESIAN, EPI, MULTIBAND, Limit, RawHeader, RawScan, Space

_FLAGS = {
    "NOISEADJSCAN": readout_heads.NOISE,
    "PATREFSCAN": readout_heads.CALIBRATION,
    "PATREFANDIMASCAN": readout_heads.CALIBRATION_AND_IMAGING,
    "REFLECT": readout_heads.REVERSE,
    "PHASCOR": readout_heads.PHASE_CORRECTION,
    "RTFEEDBACK": readout_heads.REAL_TIME_FEEDBACK,
    "HPFEEDBACK": readout_heads.HIGH_PRIORITY_FEEDBACK,
    "REFPHASESTABSCAN": readout_heads.PHASE_STABILIZATION_REFERENCE,
    "PHASESTABSCAN": readout_heads.PHASE_STABILIZATION,
    "LASTSCANINMEAS": readout_heads.LAST_IN_MEASUREMENT,
}
# What the package raises over a damaged file; it names no errors of its own.
_FAILURES = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    EOFError,
    RuntimeError,
    SystemExit,
    struct.error,
)
# The table of contents of software VD and later; files of VB begin with the length of a header instead.
_FIRST_OF_VB = 10_000
_FIRST_OFFSET, _LARGEST = 10_240, 1 << 44
_ENTRY = np.dtype([("id", "<u4"), ("file", "<u4"), ("offset", "<u8"), ("n_bytes", "<u8"), ("names", "S64", (2,))])
_CONTENTS = np.dtype([("size", "<u4"), ("count", "<u4"), ("entries", _ENTRY, (64,))])
_NO_READOUTS = ("ACQEND", "SYNCDATA")
_THREE_DIMENSIONS = 4
_SEXES = {1: "F", 2: "M", 3: "O"}
_CALIBRATION_MODES = {2: "embedded", 4: "separate"}


def read_twix(path: Path) -> RawScan:
    """Read a twix file of software VB, VD, VE or XA.

    Raises
    ------
    MalformedRawData
        The file is no twix file, is damaged, or holds no readouts of images.
    IncompleteRawData
        The file ends before its last measurement does.
    """
    _refuse_cut(path)
    measurements = _measurements(path)
    blocks = [_readouts(measurement) for measurement in measurements]
    chosen = [index for index, found in enumerate(blocks) if any(_is_of_an_image(block) for block in found)]
    if not chosen:
        raise MalformedRawData("The twix file holds no readouts of images; export the measurement itself.")
    last = chosen[-1]
    noise = [block for found in blocks[:last] for block in found if block.is_flag_set("NOISEADJSCAN")]
    kept = [*noise, *blocks[last]]
    samples = _samples(kept)
    header = _header(measurements[last]["hdr"], blocks[last])
    heads = _heads(kept, samples)
    dwells = [
        float(time) / 1000 for time in measurements[last]["hdr"]["MeasYaps"].get("sRXSPEC", {}).get("alDwellTime", ())
    ]
    for head in heads:
        # In nanoseconds, per sample as it was taken, oversampling counted in.
        head["sample_time_us"] = dwells[min(int(head["idx"]["contrast"]), len(dwells) - 1)] if dwells else 0.0
    return as_images_lie(RawScan(header, heads, samples))


def _measurements(path: Path) -> list[dict[str, Any]]:
    try:
        # The package prints its warnings where a command prints its result.
        with redirect_stdout(StringIO()):
            found = twixtools.read_twix(str(path), parse_pmu=False, parse_geometry=False, verbose=False)
    except _FAILURES as failure:
        raise MalformedRawData("The file is no Siemens twix file, or is damaged; export it again.") from failure
    return [one for one in found if isinstance(one, dict) and "mdb" in one and "hdr" in one]


def _readouts(measurement: Mapping[str, Any]) -> list[Any]:
    return [block for block in measurement["mdb"] if not any(block.is_flag_set(flag) for flag in _NO_READOUTS)]


def _samples(blocks: Sequence[Any]) -> list[np.ndarray]:
    try:
        return [np.ascontiguousarray(block.data, np.complex64) for block in blocks]
    except _FAILURES as failure:
        raise MalformedRawData("The file is no Siemens twix file, or is damaged; export it again.") from failure


def _refuse_cut(path: Path) -> None:
    """Refuse a file that ends before the last of the measurements that its table of contents lists (VD and later)."""
    with path.open("rb") as file:
        table = np.frombuffer(file.read(_CONTENTS.itemsize).ljust(_CONTENTS.itemsize, b"\0"), _CONTENTS)[0]
        size = file.seek(0, SEEK_END)
    if int(table["size"]) >= _FIRST_OF_VB or not 0 < int(table["count"]) <= len(table["entries"]):
        return
    listed = [(int(entry["offset"]), int(entry["n_bytes"])) for entry in table["entries"][: int(table["count"])]]
    if not all(_FIRST_OFFSET <= offset < _LARGEST and n_bytes < _LARGEST for offset, n_bytes in listed):
        return
    if size < max(offset + n_bytes for offset, n_bytes in listed):
        raise IncompleteRawData("The twix file ends before its last measurement does; export it again.")


def _is_of_an_image(block: Any) -> bool:
    return not any(block.is_flag_set(flag) for flag in ("NOISEADJSCAN", "PHASCOR"))


def _heads(blocks: Sequence[Any], samples: Sequence[np.ndarray]) -> np.ndarray:
    heads = new_heads((array.shape[1] for array in samples), 1)
    for head, block, array in zip(heads, blocks, samples, strict=True):
        _fill(head, block.mdh)
        head["active_channels"] = head["available_channels"] = array.shape[0]
        head["flags"] = sum(bit for name, bit in _FLAGS.items() if block.is_flag_set(name))
    return heads


def _fill(head: np.void, mdh: Any) -> None:
    head["measurement_uid"], head["scan_counter"] = mdh.MeasUID, mdh.ScanCounter
    head["acquisition_time_stamp"] = mdh.TimeStamp
    head["discard_pre"], head["discard_post"] = mdh.CutOff.Pre, mdh.CutOff.Post
    head["center_sample"] = mdh.CenterCol
    counters = mdh.Counter
    for name, value in {
        "kspace_encode_step_1": counters.Lin,
        "kspace_encode_step_2": counters.Par,
        "average": counters.Ave,
        "slice": counters.Sli,
        "contrast": counters.Eco,
        "phase": counters.Phs,
        "repetition": counters.Rep,
        "set": counters.Set,
        "segment": counters.Seg,
    }.items():
        head["idx"][name] = value
    head["idx"]["user"][5], head["idx"]["user"][6] = mdh.CenterLin, mdh.CenterPar
    place = mdh.SliceData.SlicePos
    head["position"] = place.Sag, place.Cor, place.Tra
    head["phase_dir"], head["read_dir"], head["slice_dir"] = _directions(mdh.SliceData.Quaternion)


def _directions(quaternion: Iterable[float]) -> np.ndarray:
    """Return phase, read and slice directions: the columns of the rotation that the quaternion (w, x, y, z) states."""
    w, x, y, z = (float(number) for number in quaternion)
    columns = (
        (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)),
        (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)),
        (2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.array(columns, np.float32)


def _header(headers: Mapping[str, Any], blocks: Sequence[Any]) -> RawHeader:
    protocol, dicom, raw = headers["MeasYaps"], headers.get("Dicom", {}), headers.get("Meas", {})
    imaging = next(block.mdh for block in blocks if _is_of_an_image(block))
    encoded, recon = _spaces(protocol, dicom, imaging)
    is_epi = str(dicom.get("tScanningSequence", "")).startswith("EP") or _number(dicom, "EchoTrainLength") > 1
    is_epi = is_epi and any(block.is_flag_set("REFLECT") for block in blocks)
    n_echoes = int(protocol.get("lContrasts", 1))
    echoes = [float(time) for time in protocol.get("alTE", ())][:n_echoes]
    parallel = protocol.get("sPat", {})
    return RawHeader(
        field_strength_t=_number(dicom, "flMagneticFieldStrength"),
        echo_times_s=tuple(time * 1e-6 for time in echoes),
        encoded=encoded,
        recon=recon,
        limits={
            "kspace_encoding_step_1": Limit(0, encoded.shape[1] - 1, int(imaging.CenterLin)),
            "kspace_encoding_step_2": Limit(0, encoded.shape[0] - 1, int(imaging.CenterPar)),
            "contrast": Limit(0, n_echoes - 1, 0),
            "slice": Limit(0, len(protocol["sSliceArray"]["asSlice"]) - 1, 0),
        },
        acceleration=(int(parallel.get("lAccelFactPE", 1)), int(parallel.get("lAccelFact3D", 1))),
        calibration_mode=_CALIBRATION_MODES.get(int(parallel.get("ucRefScanMode", 1)), ""),
        trajectory=EPI if is_epi else CARTESIAN,
        identity=_identity(dicom, raw),
        vendor="Siemens",
        model=str(dicom.get("ManufacturersModelName", "")),
        repetition_times_s=tuple(float(time) * 1e-6 for time in protocol.get("alTR", ())[:1]),
        flip_angles_deg=tuple(float(angle) for angle in list(dicom.get("adFlipAngleDegree", ()))[:1]),
        echo_spacing_s=_number(raw, "lEchoSpacing") * 1e-6 if is_epi else None,
        patient_position=str(dicom.get("tPatientPosition", "HFS")),
        parameters=(_ramp(raw) if is_epi else {}) | _multiband(protocol),
    )


def _spaces(protocol: Mapping[str, Any], dicom: Mapping[str, Any], imaging: Any) -> tuple[Space, Space]:
    """Return the spaces that were sampled and that are to be shown; oversampling belongs to the first."""
    steps = protocol["sKSpace"]
    slab = protocol["sSliceArray"]["asSlice"][0]
    oversampling = max(1.0, _number(dicom, "flReadoutOSFactor"))
    base, lines = int(steps["lBaseResolution"]), int(steps["lPhaseEncodingLines"])
    read, phase, thick = (float(slab.get(name, 0.0)) for name in ("dReadoutFOV", "dPhaseFOV", "dThickness"))
    is_volume = int(steps.get("ucDimension", 2)) == _THREE_DIMENSIONS
    partitions = int(steps.get("lPartitions", 1)) if is_volume else 1
    shown = int(steps.get("lImagesPerSlab", partitions)) if is_volume else 1
    more_lines = 1.0 + float(steps.get("dPhaseOversamplingForDialog", 0.0))
    n_samples = int(imaging.SamplesInScan)
    encoded = Space(
        (partitions, lines, n_samples),
        (thick * partitions / max(1, shown), phase * more_lines, read * oversampling),
    )
    recon = Space((shown, round(lines / more_lines), min(base, n_samples)), (thick, phase, read))
    return encoded, recon


def _identity(dicom: Mapping[str, Any], raw: Mapping[str, Any]) -> dict[str, str]:
    found = {
        "PatientName": str(dicom.get("tPatientName", "")),
        "PatientID": str(raw.get("PatientID", "")),
        "PatientSex": _SEXES.get(int(_number(dicom, "lPatientSex")), ""),
        "ProtocolName": str(dicom.get("tProtocolName", "")),
        "BodyPartExamined": str(dicom.get("tBodyPartExamined", "")),
        "InstitutionName": str(dicom.get("InstitutionName", "")),
        "FrameOfReferenceUID": str(raw.get("tFrameOfReference", "")),
    }
    return {keyword: text for keyword, text in found.items() if text}


def _ramp(raw: Mapping[str, Any]) -> dict[str, float | str]:
    """Return the trapezoid of an EPI readout [µs] under the names of ISMRMRD's ConventionalEPI trajectory."""
    names = {
        "rampUpTime": "alRegridRampupTime",
        "rampDownTime": "alRegridRampdownTime",
        "flatTopTime": "alRegridFlattopTime",
        "acqDelayTime": "alRegridDelaySamplesTime",
        "numSamples": "alRegridDestSamples",
    }
    found: dict[str, float | str] = {
        name: float(values[0]) for name, key in names.items() if (values := raw.get(key)) and float(values[0]) >= 0
    }
    found["echoSpacing"] = _number(raw, "lEchoSpacing")
    found["readoutTime"] = float((raw.get("aflRegridADCDuration") or [0.0])[0])
    return found


def _multiband(protocol: Mapping[str, Any]) -> dict[str, float | str]:
    factor = _number(protocol.get("sSliceAcceleration", {}), "lMultiBandFactor")
    return {MULTIBAND: factor} if factor > 1 else {}


def _number(values: Mapping[str, Any], name: str) -> float:
    try:
        return float(values.get(name) or 0.0)
    except (TypeError, ValueError):
        return 0.0
