"""Values that can be converted from their bytes alone: each once for all frames that hold the same bytes."""

import re
import struct
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_VR

from dicom_io.instance import PARSING_FAILURES, attribute
from dicom_io.read.elements import TAG, Elements

# The value representations whose bytes mean the same in every object.
PLAIN_VR = {"AS", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "SL", "SS", "TM", "UI", "UL", "US"}
TEXT_VR = {"LO", "SH"}
# Text of these letters only is the same in every character set.
LETTERS = re.compile(rb"[A-Za-z0-9 _.:+/-]*")
NUMBERS = {"FD": struct.Struct("<d"), "FL": struct.Struct("<f"), "UL": struct.Struct("<L"), "US": struct.Struct("<H")}
DECIMALS = re.compile(rb"-?[0-9]{1,8}(\.[0-9]{1,14})?(\\-?[0-9]{1,8}(\.[0-9]{1,14})?)+ ?")
CONVERTED_MAXIMUM = 4096


def is_plain(elements: Elements, key: int) -> bool:
    """Return whether the bytes of an element that is there mean the same in every object."""
    place = elements.layout.places[key]
    vr = elements.layout.vrs[place] or dictionary_VR(key & TAG)
    if vr in TEXT_VR:
        stored = elements.values[place]
        return isinstance(stored, bytes) and LETTERS.fullmatch(stored) is not None
    return vr in PLAIN_VR


def plain_attribute(elements: Elements, key: int, keyword: str) -> Any:
    """Return the value of a plain public element, or None where there is none.

    Raises
    ------
    ContradictoryHeader
        Its bytes are no value of its kind.
    """
    try:
        return plain_value(elements, key)
    except PARSING_FAILURES:
        element = elements.raw(key)
        return None if element is None else attribute(Dataset({element.tag: element}), keyword)


def plain_value(elements: Elements, key: int) -> Any:
    """Return the value of a plain element that is there, as pydicom converts it; it raises what pydicom raises."""
    layout = elements.layout
    place = layout.places[key]
    stored = elements.values[place]
    if not isinstance(stored, bytes):
        return None
    # The plainest numbers are converted here, because pydicom takes fifty times as long for them.
    form = NUMBERS.get(layout.vrs[place] or "")
    if form is not None and form.size == len(stored):
        return form.unpack(stored)[0]
    known = layout.converted
    if (key, stored) in known:
        return known[key, stored]
    value = _converted(elements, key, layout.vrs[place], stored)
    if len(known) > CONVERTED_MAXIMUM:
        known.clear()
    known[key, stored] = value
    return value


def _converted(elements: Elements, key: int, vr: str | None, stored: bytes) -> Any:
    if vr == "DS" and DECIMALS.fullmatch(stored):
        return tuple([float(number) for number in stored.split(b"\\")])
    element = elements.raw(key)
    return None if element is None else Dataset({element.tag: element})[element.tag].value
