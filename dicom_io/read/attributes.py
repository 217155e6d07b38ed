"""Single attributes of an object, read leniently: for routing, and for objects that are no usable image."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

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


def attribute_values(header: Dataset, keyword: str) -> list[str | float]:
    """Return every value of an attribute: of the object itself, else of its functional groups, each value once.

    Numbers come as float, everything else as text without padding. An absent or unreadable attribute has no values.
    """
    tag = tag_for_keyword(keyword)
    if tag is None:
        return []
    try:
        with quietly():
            values = [value for dataset in _holders(header, tag) for value in _plain(dataset[tag].value)]
    except PARSING_FAILURES:
        return []
    return list(dict.fromkeys(values))


def _holders(header: Dataset, tag: int) -> Iterator[Dataset]:
    if tag in header:
        yield header
        return
    for keyword in _GROUPS:
        for groups in header.get(keyword) or []:
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
