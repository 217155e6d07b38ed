"""Private attributes looked up in the bytes of an item, where they are plain enough to need no parsing."""

from collections.abc import Callable, Hashable, Iterator
from typing import Any

from dicom_io.instance import PARSING_FAILURES
from dicom_io.read.elements import TAG_BITS, Elements
from dicom_io.read.plain_values import PLAIN_VR, plain_value

CREATOR_VR, OPAQUE_VR = "LO", "OB"
FIRST_BLOCK, LAST_BLOCK = 0x10, 0xFF
SEARCHED_MAXIMUM = 4096


class NotDecided(Exception):
    """The bytes alone do not tell; pydicom must parse the item."""


def private_key(elements: Elements, creator: str, group: int, offset: int, sequence: int = 0) -> int | None:
    """Return the key of a private element in an item, or in the first item of one of its sequences, or None.

    Raises
    ------
    NotDecided
        A creator before the one that is asked for is not written plainly.
    """
    start = sequence << TAG_BITS | group << 16
    for key in elements.layout.creators(start):
        written = elements.bytes_of(key)
        if written is None or elements.layout.vrs[elements.layout.places[key]] != CREATOR_VR or not written.isascii():
            raise NotDecided
        if written.rstrip(b"\0 ") == creator.encode("ascii"):
            return start | (key & LAST_BLOCK) << 8 | offset
    return None


def remembered(
    elements: Elements, question: Hashable, search: Callable[[], Iterator[int | None]]
) -> tuple[int | None, ...]:
    """Return the keys that a search finds, which depend on layout and creators alone; a last None is "not decided"."""
    layout = elements.layout
    asked = question, layout.pick_creators(elements.values)
    found = layout.searched.get(asked)
    if found is None:
        if len(layout.searched) > SEARCHED_MAXIMUM:
            layout.searched.clear()
        found = layout.searched[asked] = tuple(_decided(search()))
    return found


def _decided(search: Iterator[int | None]) -> Iterator[int | None]:
    try:
        yield from (key for key in search if key is not None)
    except NotDecided:
        yield None


def private_value(elements: Elements, key: int) -> tuple[bool, Any]:
    """Return whether there is a value under a key, and the value.

    Raises
    ------
    NotDecided
        The value is a sequence, text in some character set, or of an unknown kind.
    """
    layout = elements.layout
    place = layout.places.get(key)
    stored = None if place is None else elements.values[place]
    if place is None or not isinstance(stored, bytes):
        if layout.has_items(key):
            raise NotDecided
        return False, None
    vr = layout.vrs[place]
    if vr == OPAQUE_VR:
        return True, stored
    if vr not in PLAIN_VR:
        raise NotDecided
    try:
        return True, plain_value(elements, key)
    except PARSING_FAILURES:
        return False, None
