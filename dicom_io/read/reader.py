"""The only door through which acquisitions enter: files in, ordered arrays in known units out, or a named refusal."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydicom import Dataset

from dicom_io.errors import NotDicom, UnsupportedObject
from dicom_io.instance import naming, open_instance
from dicom_io.read.assembly import Assembly, Instance, assemble
from dicom_io.read.folder import FoundAcquisition, find_acquisitions
from dicom_io.read.headers import FrameHeader, read_frame_headers
from dicom_io.read.multiframe import MULTI_FRAME
from dicom_io.read.pixels import (
    decode,
    has_alternating_slices,
    polar,
    undo_alternation,
    verified_magnitude,
    verified_phase,
)
from dicom_io.read.vendors.convention import PhaseScale, StoredValues
from dicom_io.series import EchoSeries, Part, SourceFrame, SourceSeries

__all__ = ["FoundAcquisition", "find_acquisitions", "read_echo_series", "read_source"]

PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
FALLING = "The manufacturer's phase falls as the field grows; its sign was turned."
ALTERNATING = "The complex image changed sign from slice to slice; every second slice was turned by π."


def file_name(path: Path) -> str:
    """Return the name that sentences use for a file when the caller gives none."""
    return path.name


def read_echo_series(paths: Sequence[Path], name_of: Callable[[Path], str] = file_name) -> EchoSeries:
    """Read one multi-echo acquisition: magnitude and phase of every echo, ordered, phase in radians.

    Parameters
    ----------
    paths
        Every file of the acquisition in any order: one series, or a magnitude series with its phase series. Objects
        that are no images are ignored and noted.
    name_of
        How sentences call a file; a node passes a function that gives no received text away.

    Raises
    ------
    dicom_io.errors.Permanent
        One class per reason, with a sentence that names file, attribute and remedy.
    """
    assembly, ignored = _assembly(paths, name_of)
    first, second = (_filled(assembly, part) for part in assembly.parts)
    notes: list[str] = []
    if assembly.parts[0] is Part.REAL:
        sentence = "the angle of the real and imaginary images"
        magnitude, phase = polar(first, second)
    else:
        scales = _scales(assembly)
        sentence = "; ".join(sorted({scale.sentence for scale in scales.values()}))
        magnitude = verified_magnitude(first)
        phase = verified_phase(_in_radians(assembly, second, scales), all(s.is_declared for s in scales.values()))
    if assembly.vendor.has_alternating_slices and has_alternating_slices(magnitude[0], phase[0]):
        phase = undo_alternation(phase)
        notes.append(ALTERNATING)
    if assembly.vendor.field_sign < 0:
        np.negative(phase, out=phase)
        notes.append(FALLING)
    return EchoSeries(_source(assembly, sentence, ignored, tuple(notes)), magnitude, phase)


def read_source(paths: Sequence[Path], name_of: Callable[[Path], str] = file_name) -> SourceSeries:
    """Read everything about an acquisition except its pixels; see `read_echo_series`."""
    assembly, ignored = _assembly(paths, name_of)
    if assembly.parts[0] is Part.REAL:
        return _source(assembly, "the angle of the real and imaginary images", ignored, ())
    scales = _scales(assembly)
    return _source(assembly, "; ".join(sorted({scale.sentence for scale in scales.values()})), ignored, ())


def _assembly(paths: Sequence[Path], name_of: Callable[[Path], str]) -> tuple[Assembly, tuple[str, ...]]:
    instances, ignored = [], []
    for path in sorted(paths):
        try:
            with naming(name_of(path)):
                instances.append(Instance(path, name_of(path), tuple(read_frame_headers(path))))
        except UnsupportedObject as other:
            ignored.append(str(other))
    if not instances and ignored:
        raise UnsupportedObject(ignored[0])
    if not instances:
        raise NotDicom("No files were given; name the files of one acquisition.")
    return assemble(instances), tuple(ignored)


def _filled(assembly: Assembly, part: Part) -> np.ndarray:
    """Return one part, float32 `(echo, z, y, x)`; phase stays in stored values, others are rescaled."""
    shape = (len(assembly.slots.echo_times_ms), *assembly.geometry.shape)
    image = np.empty(shape, dtype=np.float32)
    by_object: dict[str, list[tuple[tuple[int, int], FrameHeader]]] = {}
    for (held, echo, index), frame in assembly.chosen.items():
        if held is part:
            by_object.setdefault(frame.sop_instance_uid, []).append(((echo, index), frame))
    # Real and imaginary images share one reference, or the angle between them would change.
    reference = assembly.chosen[assembly.parts[0], 0, 0].values.gain
    for uid, slots in by_object.items():
        with naming(assembly.name_of[uid]):
            stored = decode(assembly.path_of[uid])
        for target, frame in slots:
            values = stored[(frame.frame_number or 1) - 1].astype(np.float32)
            image[target] = values if part is Part.PHASE else _rescaled(values, frame.values, reference)
    return image


def _rescaled(stored: np.ndarray, values: StoredValues, reference: float) -> np.ndarray:
    slope = 1.0 if values.slope is None else values.slope
    relative = reference / values.gain if values.gain else 1.0
    return (stored * np.float32(slope) + np.float32(values.intercept or 0.0)) * np.float32(relative)


def _scales(assembly: Assembly) -> dict[StoredValues, PhaseScale]:
    scales: dict[StoredValues, PhaseScale] = {}
    for (part, _, _), frame in sorted(assembly.chosen.items()):
        if part is Part.PHASE and frame.values not in scales:
            with naming(assembly.name_of[frame.sop_instance_uid]):
                scales[frame.values] = assembly.vendor.phase_scale(frame.values)
    return scales


def _in_radians(assembly: Assembly, stored: np.ndarray, scales: dict[StoredValues, PhaseScale]) -> np.ndarray:
    for (part, echo, index), frame in assembly.chosen.items():
        if part is Part.PHASE:
            scale = scales[frame.values]
            stored[echo, index] = stored[echo, index] * scale.slope + scale.intercept
    return stored


def _source(assembly: Assembly, scaling: str, ignored: tuple[str, ...], notes: tuple[str, ...]) -> SourceSeries:
    first = assembly.chosen[assembly.parts[0], 0, 0]
    return SourceSeries(
        geometry=assembly.geometry,
        echo_times_s=tuple(round(time / 1000, 9) for time in assembly.slots.echo_times_ms),
        magnetic_field_strength_t=assembly.magnetic_field_strength_t,
        vendor=assembly.vendor.name,
        template=_template(assembly.path_of[first.sop_instance_uid]),
        frames=tuple(_frames_of_slice(assembly, index) for index in range(assembly.slots.n_slices)),
        phase_scaling=scaling,
        is_enhanced=first.sop_class_uid in MULTI_FRAME,
        notes=(*assembly.notes, *notes),
        ignored=ignored,
    )


def _template(path: Path) -> Dataset:
    dataset = open_instance(path)
    for keyword in PIXEL_KEYWORDS:
        if keyword in dataset:
            del dataset[keyword]
    return dataset


def _frames_of_slice(assembly: Assembly, index: int) -> tuple[SourceFrame, ...]:
    return tuple(
        SourceFrame(frame.sop_class_uid, frame.sop_instance_uid, frame.frame_number, frame.series_instance_uid)
        for echo in range(len(assembly.slots.echo_times_ms))
        for frame in (assembly.chosen[part, echo, index] for part in assembly.parts)
    )
