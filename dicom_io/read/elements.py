"""The elements of an object or a frame as they lie in the file: told apart by tag, and not converted.

To convert a value costs far more than to compare its bytes, and the frames of a series hold the same bytes almost
everywhere. Only plain little endian items are cut here; whatever is written otherwise is left to pydicom as a whole.
"""

import struct
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

ITEM = 0xFFFEE000
FURTHER_ITEMS = 0xFFFEE00D
UNDEFINED_LENGTH = 0xFFFFFFFF
TAG = 0xFFFFFFFF
TAG_BITS = 32
CUTS_MAXIMUM = 4096
LONG_LENGTH = {vr.encode() for vr in EXPLICIT_VR_LENGTH_32}
IMPLICIT_HEADER = struct.Struct("<HHL")
EXPLICIT_HEADER = struct.Struct("<HH2sH")
LENGTH = struct.Struct("<L")

Piece = tuple[int, str | None, int, int]


class NotPlain(Exception):
    """The bytes are not written in the plain form that is cut here."""


class Layout:
    """Which elements there are, in order. A key is a tag; for the first item of a sequence it is both tags in one."""

    __slots__ = ("_creators", "_sequences", "converted", "keys", "places", "vrs")

    def __init__(self, keys: tuple[int, ...], vrs: tuple[str | None, ...]) -> None:
        self.keys = keys
        self.vrs = vrs
        self.places = {key: place for place, key in enumerate(keys)}
        # What plain bytes were converted to, by key and bytes.
        self.converted: dict[tuple[int, bytes], Any] = {}
        self._creators: dict[int, tuple[int, ...]] = {}
        self._sequences: frozenset[int] | None = None

    def creators(self, start: int) -> tuple[int, ...]:
        """Return the keys of the private creators of a group, in the sequence whose tag comes before it in `start`."""
        found = self._creators.get(start)
        if found is None:
            found = self._creators[start] = tuple(
                sorted(key for key in self.keys if start + 0x10 <= key <= start + 0xFF)
            )
        return found

    def has_items(self, key: int) -> bool:
        """Return whether the element is a sequence whose first item was cut as well."""
        if self._sequences is None:
            self._sequences = frozenset(key >> TAG_BITS for key in self.keys)
        return key in self._sequences

    def picker(
        self, is_wanted: Callable[[int, str | None], bool]
    ) -> tuple[Hashable, Callable[[Sequence[Hashable]], Hashable]]:
        """Return what tells the wanted elements from those of other layouts, and a function that picks their values."""
        places = [place for place, key in enumerate(self.keys) if is_wanted(key, self.vrs[place])]
        wanted = tuple((self.keys[place], self.vrs[place]) for place in places)
        return wanted, itemgetter(*places) if places else _nothing


def _nothing(values: Sequence[Hashable]) -> Hashable:
    return ()


@dataclass(frozen=True, slots=True)
class Elements:
    """Elements with their values: bytes as in the file, or what stands for a value that was converted before."""

    layout: Layout
    values: Sequence[Hashable]

    def bytes_of(self, key: int) -> bytes | None:
        """Return the bytes of an element's value, or None where there is none that was not converted."""
        place = self.layout.places.get(key)
        value = None if place is None else self.values[place]
        return value if isinstance(value, bytes) else None

    def raw(self, key: int) -> RawDataElement | None:
        """Return an element of little endian bytes, or None where there is none."""
        value = self.bytes_of(key)
        if value is None:
            return None
        vr = self.layout.vrs[self.layout.places[key]]
        return RawDataElement(BaseTag(key & TAG), vr, len(value), value, 0, vr is None, True)


class Layouts:
    """The layouts met so far, each kept once."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Layout] = {}

    def of(self, keys: tuple[int, ...], vrs: tuple[str | None, ...]) -> Layout:
        """Return the layout of these elements."""
        if len(self._known) > CUTS_MAXIMUM:
            self._known.clear()
        layout = self._known.get((keys, vrs))
        if layout is None:
            layout = self._known[keys, vrs] = Layout(keys, vrs)
        return layout

    def of_object(self, dataset: Dataset) -> Elements:
        """Return the elements of an object's top level; ask before its first value is converted."""
        elements = [item for _, item in dataset.items()]
        keys = tuple([int(item.tag) for item in elements])
        vrs = tuple([item.VR for item in elements])
        return Elements(self.of(keys, vrs), tuple([_comparable(item.value) for item in elements]))

    def of_item(self, item: Dataset) -> Elements:
        """Return the elements of a frame's item that pydicom has parsed, and those of the first items within it."""
        found = list(_flattened(item))
        keys, vrs = tuple([key for key, _, _ in found]), tuple([vr for _, vr, _ in found])
        return Elements(self.of(keys, vrs), tuple([value for _, _, value in found]))


