"""The elements of an object or a frame as they lie in the file: told apart by tag, and not converted.

To convert a value costs far more than to compare its bytes, and the frames of a series hold the same bytes almost
everywhere.
"""

import struct
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

FURTHER_ITEMS = 0xFFFEE00D
TAG = 0xFFFFFFFF
TAG_BITS = 32
ODD_GROUP, ELEMENT, LAST_BLOCK = 0x10000, 0xFFFF, 0xFF
LAYOUTS_MAXIMUM = 4096


class Layout:
    """Which elements there are, in order. A key is a tag; for the first item of a sequence it is both tags in one."""

    def __init__(self, keys: tuple[int, ...], vrs: tuple[str | None, ...]) -> None:
        self.keys = keys
        self.vrs = vrs
        self.places = {key: place for place, key in enumerate(keys)}
        # What plain bytes were converted to, by key and bytes.
        self.converted: dict[tuple[int, bytes], Any] = {}
        # Where private elements were found, by what was searched and who owns the blocks.
        self.searched: dict[Hashable, tuple[int | None, ...]] = {}
        # The first items of sequences as data sets, by sequence and bytes.
        self.first_items: dict[Hashable, Dataset | None] = {}
        creators = [place for place, key in enumerate(keys) if is_creator(key)]
        self.pick_creators: Callable[[Sequence[Hashable]], Hashable] = itemgetter(*creators) if creators else _nothing
        self._creators: dict[int, tuple[int, ...]] = {}

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
        return key in self._places_within

    def within(self, sequence: int) -> Sequence[int]:
        """Return the places of the elements of a sequence's first item."""
        return self._places_within.get(sequence, ())

    @cached_property
    def _places_within(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for place, key in enumerate(self.keys):
            found.setdefault(key >> TAG_BITS, []).append(place)
        return found

    def picker(
        self, is_wanted: Callable[[int, str | None], bool]
    ) -> tuple[Hashable, Callable[[Sequence[Hashable]], Hashable]]:
        """Return what tells the wanted elements from those of other layouts, and a function that picks their values."""
        places = [place for place, key in enumerate(self.keys) if is_wanted(key, self.vrs[place])]
        wanted = tuple((self.keys[place], self.vrs[place]) for place in places)
        return wanted, itemgetter(*places) if places else _nothing


def is_creator(key: int) -> bool:
    """Return whether an element names the owner of a private block (PS3.5 7.8.1)."""
    return bool(key & ODD_GROUP and 0 < key & ELEMENT <= LAST_BLOCK and key & TAG)


def _nothing(values: Sequence[Hashable]) -> Hashable:
    return ()


@dataclass(slots=True)
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


@dataclass(frozen=True, slots=True)
class Cut:
    """A way to cut items of one size whose bytes other than values are these.

    `open_fields` are values of sequences whose end a delimiter tells, `seen` such values that were walked through.
    """

    form: struct.Struct
    headers: tuple[bytes, ...]
    layout: Layout
    open_fields: tuple[int, ...]
    seen: set[bytes]


class Layouts:
    """The layouts met so far, each kept once, and by implicit or explicit form and by size the ways to cut items."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Layout] = {}
        self.cuts: dict[bool, dict[int, list[Cut]]] = {}

    def of(self, keys: tuple[int, ...], vrs: tuple[str | None, ...]) -> Layout:
        """Return the layout of these elements."""
        if len(self._known) > LAYOUTS_MAXIMUM:
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
