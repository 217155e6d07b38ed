"""Find the acquisitions in a folder: group files by series, put series together or take them apart, refuse the rest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_io.errors import DicomError, NotDicom, UnsupportedObject
from dicom_io.instance import attribute, open_instance, quietly, text
from dicom_io.read.assembly import Instance, assemble
from dicom_io.read.conclusions import Conclusions
from dicom_io.read.grouping import Key, group_series
from dicom_io.read.headers import FrameHeader, read_frame_headers
from dicom_io.read.multiframe import MULTI_FRAME
from dicom_io.read.separation import SEPARABLE, Share, separate
from dicom_io.read.sorting import assess

PREAMBLE = 128
MAGIC = b"DICM"
ENVELOPE = 1024
MEDIA_STORAGE_DIRECTORY = b"1.2.840.10008.1.3.10"


@dataclass(frozen=True)
class FoundAcquisition:
    """One acquisition, or one series or file that cannot become a map; `refusal` says why.

    `frames[i]` are the headers of the frames in `paths[i]`; it is empty where the files hold no MR images. Where one
    series holds several scans, `share` says which of them this is.
    """

    series_uids: tuple[str, ...]
    description: str
    paths: tuple[Path, ...]
    refusal: DicomError | None
    frames: tuple[tuple[FrameHeader, ...], ...] = ()
    share: Share | None = None


def find_acquisitions(folder: Path, on_progress: Callable[[float], None] | None = None) -> list[FoundAcquisition]:
    """Find every acquisition below a folder, the usable ones first.

    Parameters
    ----------
    folder
        Where to look, in all folders within as well; or one file.
    on_progress
        Called with the share of files, 0 to 1, that have been looked at.

    Series are put together as `dicom_io.read.grouping.group_series` says, and one that holds several scans is taken
    apart as `dicom_io.read.separation.separate` says.
    """
    series: dict[Key, list[Instance]] = {}
    conclusions = Conclusions()
    found: list[FoundAcquisition] = []
    others: dict[str, tuple[list[Path], DicomError]] = {}
    damaged: dict[tuple[str, type[DicomError]], tuple[list[Path], DicomError]] = {}
    paths = [folder] if folder.is_file() else sorted(item for item in folder.rglob("*") if item.is_file())
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
            if not isinstance(unreadable, NotDicom) or (_claims_to_be_dicom(path) and not _is_directory(path)):
                reason = type(unreadable)(f"{path.name}: {unreadable}")
                alike = _series_uid(path) or path.as_posix(), type(reason)
                damaged.setdefault(alike, ([], reason))[0].append(path)
    for of_series, refusal in damaged.values():
        what = "unreadable object" if len(of_series) == 1 else "unreadable objects"
        found.append(FoundAcquisition((), what, tuple(of_series), refusal))
    for uid, (of_series, refusal) in others.items():
        found.append(FoundAcquisition((uid,), "no MR images", tuple(of_series), refusal))
    for group in group_series(series):
        found += _found([one for key in group for one in series[key]])
    return sorted(found, key=_usable_first)


def _usable_first(found: FoundAcquisition) -> tuple[bool, tuple[str, ...], int]:
    return found.refusal is not None, found.series_uids, found.share.number if found.share else 0


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


def _found(instances: Sequence[Instance]) -> list[FoundAcquisition]:
    """Return the acquisition that some series form, or each of them where the series hold several scans."""
    refusal: DicomError | None = None
    try:
        assemble(instances)
    except SEPARABLE as reason:
        shares = separate(instances)
        if shares:
            return [_described(share.of(instances), None, share) for share in shares]
        refusal = reason
    except DicomError as reason:
        refusal = reason
    return [_described(instances, refusal)]


def _is_directory(path: Path) -> bool:
    """Return whether a file is the DICOMDIR of a medium, which lists its objects and is none itself (PS3.10 8.6)."""
    with path.open("rb") as stream:
        return MEDIA_STORAGE_DIRECTORY in stream.read(ENVELOPE)


def _described(
    instances: Sequence[Instance], refusal: DicomError | None, share: Share | None = None
) -> FoundAcquisition:
    frames = [frame for instance in instances for frame in instance.frames]
    which = f"{share.title}, " if share else ""
    return FoundAcquisition(
        tuple(sorted({frame.series_instance_uid for frame in frames})),
        f"{frames[0].vendor or 'unknown manufacturer'}, {which}{assess(frames).sentence}",
        tuple(instance.path for instance in instances),
        refusal,
        tuple(instance.frames for instance in instances),
        share,
    )