def _comparable(value: object) -> Hashable:
    # Whatever else a converted value is, it equals no other, so nothing is concluded from it twice.
    return value if isinstance(value, bytes | str | int | float) else object()


def _flattened(item: Dataset) -> Iterator[tuple[int, str | None, Hashable]]:
    for tag, element in item.items():
        if element.VR == "SQ" and not isinstance(element.value, bytes):
            for first in (element.value or ())[:1]:
                for within, inner in first.items():
                    yield int(tag) << TAG_BITS | int(within), inner.VR, _comparable(inner.value)
        else:
            yield int(tag), element.VR, _comparable(element.value)


@dataclass(frozen=True, slots=True)
class _Cut:
    """A way to cut all items of one length whose bytes other than values are these."""

    form: struct.Struct
    headers: tuple[bytes, ...]
    layout: Layout


class Cutter:
    """Cuts the items of one sequence, each like one before it where possible."""

    def __init__(self, is_implicit: bool) -> None:
        self.is_implicit = is_implicit
        self._layouts = Layouts()
        self._cuts: dict[int, list[_Cut]] = {}

    def cut(self, item: bytes) -> Elements:
        """Return the elements of an item, and those of the first items within it.

        Raises
        ------
        NotPlain
            A length is undefined or reaches too far, an element comes twice, or bytes are no element.
        """
        for cut in self._cuts.get(len(item), ()):
            fields = cut.form.unpack(item)
            if fields[0::2] == cut.headers:
                return Elements(cut.layout, fields[1::2])
        return self._learn(item)

    def _learn(self, item: bytes) -> Elements:
        pieces = list(_pieces(item, 0, len(item), self.is_implicit))
        keys = tuple([key for key, _, _, _ in pieces])
        if len(set(keys)) < len(keys):
            raise NotPlain
        sizes, reached = [], 0
        for _, _, start, end in pieces:
            sizes += [start - reached, end - start]
            reached = end
        # What follows the last value is a header without a value, such as that of an empty sequence.
        form = struct.Struct("<" + "".join(f"{size}s" for size in (*sizes, len(item) - reached, 0)))
        fields = form.unpack(item)
        layout = self._layouts.of((*keys, 0), (*[vr for _, vr, _, _ in pieces], None))
        if sum(map(len, self._cuts.values())) > CUTS_MAXIMUM:
            self._cuts.clear()
        self._cuts.setdefault(len(item), []).append(_Cut(form, fields[0::2], layout))
        return Elements(layout, fields[1::2])


def items_of(sequence: bytes) -> list[bytes]:
    """Return the items of a sequence of defined lengths, without their own headers.

    Raises
    ------
    NotPlain
        A length is undefined or reaches too far.
    """
    found, at = [], 0
    while at < len(sequence):
        start, end = _item(sequence, at, len(sequence))
        found.append(sequence[start:end])
        at = end
    return found


def _item(within: bytes, at: int, end: int) -> tuple[int, int]:
    if at + 8 > end:
        raise NotPlain
    group, element, length = IMPLICIT_HEADER.unpack_from(within, at)
    if group << 16 | element != ITEM or length == UNDEFINED_LENGTH or at + 8 + length > end:
        raise NotPlain
    return at + 8, at + 8 + length


def _pieces(item: bytes, at: int, end: int, is_implicit: bool, sequence: int = 0) -> Iterator[Piece]:
    while at < end:
        tag, vr, start, stop = _element(item, at, end, is_implicit)
        if sequence or vr != "SQ":
            # A sequence written as unknown bytes is one to pydicom, but could not be looked into here.
            if not sequence and vr != "SQ" and _is_sequence(tag):
                raise NotPlain
            yield sequence << TAG_BITS | tag, vr, start, stop
        elif start < stop:
            first, rest = _item(item, start, stop)
            yield from _pieces(item, first, rest, is_implicit, tag)
            if rest < stop:
                yield tag << TAG_BITS | FURTHER_ITEMS, None, rest, stop
        at = stop


def _element(item: bytes, at: int, end: int, is_implicit: bool) -> tuple[int, str | None, int, int]:
    if at + 8 > end:
        raise NotPlain
    vr: str | None = None
    if is_implicit:
        group, element, length = IMPLICIT_HEADER.unpack_from(item, at)
        start = at + 8
        vr = "SQ" if _is_sequence(group << 16 | element) else None
    else:
        group, element, written, length = EXPLICIT_HEADER.unpack_from(item, at)
        start = at + 8
        if not (written.isalpha() and written.isupper()):
            raise NotPlain
        if written in LONG_LENGTH:
            start = at + 12
            if start > end:
                raise NotPlain
            (length,) = LENGTH.unpack_from(item, at + 8)
        vr = written.decode("ascii")
    if group == ITEM >> 16 or start + length > end:
        raise NotPlain
    return group << 16 | element, vr, start, start + length


def _is_sequence(tag: int) -> bool:
    return dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ"
