"""Find the acquisitions in a folder: group files by series, pair magnitude with phase, say why the rest is no use."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dicom_io.errors import DicomError, GeometryUnusable, NotDicom, UnsupportedObject
from dicom_io.instance import attribute, open_instance, quietly, text
from dicom_io.read.assembly import Instance, assemble
from dicom_io.read.conclusions import Conclusions
from dicom_io.read.headers import FrameHeader, read_frame_headers
from dicom_io.read.multiframe import MULTI_FRAME
from dicom_io.read.sorting import COMPLEX_PAIRS, USABLE, assess, normal_of, parts_of
from dicom_io.series import Part

PREAMBLE = 128
MAGIC = b"DICM"
SAME_GRID = 0.02

Key = str
Halves = dict[Key, tuple[Part, Sequence[Instance]]]


@dataclass(frozen=True)
class FoundAcquisition:
    """One acquisition, or one series or file that cannot become a map; `refusal` says why.

    `frames[i]` are the headers of the frames in `paths[i]`; it is empty where the files hold no MR images.
    """

    series_uids: tuple[str, ...]
    description: str
    paths: tuple[Path, ...]
    refusal: DicomError | None
    frames: tuple[tuple[FrameHeader, ...], ...] = ()


def find_acquisitions(folder: Path, on_progress: Callable[[float], None] | None = None) -> list[FoundAcquisition]:
    """Find every acquisition below a folder, the usable ones first.

    Parameters
    ----------
    folder
        Where to look, in all folders within as well.
    on_progress
        Called with the share of files, 0 to 1, that have been looked at.

    A magnitude series and a phase series are paired when study, frame of reference, grid and echo times are the same.
    Where several would fit, the pair without distortion correction and with the same acquisition times is taken; where
    that does not decide, the acquisition is refused as mixed rather than guessed.
    """
    series: dict[Key, list[Instance]] = {}
    conclusions = Conclusions()
    found: list[FoundAcquisition] = []
    others: dict[str, tuple[list[Path], DicomError]] = {}
    paths = sorted(item for item in folder.rglob("*") if item.is_file())
    for number, path in enumerate(paths, start=1):
        if on_progress is not None:
            on_progress(number / len(paths))
        try:
            frames = tuple(read_frame_headers(path, conclusions))
            # Philips exports one series under one UID both as classic and as enhanced objects.
            key = f"{frames[0].series_instance_uid} {frames[0].sop_class_uid in MULTI_FRAME}"
            series.setdefault(key, []).append(Instance(path, path.name, frames))
        except UnsupportedObject as other:
            others.setdefault(_series_uid(path), ([], other))[0].append(path)
        except DicomError as unreadable:
            if not isinstance(unreadable, NotDicom) or _claims_to_be_dicom(path):
                reason = type(unreadable)(f"{path.name}: {unreadable}")
                found.append(FoundAcquisition((), "unreadable object", (path,), reason))
    for uid, (of_series, refusal) in others.items():
        found.append(FoundAcquisition((uid,), "no MR images", tuple(of_series), refusal))
    found += [_found([one for key in group for one in series[key]]) for group in group_series(series)]
    return sorted(found, key=lambda item: (item.refusal is not None, item.series_uids))


def _series_uid(path: Path) -> str:
    try:
        with quietly():
            return text(attribute(open_instance(path), "SeriesInstanceUID"))
    except DicomError:
        return ""


def _claims_to_be_dicom(path: Path) -> bool:
    with path.open("rb") as stream:
        start = stream.read(PREAMBLE + len(MAGIC))
    return start[PREAMBLE:] == MAGIC or path.suffix.lower() in (".dcm", ".ima")


def _found(instances: Sequence[Instance]) -> FoundAcquisition:
    frames = [frame for instance in instances for frame in instance.frames]
    refusal: DicomError | None = None
    try:
        assemble(instances)
    except DicomError as reason:
        refusal = reason
    return FoundAcquisition(
        tuple(sorted({frame.series_instance_uid for frame in frames})),
        f"{frames[0].vendor or 'unknown manufacturer'}, {assess(frames).sentence}",
        tuple(instance.path for instance in instances),
        refusal,
        tuple(instance.frames for instance in instances),
    )


def group_series(series: Mapping[Key, Sequence[Instance]]) -> list[list[Key]]:
    """Return which series form an acquisition together, by their keys; a series on its own is a group of one.

    The rules are those of `find_acquisitions`. A group of which nothing proves that it is one acquisition, because
    several partners would fit, is returned whole: reading it refuses it as mixed.
    """
    whole: list[list[Key]] = []
    halves: Halves = {}
    for key, instances in sorted(series.items()):
        frames = [frame for instance in instances for frame in instance.frames]
        present = set(parts_of(frames)) & set(USABLE)
        if any(present >= set(pair) for pair in COMPLEX_PAIRS) or len(present) != 1:
            whole.append([key])
        else:
            halves[key] = (present.pop(), instances)
    return [*whole, *_paired(halves)]


def _paired(halves: Halves) -> list[list[Key]]:
    groups = []
    remaining = dict(halves)
    for first, second in COMPLEX_PAIRS:
        for key in [key for key, (part, _) in halves.items() if part is second]:
            group = _echoes_apart(key, first, remaining) or _partner(key, first, remaining)
            groups += [group] if group else []
            remaining = {other: half for other, half in remaining.items() if other not in group}
    return [*groups, *([key] for key in remaining)]


def _partner(key: Key, first: Part, remaining: Halves) -> list[Key]:
    """Return a series and its partner with the same grid and echo times; all of them where nothing tells them apart."""
    if key not in remaining:
        return []
    fitting = [
        other
        for other, (part, candidates) in remaining.items()
        if part is first
        and _grids_match(remaining[key][1], candidates)
        and _times(candidates) == _times(remaining[key][1])
    ]
    fitting = _undistorted(fitting, remaining) or fitting
    if len(fitting) > 1:
        when = _moments(remaining[key][1])
        fitting = [other for other in fitting if _moments(remaining[other][1]) == when] or fitting
    return [*fitting, key] if fitting else []


def _echoes_apart(key: Key, first: Part, remaining: Halves) -> list[Key]:
    """Return all series of an acquisition that keeps every echo in a series of its own, if the header proves it.

    The proof is the declared number of echoes: without it, two scans with different echo times would become one.
    """
    if key not in remaining or len(_times(remaining[key][1])) != 1:
        return []
    part, instances = remaining[key]
    alike = [other for other, (_, candidates) in remaining.items() if _grids_match(instances, candidates)]
    times = {kind: [_times(remaining[k][1]) for k in alike if remaining[k][0] is kind] for kind in (first, part)}
    declared = instances[0].frames[0].n_echoes_declared
    counts = [len(found) == len(set(found)) == declared for found in times.values()]
    return alike if declared and declared > 1 and all(counts) and set(times[first]) == set(times[part]) else []


def _undistorted(keys: Sequence[Key], halves: Halves) -> list[Key]:
    return [key for key in keys if not halves[key][1][0].frames[0].is_distortion_corrected]


def _grids_match(first: Sequence[Instance], second: Sequence[Instance]) -> bool:
    if _identity(first) != _identity(second):
        return False
    try:
        grids = zip(_grid(first), _grid(second), strict=True)
        return all(one.shape == other.shape and np.abs(one - other).max() < SAME_GRID for one, other in grids)
    except GeometryUnusable:
        return False


def _identity(instances: Sequence[Instance]) -> tuple[object, ...]:
    first = instances[0].frames[0]
    return first.study_instance_uid, first.frame_of_reference_uid, first.vendor, first.rows, first.columns


def _times(instances: Sequence[Instance]) -> tuple[float, ...]:
    return tuple(sorted({round(frame.echo_time_ms or 0.0, 2) for instance in instances for frame in instance.frames}))


def _moments(instances: Sequence[Instance]) -> frozenset[str]:
    """Return when the images were taken, to tell scans of one protocol apart."""
    return frozenset(frame.acquired_at for instance in instances for frame in instance.frames)


def _grid(instances: Sequence[Instance]) -> tuple[np.ndarray, ...]:
    """Return spacing, orientation and the rising distances of the slices, whatever the order of the files."""
    frames = [frame for instance in instances for frame in instance.frames]
    distances = np.array([frame.position for frame in frames]) @ normal_of(frames[0])
    return np.array(frames[0].pixel_spacing), np.array(frames[0].orientation), np.unique(np.round(distances, 2))
