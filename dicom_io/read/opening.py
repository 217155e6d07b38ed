"""Opening an image object without converting a value: its elements cut from the file, its pixels left where they are.

Only plain files are cut here: Part 10 with a preamble, little endian, not deflated, every tag once and in order, and no
undefined length but that of sequences and their items. pydicom opens all others; of these it converts single values, as
soon as a question needs more than plain ones.
"""

import os
import struct
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from io import FileIO
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.charset import convert_encodings, default_encoding
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement, empty_value_for_VR
from pydicom.dataset import FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import UID, ImplicitVRLittleEndian

from dicom_io.errors import DicomError
from dicom_io.instance import PARSING_FAILURES, attribute, open_instance, text
from dicom_io.read.cutting import (
    DELIMITERS,
    EXPLICIT_HEADER,
    IMPLICIT_HEADER,
    LENGTH,
    LONG,
    SEQUENCE_END,
    SHORT,
    UNDEFINED_LENGTH,
    CutItem,
    Cutter,
    Incomplete,
    NotPlain,
    Walk,
    is_sequence,
    is_sequence_end,
)
from dicom_io.read.elements import Elements, Layouts

Written = tuple[int, str | None, Any]

PREAMBLE, MAGIC = 128, b"DICM"
META_GROUP = b"\x02\x00"
FIRST_TAG = 0x00080000
TRANSFER_SYNTAX = 0x00020010
CHARACTER_SET, PIXEL_REPRESENTATION = 0x00080005, 0x00280103
IDENTITY = (0x00080016, 0x00080018)
PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
PIXEL_DATA, WORDS = b"\xe0\x7f\x10\x00", (b"OW", b"OB")
READ_AT_ONCE = 1 << 14
FRAMES = tag_for_keyword("PerFrameFunctionalGroupsSequence")


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

    `items` are those of sequences that were cut together with the top level. `pixels` is None where only pydicom finds
    them, `is_as_stored` false for a data set that was parsed elsewhere.
    """

    elements: Elements
    context: Hashable
    transfer_syntax: str
    is_implicit: bool
    is_little_endian: bool
    parse: Callable[[], Dataset]
    layouts: Layouts
    parsed: Dataset | None = None
    items: Mapping[int, Sequence[CutItem]] = field(default_factory=dict)
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
        layouts,
        dataset,
        is_as_stored=not isinstance(source, Dataset),
    )


def _self(dataset: Dataset) -> Dataset:
    return dataset


def _cut(path: Path, layouts: Layouts) -> Opened:
    with path.open("rb", buffering=0) as stream:
        header = _Header(stream, os.fstat(stream.fileno()).st_size, layouts)
        syntax = header.transfer_syntax()
        if not _is_plain(syntax):
            raise NotPlain
        is_implicit = syntax == ImplicitVRLittleEndian
        tags, vrs, values = header.elements(is_implicit)
        pixels = header.pixels(syntax)
    elements = Elements(layouts.of(tuple(tags), tuple(vrs)), tuple(values))
    stated = [elements.bytes_of(tag) for tag in (*IDENTITY, CHARACTER_SET, PIXEL_REPRESENTATION)]
    if not all((value or b"").strip(b"\0 ") for value in stated[: len(IDENTITY)]):
        raise NotPlain
    context = (syntax, *stated[len(IDENTITY) :])
    parse = cache(partial(_parsed, path, elements, header.meta, is_implicit))
    return Opened(elements, context, syntax, is_implicit, True, parse, layouts, None, header.items, pixels)


def _parsed(path: Path, elements: Elements, meta: Iterable[Written], is_implicit: bool) -> Dataset:
    """Return what pydicom would have read up to the pixels; it converts each value when it is asked for."""
    layout = elements.layout
    dataset = Dataset(_raw(zip(layout.keys, layout.vrs, elements.values, strict=True), is_implicit))
    try:
        names = attribute(dataset, "SpecificCharacterSet")
        dataset.set_original_encoding(is_implicit, True, convert_encodings(names) if names else default_encoding)
    except (DicomError, *PARSING_FAILURES):
        return open_instance(path)
    dataset.file_meta = FileMetaDataset(_raw(meta, is_implicit=False))
    return dataset


def _raw(elements: Iterable[Written], is_implicit: bool) -> dict[BaseTag, RawDataElement]:
    found = {}
    for tag, vr, value in elements:
        written = value or empty_value_for_VR(vr, raw=True)
        found[BaseTag(tag)] = RawDataElement(BaseTag(tag), vr, len(value), written, 0, is_implicit, True)
    return found


@cache
def _is_plain(syntax: str) -> bool:
    uid = UID(syntax)
    return uid.is_transfer_syntax and not uid.is_deflated and uid.is_little_endian


class _Header:
    """The bytes of a file up to its pixels, read as far as they are needed."""

    def __init__(self, stream: FileIO, size: int, layouts: Layouts) -> None:
        self._stream = stream
        self._size = size
        self._layouts = layouts
        self.meta: list[Written] = []
        self.items: dict[int, list[CutItem]] = {}
        self._content = stream.read(READ_AT_ONCE)
        self._at = PREAMBLE + len(MAGIC)
        if self._content[PREAMBLE : self._at] != MAGIC:
            raise NotPlain

    def transfer_syntax(self) -> str:
        """Read the File Meta Information and return its TransferSyntaxUID."""
        # The data set may begin without value representations, so its first tag is all that is looked at.
        while self._content[self._at : self._at + 2] == META_GROUP:
            tag, vr, start, end = self._element(is_implicit=False)
            if end is None:
                raise NotPlain
            self.meta.append((tag, vr, self._content[start:end]))
            self._at = end
        syntax = b"".join(value for tag, _, value in self.meta if tag == TRANSFER_SYNTAX)
        return syntax.decode("ascii", "replace").rstrip("\0 ")

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
            if end is None:
                end = self._past_sequence(tag, start, is_implicit)
                values.append(self._content[start:end])
                end += len(SEQUENCE_END)
            else:
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

    def _past_sequence(self, tag: int, start: int, is_implicit: bool) -> int:
        """Return where the items of a sequence of undefined length end; cut those that describe frames."""
        cutter, at = Cutter(is_implicit, self._layouts), start
        items: list[CutItem] = []
        while True:
            try:
                if tag != FRAMES:
                    return Walk(self._content, is_implicit).past_items(start)
                if is_sequence_end(self._content, at):
                    break
                item, at = cutter.item(self._content, at)
                items.append(item)
            except Incomplete:
                self._read_to(len(self._content) + 1)
        self.items[tag] = items
        return at

    def _element(self, is_implicit: bool) -> tuple[int, str | None, int, int | None]:
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
        if group == DELIMITERS:
            raise NotPlain
        if length == UNDEFINED_LENGTH:
            if vr != "SQ" and not (is_implicit and is_sequence(tag)):
                raise NotPlain
            return tag, vr, start, None
        end = start + length
        if end > len(self._content):
            self._read_to(end)
        return tag, vr, start, end

    def _read_to(self, end: int) -> None:
        if end > self._size:
            raise NotPlain
        self._content += self._stream.read(max(end - len(self._content), len(self._content)))
        if end > len(self._content):
            raise NotPlain
