"""Opening an image object without converting a value: its elements cut from the file, its pixels left where they are.

Only plain files are cut here: Part 10 with a preamble, little endian, not deflated, every length defined, every tag
once and in order. pydicom opens all others, and also these as soon as a question needs more than plain values.
"""

import os
import struct
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cache, partial
from io import FileIO
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import UID, ImplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

from dicom_io.instance import attribute, open_instance, text
from dicom_io.read.elements import (
    EXPLICIT_HEADER,
    IMPLICIT_HEADER,
    LENGTH,
    UNDEFINED_LENGTH,
    Elements,
    Layouts,
    NotPlain,
)

PREAMBLE, MAGIC = 128, b"DICM"
META_GROUP = b"\x02\x00"
DELIMITERS = 0xFFFE
FIRST_TAG = 0x00080000
TRANSFER_SYNTAX = 0x00020010
CHARACTER_SET, PIXEL_REPRESENTATION = 0x00080005, 0x00280103
IDENTITY = (0x00080016, 0x00080018)
PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
PIXEL_DATA, WORDS = b"\xe0\x7f\x10\x00", (b"OW", b"OB")
READ_AT_ONCE = 1 << 14
SHORT = {vr.encode(): str(vr) for vr in EXPLICIT_VR_LENGTH_16}
LONG = {vr.encode(): str(vr) for vr in EXPLICIT_VR_LENGTH_32}


@dataclass(frozen=True, slots=True)
class PixelPlace:
    """Where the value of Pixel Data lies in a file of `file_size` bytes, and its length as written."""

    offset: int
    length: int
    file_size: int
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class Opened:
    """An object's top level: its elements, what the meaning of their bytes depends on besides, and a way to parse it.

    `pixels` is None where only pydicom finds them, `is_as_stored` false for a data set that was parsed elsewhere.
    """

    elements: Elements
    context: Hashable
    transfer_syntax: str
    is_implicit: bool
    is_little_endian: bool
    parse: Callable[[], Dataset]
    parsed: Dataset | None = None
    pixels: PixelPlace | None = None
    is_as_stored: bool = True


def open_object(source: Path | bytes | Dataset, layouts: Layouts) -> Opened:
    """Open an image object.

    Raises
    ------
    NotDicom
        The bytes are no DICOM object.
    """
    if isinstance(source, Path):
        try:
            return _cut(source, layouts)
        except (NotPlain, OSError, struct.error):
            pass
    dataset = open_instance(source)
    # Asked first, because pydicom puts a converted value in the place of its bytes.
    elements = layouts.of_object(dataset)
    charset = dataset.original_character_set
    meta = getattr(dataset, "file_meta", None)
    syntax = text(attribute(meta, "TransferSyntaxUID")) if meta is not None else ""
    context = (
        dataset.original_encoding,
        charset if isinstance(charset, str) else tuple(charset or ()),
        text(attribute(dataset, "PixelRepresentation")),
        syntax,
    )
    is_implicit, is_little_endian = dataset.original_encoding
    return Opened(
        elements,
        context,
        syntax,
        bool(is_implicit),
        bool(is_little_endian),
        partial(_self, dataset),
        dataset,
        is_as_stored=not isinstance(source, Dataset),
    )


def _self(dataset: Dataset) -> Dataset:
    return dataset


def _cut(path: Path, layouts: Layouts) -> Opened:
    with path.open("rb", buffering=0) as stream:
        header = _Header(stream, os.fstat(stream.fileno()).st_size)
        syntax = header.transfer_syntax()
        if not _is_plain(syntax):
            raise NotPlain
        tags, vrs, values = header.elements(syntax == ImplicitVRLittleEndian)
        pixels = header.pixels(syntax)
    elements = Elements(layouts.of(tuple(tags), tuple(vrs)), tuple(values))
    stated = [elements.bytes_of(tag) for tag in (*IDENTITY, CHARACTER_SET, PIXEL_REPRESENTATION)]
    if not all((value or b"").strip(b"\0 ") for value in stated[: len(IDENTITY)]):
        raise NotPlain
    context = (syntax, *stated[len(IDENTITY) :])
    is_implicit = syntax == ImplicitVRLittleEndian
    return Opened(elements, context, syntax, is_implicit, True, cache(partial(open_instance, path)), None, pixels)


