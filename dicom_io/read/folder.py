"""Find the acquisitions in a folder: group files by series, pair magnitude with phase, say why the rest is no use."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_io.errors import DicomError, NotDicom, UnsupportedObject
from dicom_io.instance import open_instance, text
from dicom_io.read.assembly import Instance, assemble
from dicom_io.read.headers import FrameHeader, read_frame_headers
from dicom_io.read.multiframe import MULTI_FRAME
from dicom_io.read.sorting import COMPLEX_PAIRS, USABLE, assess, parts_of
from dicom_io.series import Part

PREAMBLE = 128
MAGIC = b"DICM"

Key = tuple[str, bool]


@dataclass(frozen=True)
class FoundAcquisition:
    """One acquisition, or one series or file that cannot become a map; `refusal` says why."""

    series_uids: tuple[str, ...]
    description: str
    paths: tuple[Path, ...]
    refusal: DicomError | None


def find_acquisitions(folder: Path) -> list[FoundAcquisition]:
    """Find every acquisition below a folder, the usable ones first.

    A magnitude series and a phase series are paired when study, frame of reference, grid and echo times are the same.
    Where several would fit, the pair without distortion correction is taken; where that does not decide, the
    acquisition is refused rather than guessed.
    """
    series: dict[Key, list[Instance]] = {}
    found: list[FoundAcquisition] = []
    others: dict[str, tuple[list[Path], DicomError]] = {}
    for path in sorted(item for item in folder.rglob("*") if item.is_file()):
        try:
            frames = tuple(read_frame_headers(path))
            # Philips exports one series under one UID both as classic and as enhanced objects.
            key = frames[0].series_instance_uid, frames[0].sop_class_uid in MULTI_FRAME
            series.setdefault(key, []).append(Instance(path, path.name, frames))
        except UnsupportedObject as other:
            others.setdefault(text(open_instance(path).get("SeriesInstanceUID")), ([], other))[0].append(path)
        except DicomError as unreadable:
            if not isinstance(unreadable, NotDicom) or _claims_to_be_dicom(path):
                reason = type(unreadable)(f"{path.name}: {unreadable}")
                found.append(FoundAcquisition((), "unreadable object", (path,), reason))
    for uid, (paths, refusal) in others.items():
        found.append(FoundAcquisition((uid,), "no MR images", tuple(paths), refusal))
    found += [_found(group) for group in _groups(series)]
    return sorted(found, key=lambda item: (item.refusal is not None, item.series_uids))


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
    )


def _groups(series: dict[Key, list[Instance]]) -> list[list[Instance]]:
    whole: list[list[Instance]] = []
    halves: dict[Key, tuple[Part, list[Instance]]] = {}
    for key, instances in sorted(series.items()):
        frames = [frame for instance in instances for frame in instance.frames]
        present = set(parts_of(frames)) & set(USABLE)
        if any(present >= set(pair) for pair in COMPLEX_PAIRS) or len(present) != 1:
            whole.append(instances)
        else:
            halves[key] = (present.pop(), instances)
    return [*whole, *_paired(halves)]


def _paired(halves: dict[Key, tuple[Part, list[Instance]]]) -> list[list[Instance]]:
    taken: set[Key] = set()
    groups = []
    for first, second in COMPLEX_PAIRS:
        for key, (part, instances) in halves.items():
            if part is not second:
                continue
            partners = [
                other
                for other, (kind, candidates) in halves.items()
                if kind is first and other not in taken and _belongs(instances, candidates)
            ]
            partners = _undistorted(partners, halves) or partners
            if len(partners) == 1:
                taken |= {key, partners[0]}
                groups.append([*halves[partners[0]][1], *instances])
    return [*groups, *(instances for key, (_, instances) in halves.items() if key not in taken)]


def _undistorted(keys: Sequence[Key], halves: dict[Key, tuple[Part, list[Instance]]]) -> list[Key]:
    return [key for key in keys if not halves[key][1][0].frames[0].is_distortion_corrected]


def _belongs(first: Sequence[Instance], second: Sequence[Instance]) -> bool:
    return _signature(first) == _signature(second)


def _signature(instances: Sequence[Instance]) -> tuple[object, ...]:
    frames: list[FrameHeader] = [frame for instance in instances for frame in instance.frames]
    first = frames[0]
    return (
        first.study_instance_uid,
        first.frame_of_reference_uid,
        first.rows,
        first.columns,
        tuple(round(value, 3) for value in first.pixel_spacing),
        tuple(round(value, 3) + 0.0 for value in first.orientation),
        frozenset(tuple(round(value, 1) + 0.0 for value in frame.position) for frame in frames),
        frozenset(round(frame.echo_time_ms or 0.0, 2) for frame in frames),
    )
