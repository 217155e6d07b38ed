"""Do the bytes of a header say each thing once, in the form that the standard gives it? Else pydicom chooses silently.

An element that stands twice is read as its last copy, and one that a faulty converter calls another kind of value is
read as other numbers; neither leaves a trace in what pydicom returns, so both are looked for before it is asked.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, private_dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement

from dicom_io.errors import ContradictoryHeader
from dicom_io.instance import PARSING_FAILURES, named
from dicom_io.read.multiframe import MACRO_OF

UNDEFINED = 0xFFFFFFFF
SHORTEST_ELEMENT, LONGEST_HEADER = 8, 12
ODD_GROUP, LAST_BLOCK = 0x10000, 0xFF
REMEDY = "ask the sender for intact headers"
LONG_VRS = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
TEXT_VRS = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
FRAMES = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
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


def require_intact(dataset: Dataset) -> None:
    """Refuse an object that was read whole and says something twice, or in another form than the standard's.

    Raises
    ------
    ContradictoryHeader
        An element stands twice in the data set or in an item that describes a frame (PS3.5 7.1), or one that decides
        the reading is no value of its kind (PS3.6).
    """
    for part in _described(dataset):
        _require_single(part)
        _require_forms(part)


def _described(dataset: Dataset) -> Iterator[Dataset]:
    """Yield the data set, the functional groups of its frames, and in these the first item of what is read."""
    yield dataset
    for keyword in FRAMES:
        for group in _items(dataset, tag_for_keyword(keyword)):
            yield group
            for tag in list(group.keys()):
                is_private_item = tag.is_private and (tag.group, tag.element & 0xFF) in PRIVATE_ITEMS
                if tag in MACROS or is_private_item:
                    yield from _items(group, tag)[:1]


def _items(dataset: Dataset, tag: int | None) -> list[Dataset]:
    try:
        value = dataset[tag].value if tag is not None and tag in dataset else None
        return [item for item in value or () if isinstance(item, Dataset)]
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


def _require_forms(part: Dataset) -> None:
    creators: dict[int, str] = {}
    for tag, stored in part.items():
        number = int(tag)
        expected = EXPECTED.get(number)
        if expected is None and number & ODD_GROUP:
            if number & 0xFFFF <= LAST_BLOCK:
                # The owner of a private block stands before what it owns (PS3.5 7.8.1).
                creators[number >> 16 << 8 | number & 0xFF] = _words(stored.value)
            elif creators.get(number >> 8) in CREATORS:
                expected = _private_form(number, creators[number >> 8])
        if expected is None or stored.VR in (None, "UN", expected) or {stored.VR, expected} <= TEXT_VRS:
            continue
        name = named(READ[number]) if number in READ else f"The private element {tag}"
        raise ContradictoryHeader(f"{name} is stored as {stored.VR}, but it is {expected}; {REMEDY}.")


def _words(value: object) -> str:
    return (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)).strip(" \0")


@cache
def _private_form(tag: int, creator: str) -> str | None:
    try:
        return private_dictionary_VR(tag, creator)
    except KeyError:
        return None
