"""Opening one DICOM object with care: whatever is wrong with its bytes becomes a named refusal, never a surprise."""

import math
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any

import pydicom
from pydicom import Dataset
from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_io.errors import ContradictoryHeader, DicomError, MissingAttribute, NotDicom

PARSING_FAILURES = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)

IDENTITY = ("SOPClassUID", "SOPInstanceUID")
DEFLATED = b"\x02\x00\x10\x00UI" + bytes([22, 0]) + DeflatedExplicitVRLittleEndian.encode()
META_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"
META_START = 4096
CHUNK = 1 << 20
INFLATED_FREELY = 64 << 20
INFLATED_MOST = 30

_warning_filters = threading.RLock()


@contextmanager
def quietly() -> Iterator[None]:
    """Parse without pydicom's warnings: what matters of them is refused here with a class of its own."""
    # The interpreter's list of warning filters is shared by all threads, so one thread at a time may replace it.
    with _warning_filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class SurvivingPanics(AbstractContextManager[None]):
    """Turns the panic of a decoder that is written in Rust, which is no `Exception`, into one of `PARSING_FAILURES`."""

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raise what can be refused in place of a panic."""
        if kind is not None and kind.__module__ == "pyo3_runtime":
            raise RuntimeError("The decoder gave up.") from failure


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Begin every refusal from the block with the name of the file it is about."""
    try:
        yield
    except DicomError as refusal:
        raise type(refusal)(f"{name}: {refusal}") from refusal


def open_instance(source: Path | bytes | Dataset, only: Sequence[str] | None = None) -> Dataset:
    """Read one DICOM object: its header without pixels, or `only` the attributes with these keywords.

    A stream without the Part 10 preamble is read as well, when it turns out to hold an object with its identity.

    Raises
    ------
    NotDicom
        The bytes are no DICOM object, or end before its identity does.
    """
    if isinstance(source, Dataset):
        return source
    try:
        with quietly():
            dataset = _parse(source, only)
            has_identity = bool(dataset.get("SOPClassUID")) and bool(dataset.get("SOPInstanceUID"))
    except FileNotFoundError as absent:
        raise NotDicom("The file does not exist; name an existing one.") from absent
    except PARSING_FAILURES as failure:
        raise NotDicom("The bytes cannot be read as DICOM; ask the sender to send the object again.") from failure
    if not has_identity:
        raise NotDicom(
            f"It holds no {named('SOPClassUID')} and {named('SOPInstanceUID')}, so it is no stored DICOM object; "
            "ask the sender to send it again."
        )
    return dataset


def _parse(source: Path | bytes, only: Sequence[str] | None) -> Dataset:
    stream: Any = BytesIO(source) if isinstance(source, bytes) else source
    _require_bounded(source)
    wanted = [*only, *IDENTITY] if only else None
    try:
        return pydicom.dcmread(stream, stop_before_pixels=only is None, specific_tags=wanted)
    except InvalidDicomError:
        if isinstance(stream, BytesIO):
            stream.seek(0)
        return pydicom.dcmread(stream, stop_before_pixels=only is None, specific_tags=wanted, force=True)


def _require_bounded(source: Path | bytes) -> None:
    """Raise ValueError for a deflated object that would grow beyond any image (PS3.5 A.5), before pydicom inflates it.

    Deflate makes zeros a thousand times smaller, so a file of megabytes could ask for gigabytes.
    """
    with BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
        start = stream.read(META_START)
        at = start.find(DEFLATED)
        length_at = start.find(META_LENGTH, 132, 144)
        if at < 0 or length_at < 0:
            return
        stream.seek(length_at + 12 + int.from_bytes(start[length_at + 8 : length_at + 12], "little"))
        inflater, size, packed = zlib.decompressobj(-zlib.MAX_WBITS), 0, 0
        pending = stream.read(CHUNK)
        while pending and not inflater.eof:
            packed += len(pending)
            while pending and not inflater.eof:
                size += len(inflater.decompress(pending, CHUNK))
                pending = inflater.unconsumed_tail
                if size > max(INFLATED_FREELY, INFLATED_MOST * packed):
                    raise ValueError("the deflated data set grows beyond any image")
            pending = stream.read(CHUNK)


def attribute(dataset: Dataset, keyword: str) -> Any:
    """Return the value of an attribute, or None when it is absent.

    Raises
    ------
    ContradictoryHeader
        Its bytes are no value of its kind; pydicom converts them at the first use only.
    """
    try:
        return dataset[keyword].value if keyword in dataset else None
    except PARSING_FAILURES as failure:
        raise ContradictoryHeader(
            f"{named(keyword)} holds bytes that are no value of its kind; ask the sender for intact headers."
        ) from failure


def named(keyword: str) -> str:
    """Return an attribute's name and tag for a sentence, such as "Echo Time (0018,0081)"."""
    tag = Tag(tag_for_keyword(keyword) or 0)
    return f"{dictionary_description(tag)} ({tag.group:04X},{tag.element:04X})"


def text(value: object) -> str:
    """Return an attribute's value as stripped text, empty when it has none."""
    return "" if value is None else str(value).strip()


def words(value: object) -> tuple[str, ...]:
    """Return the values of a multi-valued code string in upper case, without empty ones."""
    if value is None:
        return ()
    items = [value] if isinstance(value, str) else list(value) if hasattr(value, "__iter__") else [value]
    return tuple(text(item).upper() for item in items if text(item))


def number(value: Any, keyword: str) -> float | None:
    """Return an attribute's value as a finite number, or None when it is absent or empty.

    Raises
    ------
    ContradictoryHeader
        The value is there, but is no finite number.
    """
    if type(value) is float and math.isfinite(value):
        return value
    values = numbers(value, keyword)
    return values[0] if values else None


def numbers(value: Any, keyword: str, count: int | None = None) -> tuple[float, ...]:
    """Return an attribute's values as finite numbers; empty when it is absent, else `count` of them.

    Raises
    ------
    ContradictoryHeader
        A value is no finite number, or there are more or fewer than `count`.
    """
    if value is None or (not isinstance(value, int | float) and text(value) == ""):
        return ()
    items = list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
    try:
        found = tuple(float(item) for item in items)
    except (TypeError, ValueError) as failure:
        raise ContradictoryHeader(f"{named(keyword)} is no number; ask the sender for intact headers.") from failure
    if not all(math.isfinite(item) for item in found) or (count is not None and len(found) != count):
        expected = f"{count} finite numbers" if count else "a finite number"
        raise ContradictoryHeader(f"{named(keyword)} is not {expected}; ask the sender for intact headers.")
    return found


def required(value: tuple[float, ...] | float | str | None, keyword: str, reason: str) -> Any:
    """Return `value`, or refuse the object because an attribute that decides the reading is absent.

    Raises
    ------
    MissingAttribute
        The value is None or empty.
    """
    if value is None or value == () or value == "":
        raise MissingAttribute(f"{named(keyword)} is absent, and {reason}; ask the sender for complete headers.")
    return value
