"""The only door through which acquisitions enter: files in, ordered arrays in known units out, or a named refusal."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom import Dataset

from dicom_io.errors import NotDicom, UnsupportedObject
from dicom_io.instance import naming
from dicom_io.read.agreement import require_agreement
from dicom_io.read.assembly import Assembly, Instance, assemble
from dicom_io.read.conclusions import Conclusions
from dicom_io.read.elements import Layouts
from dicom_io.read.filling import filled
from dicom_io.read.folder import FoundAcquisition, find_acquisitions
from dicom_io.read.headers import frame_headers
from dicom_io.read.multiframe import MULTI_FRAME
from dicom_io.read.opening import open_object
from dicom_io.read.pixels import (
    has_alternating_slices,
    pixels_in_file,
    polar,
    undo_alternation,
    verified_magnitude,
    verified_phase,
)
from dicom_io.read.scales import require_same_scale
from dicom_io.read.separation import SEPARABLE, Share, separate
from dicom_io.read.vendors.convention import PhaseScale, StoredValues
from dicom_io.series import EchoSeries, Part, SourceFrame, SourceSeries

__all__ = ["SEPARABLE", "FoundAcquisition", "Share", "find_acquisitions", "read_echo_series", "read_source", "scans_in"]

PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
FALLING = "The manufacturer's phase falls as the field grows; its sign was turned."
ALTERNATING = "The complex image changed sign from slice to slice; every second slice was turned by π."


def file_name(path: Path) -> str:
    """Return the name that sentences use for a file when the caller gives none."""
    return path.name


@contextmanager
def uncollected() -> Iterator[None]:
    """Read without the cyclic garbage collector, which would walk over headers that are all in use, again and again.

    Whoever stopped it starts it again, so readings in several threads leave it running.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@uncollected()
def read_echo_series(
    paths: Sequence[Path], name_of: Callable[[Path], str] = file_name, share: Share | None = None
) -> EchoSeries:
    """Read one multi-echo acquisition: magnitude and phase of every echo, ordered, phase in radians.

    Parameters
    ----------
    paths
        Every file of the acquisition in any order: one series, or a magnitude series with its phase series. Objects
        that are no images are ignored and noted.
    name_of
        How sentences call a file; a node passes a function that gives no received text away.
    share
        Which scan is meant, where the series holds several; from `find_acquisitions` or `scans_in`.

    Raises
    ------
    dicom_io.errors.Permanent
        One class per reason, with a sentence that names file, attribute and remedy.
    """
    assembly, ignored = _assembly(paths, name_of, share)
    scales = _scales(assembly)
    first, second = filled(assembly, scales)
    agreement = require_agreement(assembly, first.values, second.values)
    notes = [agreement] if agreement else []
    if assembly.parts[0] is Part.REAL:
        magnitude, phase = polar(first.values, second.values)
    else:
        magnitude = verified_magnitude(first.values, float(first.lowest.min()), float(first.highest.max()))
        is_declared = all(scale.is_declared for scale in scales.values())
        phase = verified_phase(second.values, second.lowest, second.highest, is_declared)
    if assembly.vendor.has_alternating_slices and has_alternating_slices(magnitude[0], phase[0]):
        phase = undo_alternation(phase)
        notes.append(ALTERNATING)
    if assembly.vendor.field_sign < 0:
        np.negative(phase, out=phase)
        notes.append(FALLING)
    return EchoSeries(_source(assembly, _scaling(assembly, scales), ignored, tuple(notes)), magnitude, phase)


@uncollected()
def read_source(
    paths: Sequence[Path], name_of: Callable[[Path], str] = file_name, share: Share | None = None
) -> SourceSeries:
    """Read everything about an acquisition except its pixels; see `read_echo_series`."""
    assembly, ignored = _assembly(paths, name_of, share)
    return _source(assembly, _scaling(assembly, _scales(assembly)), ignored, ())


def scans_in(paths: Sequence[Path], name_of: Callable[[Path], str] = file_name) -> list[Share]:
    """Return the scans of files that were refused as one acquisition because they hold several; nothing if they do not.

    Raises
    ------
    dicom_io.errors.Permanent
        A header cannot be read; see `read_echo_series`.
    """
    return separate(_instances(paths, name_of)[0])


def _scaling(assembly: Assembly, scales: dict[StoredValues, PhaseScale]) -> str:
    if assembly.parts[0] is Part.REAL:
        return "the angle of the real and imaginary images"
    return "; ".join(sorted({scale.sentence for scale in scales.values()}))


def _assembly(
    paths: Sequence[Path], name_of: Callable[[Path], str], share: Share | None
) -> tuple[Assembly, tuple[str, ...]]:
    instances, ignored = _instances(paths, name_of)
    if share is None:
        return assemble(instances), ignored
    assembly = assemble(share.of(instances))
    return replace(assembly, notes=(share.sentence, *assembly.notes)), ignored


def _instances(paths: Sequence[Path], name_of: Callable[[Path], str]) -> tuple[list[Instance], tuple[str, ...]]:
    instances, ignored = [], []
    conclusions = Conclusions()
    for path in sorted(paths):
        try:
            with naming(name_of(path)):
                instances.append(_instance(path, name_of(path), conclusions))
        except UnsupportedObject as other:
            ignored.append(str(other))
    if not instances and ignored:
        raise UnsupportedObject(ignored[0])
    if not instances:
        raise NotDicom("No files were given; name the files of one acquisition.")
    return instances, tuple(ignored)


def _instance(path: Path, name: str, conclusions: Conclusions) -> Instance:
    opened = open_object(path, conclusions.layouts)
    frames = tuple(frame_headers(opened, conclusions))
    return Instance(path, name, frames, pixels_in_file(opened, conclusions))


def _scales(assembly: Assembly) -> dict[StoredValues, PhaseScale]:
    scales: dict[StoredValues, PhaseScale] = {}
    for (part, _, _), frame in sorted(assembly.chosen.items()):
        if part is Part.PHASE and frame.values not in scales:
            with naming(assembly.name_of[frame.sop_instance_uid]):
                scales[frame.values] = assembly.vendor.phase_scale(frame.values)
                first = next(iter(scales.values()))
                require_same_scale(scales[frame.values], first)
    return scales


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
    dataset = open_object(path, Layouts()).parse()
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
