"""Private attributes looked up in the bytes of an item, where they are plain enough to need no parsing."""

from typing import Any

from pydicom import Dataset
from pydicom.tag import BaseTag

from dicom_io.instance import PARSING_FAILURES
from dicom_io.read.elements import TAG_BITS, Elements

CREATOR_VR = "LO"
FIRST_BLOCK, LAST_BLOCK = 0x10, 0xFF
# The value representations whose bytes mean the same in every object.
PLAIN_VR = {"AS", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "SL", "SS", "TM", "UI", "UL", "US"}


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


def private_value(elements: Elements, key: int | None) -> tuple[bool, Any]:
    """Return whether there is a value under a key, and the value.

    Raises
    ------
    NotDecided
        The value is a sequence, text in some character set, or of an unknown kind.
    """
    element = None if key is None else elements.raw(key)
    if element is None:
        if key is not None and elements.layout.has_items(key):
            raise NotDecided
        return False, None
    if element.VR not in PLAIN_VR:
        raise NotDecided
    try:
        return True, Dataset({element.tag: element})[BaseTag(element.tag)].value
    except PARSING_FAILURES:
        return False, None
