"""Do the bytes of a header say each thing once, in the form that the standard gives it? Else pydicom chooses silently.

An element that stands twice is read as its last copy, and one that a faulty converter calls another kind of value is
read as other numbers; neither leaves a trace in what pydicom returns, so both are looked for before it is asked.
"""

from collections.abc import Hashable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, private_dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from dicom_io.errors import ContradictoryHeader
from dicom_io.instance import PARSING_FAILURES, named
from dicom_io.read.elements import ODD_GROUP, TAG, TAG_BITS, Elements, Layout, Layouts, is_creator
from dicom_io.read.frames import Frames
from dicom_io.read.multiframe import MACRO_OF, FrameView

UNDEFINED = 0xFFFFFFFF
SHORTEST_ELEMENT, LONGEST_HEADER = 8, 12
FIRST_BLOCK, LAST_BLOCK = 0x10, 0xFF
REMEDY = "ask the sender for intact headers"
LONG_VRS = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
TEXT_VRS = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
# Where Philips and Siemens XA keep a frame's classic attributes.
PRIVATE_ITEMS = {(0x2005, 0x0F), (0x2005, 0x0E), (0x0021, 0xFE)}
CREATORS = {
    "Philips Imaging DD 001",
    "Philips MR Imaging DD 001",
    "GEMS_ACQU_01",
    "GEMS_PARM_01",
    "GEMS_RELA_01",
    "SIEMENS MR HEADER",
}
# fmt: off
READ_KEYWORDS = (
    "ComplexImageComponent", "EchoTime", "EffectiveEchoTime", "EchoNumbers", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "SpacingBetweenSlices", "SliceLocation", "InStackPositionNumber",
    "RescaleSlope", "RescaleIntercept", "RescaleType", "RealWorldValueSlope", "RealWorldValueIntercept", "Rows",
    "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel", "NumberOfFrames",
    "MagneticFieldStrength", "ImagingFrequency", "TransmitterFrequency", "InstanceNumber", "ReconstructionDiameter",
    "TemporalPositionIndex", "TemporalPositionIdentifier", "AcquisitionNumber", "DiffusionBValue", "EchoTrainLength",
    "ImagesInAcquisition", "ImageType", "FrameType", "Manufacturer", "SOPInstanceUID", "SeriesInstanceUID",
)
# fmt: on
READ = {tag: keyword for keyword in READ_KEYWORDS if (tag := tag_for_keyword(keyword)) is not None}
EXPECTED = {tag: dictionary_VR(tag) for tag in READ}
MACROS = {tag_for_keyword(keyword) for keyword in (*MACRO_OF.values(), "RealWorldValueMappingSequence")}


def require_intact(groups: Sequence[Frames]) -> None:
    """Refuse an object, given by all its frames, that says something twice, or in another form than the standard's.

    Raises
    ------
    ContradictoryHeader
        An element stands twice in the data set or in an item that describes a frame (PS3.5 7.1), or one that decides
        the reading is no value of its kind (PS3.6).
    """
    judged: set[Hashable] = set()
    views = [view for frames in groups for view in _differing(frames)]
    for item in {id(item): item for view in views for item in view.items}.values():
        # What was cut from the file holds every element once, in order, or it would not have been cut.
        if not item.is_cut:
            for part in _described(item.parsed):
                _require_single(part)
                _require_forms(Layouts().of_object(part))
            continue
        forms = id(item.elements.layout), _owners(item.elements)
        if forms not in judged:
            judged.add(forms)
            _require_forms(item.elements)


def _differing(frames: Frames) -> Sequence[FrameView]:
    # What pydicom parsed is searched in every frame, because a gap between its elements is no element.
    is_cut = all(view.items[0].is_cut for view in frames.views)
    return list(frames.differing(lambda key, vr: is_creator(key))[0].values()) if is_cut else frames.views


def _described(part: Dataset) -> Iterator[Dataset]:
    """Yield the data set or item, and the first items of those of its sequences that are read."""
    yield part
    for tag in list(part.keys()):
        is_private_item = tag.is_private and (tag.group, tag.element & 0xFF) in PRIVATE_ITEMS
        if tag in MACROS or is_private_item:
            yield from _items(part, tag)[:1]


def _items(part: Dataset, tag: BaseTag) -> list[Dataset]:
    try:
        return [item for item in part[tag].value or () if isinstance(item, Dataset)]
    except PARSING_FAILURES:
        return []


def _require_single(part: Dataset) -> None:
    """Refuse a gap between elements: there stands one that a later copy has replaced."""
    end: int | None = None
    for stored in part.values():
        is_raw = isinstance(stored, RawDataElement)
        start = stored.value_tell if is_raw else stored.file_tell
        # A converted element no longer says how its header was written, and what follows one has no known gap.
        if end is not None and start:
            header = 12 if is_raw and not stored.is_implicit_VR and stored.VR in LONG_VRS else 8
            if start - header - end >= (SHORTEST_ELEMENT if is_raw else LONGEST_HEADER):
                raise ContradictoryHeader(f"The element {stored.tag} stands there twice; {REMEDY}.")
        end = stored.value_tell + stored.length if is_raw and stored.length != UNDEFINED else _text_end(stored, is_raw)


def _text_end(stored: Any, is_raw: bool) -> int | None:
    if is_raw or not stored.file_tell or not isinstance(stored.value, str):
        return None
    return int(stored.file_tell) + (len(stored.value) + 1) // 2 * 2


def _require_forms(elements: Elements) -> None:
    creators = dict(_owners(elements))
    for key, stored in zip(elements.layout.keys, elements.layout.vrs, strict=True):
        tag = key & TAG
        expected = EXPECTED.get(tag)
        if tag & ODD_GROUP and FIRST_BLOCK <= tag & 0xFFFF <= LAST_BLOCK:
            expected = "LO"
        elif expected is None and tag & ODD_GROUP and tag & 0xFFFF > LAST_BLOCK:
            expected = _private_form(tag, creators.get((key >> TAG_BITS, tag >> 8), ""))
        if expected is None or stored in (None, "UN", expected) or {stored, expected} <= TEXT_VRS:
            continue
        name = named(READ[tag]) if tag in READ else f"The private element {BaseTag(tag)}"
        raise ContradictoryHeader(f"{name} is stored as {stored}, but it is {expected}; {REMEDY}.")


def _owners(elements: Elements) -> tuple[tuple[tuple[int, int], str], ...]:
    """Return who owns each private block (PS3.5 7.8.1), by sequence, and by group and block number in one."""
    found = []
    for place in _creator_places(elements.layout):
        key, value = elements.layout.keys[place], elements.values[place]
        words = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
        tag = key & TAG
        found.append(((key >> TAG_BITS, tag >> 16 << 8 | tag & LAST_BLOCK), words.strip(" \0")))
    return tuple(found)


@lru_cache(4096)
def _creator_places(layout: Layout) -> tuple[int, ...]:
    return tuple(place for place, key in enumerate(layout.keys) if is_creator(key))


@lru_cache(4096)
def _private_form(tag: int, creator: str) -> str | None:
    try:
        return private_dictionary_VR(tag, creator) if creator in CREATORS else None
    except KeyError:
        return None
