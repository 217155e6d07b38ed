"""Single attributes of an object, read leniently: for routing, and for objects that are no usable image."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.sequence import Sequence as DicomSequence

from dicom_io.errors import NotDicom
from dicom_io.instance import PARSING_FAILURES, open_instance, quietly

_UID = re.compile(r"[0-9.]{1,64}")
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


@dataclass(frozen=True)
class SeriesIdentity:
    """The UIDs of study and series, or None where the header holds none that could be one (PS3.5 9.1)."""

    study_instance_uid: str | None
    series_instance_uid: str | None


def read_header(path: Path) -> Dataset:
    """Return a file's header without pixel data; an empty one where it cannot be read."""
    try:
        return open_instance(path)
    except NotDicom:
        return Dataset()


def read_series_identity(path: Path) -> SeriesIdentity:
    """Return the UIDs of study and series of a file, without looking at anything else in it."""
    header = read_header(path)
    study, series = (attribute_values(header, keyword) for keyword in ("StudyInstanceUID", "SeriesInstanceUID"))
    return SeriesIdentity(_uid(study), _uid(series))


def attribute_values(header: Dataset, path: str) -> list[str | float]:
    """Return every value of an attribute: of the object itself, else of its functional groups, each value once.

    Parameters
    ----------
    header
        An object without its pixels.
    path
        A keyword, or for an attribute within sequences the keywords on the way to it with dots between; every item of
        each sequence is looked into.

    Numbers come as float, everything else as text without padding; a sequence has the number of its items as value.
    An absent or unreadable attribute has no values.
    """
    tags = [tag_for_keyword(keyword) for keyword in path.split(".")]
    known = [tag for tag in tags if tag is not None]
    if len(known) != len(tags):
        return []
    try:
        with quietly():
            values = [value for dataset in _holders(header, known[0]) for value in _values_at(dataset, known)]
    except PARSING_FAILURES:
        return []
    return list(dict.fromkeys(values))


def _values_at(dataset: Dataset, tags: Sequence[int]) -> Iterator[str | float]:
    if tags[0] not in dataset:
        return
    value = dataset[tags[0]].value
    if len(tags) > 1:
        for item in value or ():
            yield from _values_at(item, tags[1:])
    elif isinstance(value, DicomSequence):
        yield from [float(len(value))] if value else []
    else:
        yield from _plain(value)


def _holders(header: Dataset, tag: int) -> Iterator[Dataset]:
    if tag in header:
        yield header
        return
    for keyword in _GROUPS:
        for groups in header.get(keyword) or []:
            if tag in groups:
                yield groups
            for macro in groups:
                if macro.VR == "SQ" and macro.value and tag in macro.value[0]:
                    yield macro.value[0]


def _plain(value: object) -> Iterator[str | float]:
    if value is None or isinstance(value, bytes):
        return
    if isinstance(value, str | int | float):
        text = str(value).strip(" \0")
        if text:
            yield float(value) if isinstance(value, int | float) else text
    elif isinstance(value, list | tuple) or hasattr(value, "__iter__"):
        for part in value:
            if not isinstance(part, Dataset):
                yield from _plain(part)
    else:
        yield str(value).strip(" \0")


def _uid(values: list[str | float]) -> str | None:
    text = str(values[0]) if values else ""
    return text if _UID.fullmatch(text) else None