@cache
def _is_plain(syntax: str) -> bool:
    uid = UID(syntax)
    return uid.is_transfer_syntax and not uid.is_deflated and uid.is_little_endian


class _Header:
    """The bytes of a file up to its pixels, read as far as they are needed."""

    def __init__(self, stream: FileIO, size: int) -> None:
        self._stream = stream
        self._size = size
        self._content = stream.read(READ_AT_ONCE)
        self._at = PREAMBLE + len(MAGIC)
        if self._content[PREAMBLE : self._at] != MAGIC:
            raise NotPlain

    def transfer_syntax(self) -> str:
        """Pass over the File Meta Information and return its TransferSyntaxUID."""
        syntax = b""
        while True:
            # The data set may begin without value representations, so its first tag is all that is looked at.
            if self._content[self._at : self._at + 2] != META_GROUP:
                return syntax.decode("ascii", "replace").rstrip("\0 ")
            tag, _, start, end = self._element(is_implicit=False)
            if tag == TRANSFER_SYNTAX:
                syntax = self._content[start:end]
            self._at = end

    def elements(self, is_implicit: bool) -> tuple[list[int], list[str | None], list[bytes]]:
        """Return tags, value representations and values up to the pixels."""
        tags: list[int] = []
        vrs: list[str | None] = []
        values: list[bytes] = []
        last = FIRST_TAG - 1
        while self._at < self._size:
            tag, vr, start, end = self._element(is_implicit)
            if tag in PIXELS:
                break
            if tag <= last:
                raise NotPlain
            last = tag
            tags.append(tag)
            vrs.append(vr)
            values.append(self._content[start:end])
            self._at = end
        return tags, vrs, values

    def pixels(self, syntax: str) -> PixelPlace | None:
        """Return where the pixels lie, or None where the next element is not Pixel Data."""
        header = self._content[self._at : self._at + 12]
        if syntax == ImplicitVRLittleEndian:
            is_here, offset, length = header[:4] == PIXEL_DATA, self._at + 8, header[4:8]
        else:
            is_here, offset, length = header[:4] == PIXEL_DATA and header[4:6] in WORDS, self._at + 12, header[8:12]
        if not is_here or len(length) < 4:
            return None
        return PixelPlace(offset, int.from_bytes(length, "little"), self._size, syntax)

    def _element(self, is_implicit: bool) -> tuple[int, str | None, int, int]:
        at = self._at
        if at + 12 > len(self._content):
            self._read_to(min(at + 12, self._size))
        vr: str | None = None
        if is_implicit:
            group, element, length = IMPLICIT_HEADER.unpack_from(self._content, at)
            start = at + 8
        else:
            group, element, written, length = EXPLICIT_HEADER.unpack_from(self._content, at)
            start = at + 8
            vr = SHORT.get(written)
            if vr is None:
                vr = LONG.get(written)
                if vr is None:
                    raise NotPlain
                (length,) = LENGTH.unpack_from(self._content, at + 8)
                start = at + 12
        tag = group << 16 | element
        if tag in PIXELS:
            return tag, vr, start, start
        end = start + length
        if length == UNDEFINED_LENGTH or group == DELIMITERS:
            raise NotPlain
        if end > len(self._content):
            self._read_to(end)
        return tag, vr, start, end

    def _read_to(self, end: int) -> None:
        if end > self._size:
            raise NotPlain
        self._content += self._stream.read(max(end - len(self._content), len(self._content)))
        if end > len(self._content):
            raise NotPlain
