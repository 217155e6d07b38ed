"""One way to ask for an attribute of a frame, whether the object is a classic image or holds hundreds of frames.

An Enhanced MR object keeps an attribute in the functional groups of the frame, in those shared by all frames, or at its
top level (PS3.3 C.7.6.16); a Legacy Converted one keeps the rest in its "unassigned" sequences (PS3.3 C.7.6.16.2.21).
"""

import struct
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import Any

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from dicom_io.errors import ContradictoryHeader, MissingAttribute
from dicom_io.instance import PARSING_FAILURES, attribute, named, number, text
from dicom_io.read.cutting import CutItem, Cutter, NotPlain
from dicom_io.read.elements import FURTHER_ITEMS, TAG, TAG_BITS, Elements
from dicom_io.read.opening import CHARACTER_SET, Opened
from dicom_io.read.plain_values import is_plain, plain_attribute
from dicom_io.read.private_elements import NotDecided, private_key, private_value, remembered

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.1"
LEGACY_CONVERTED_ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.4"
MULTI_FRAME = (ENHANCED_MR_IMAGE, LEGACY_CONVERTED_ENHANCED_MR_IMAGE)
IMAGES = (MR_IMAGE, *MULTI_FRAME)

MACRO_OF = {
    "ComplexImageComponent": "MRImageFrameTypeSequence",
    "FrameType": "MRImageFrameTypeSequence",
    "AcquisitionContrast": "MRImageFrameTypeSequence",
    "EffectiveEchoTime": "MREchoSequence",
    "EchoNumbers": "MREchoSequence",
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "SpacingBetweenSlices": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
    "TemporalPositionIndex": "FrameContentSequence",
    "StackID": "FrameContentSequence",
    "InStackPositionNumber": "FrameContentSequence",
    "ReceiveCoilName": "MRReceiveCoilSequence",
    "MRAcquisitionFrequencyEncodingSteps": "MRFOVGeometrySequence",
    "MRAcquisitionPhaseEncodingStepsInPlane": "MRFOVGeometrySequence",
    "VolumetricProperties": "MRImageFrameTypeSequence",
    "VolumeBasedCalculationTechnique": "MRImageFrameTypeSequence",
    "FrameAcquisitionDateTime": "FrameContentSequence",
    "InversionRecovery": "MRModifierSequence",
    "TransmitterFrequency": "MRImagingModifierSequence",
    "DiffusionBValue": "MRDiffusionSequence",
    "DiffusionDirectionality": "MRDiffusionSequence",
    "EchoTrainLength": "MRTimingAndRelatedParametersSequence",
}


UNASSIGNED = ("UnassignedPerFrameConvertedAttributesSequence", "UnassignedSharedConvertedAttributesSequence")
# Philips keeps a frame's classic attributes in (2005,xx0F), Siemens XA in (0021,xxFE), of the frame's groups.
PRIVATE_HOLDERS = (
    ("Philips MR Imaging DD 005", 0x2005, 0x0F),
    ("Philips MR Imaging DD 005", 0x2005, 0x0E),
    ("SIEMENS MR SDI 02", 0x0021, 0xFE),
    ("SIEMENS MR SDS 01", 0x0021, 0xFE),
)
FRAME_TYPE = "MRImageFrameTypeSequence"
PER_FRAME = "PerFrameFunctionalGroupsSequence"
FIRST_ITEMS_MAXIMUM = 1024
ITEM_HEADER = struct.Struct("<HHL")


@cache
def tag_of(keyword: str) -> int:
    """Return the tag of a keyword; 0 where there is none."""
    return int(tag_for_keyword(keyword) or 0)


@cache
def sequences_of(keyword: str) -> tuple[str, ...]:
    """Return the sequences of the functional groups in which an attribute is looked for."""
    macro = MACRO_OF.get(keyword)
    return (macro, *UNASSIGNED) if macro else UNASSIGNED


@cache
def keys_of(keyword: str) -> tuple[int, ...]:
    """Return where an attribute is looked for: in those sequences, at the top level, in the sequences as bytes."""
    sequences, tag = [tag_of(sequence) for sequence in sequences_of(keyword)], tag_of(keyword)
    return (*(sequence << TAG_BITS | tag for sequence in sequences), tag, *sequences)


@cache
def keys_within(keyword: str) -> tuple[int, ...]:
    """Return where an attribute is looked for in a frame's functional groups."""
    return keys_of(keyword)[: len(sequences_of(keyword))]


class Item:
    """An object's top level or a frame's own functional groups, parsed only where plain values do not answer."""

    __slots__ = ("_opened", "_parse", "_parsed", "elements", "is_cut")

    def __init__(
        self,
        elements: Elements,
        parse: Callable[[], Dataset] | None,
        parsed: Dataset | None = None,
        opened: Opened | None = None,
    ) -> None:
        self.elements = elements
        self.is_cut = parsed is None
        self._opened = opened
        self._parse = parse
        self._parsed = parsed

    @property
    def parsed(self) -> Dataset:
        """Return the item as pydicom parses it."""
        if self._parsed is None:
            self._parsed = self._parse() if self._parse else Dataset()
        return self._parsed

    def value(self, keyword: str) -> Any:
        """Return the value of an attribute of the item itself, or None."""
        if self.is_cut:
            tag = tag_of(keyword)
            if self.elements.bytes_of(tag) is None:
                return None
            if is_plain(self.elements, tag):
                return plain_attribute(self.elements, tag, keyword)
        return attribute(self.parsed, keyword)

    def within(self, keyword: str) -> tuple[bool, Any]:
        """Return whether the macro or the unassigned attributes hold the attribute, and its value."""
        if self.is_cut:
            for key in keys_within(keyword):
                if self.elements.bytes_of(key) is not None:
                    if is_plain(self.elements, key):
                        return True, plain_attribute(self.elements, key, keyword)
                    break
            else:
                return False, None
        holder = _holder(self.parsed, keyword)
        return holder is not None, None if holder is None else attribute(holder, keyword)

    def first(self, keyword: str) -> Dataset | None:
        """Return the first item of a sequence, or None."""
        tag = tag_of(keyword)
        has_items = self.elements.layout.has_items(tag)
        if self.is_cut and not has_items and not self.elements.bytes_of(tag):
            return None
        if self.is_cut and has_items and self._opened is not None:
            return _first_cut(self._opened, self.elements, tag) or _first_item(self.parsed, keyword)
        return _first_item(self.parsed, keyword)

    def private(self, creator: str, group: int, offset: int, is_group: bool) -> tuple[bool, Any]:
        """Return whether the item holds a private attribute, and its value.

        Raises
        ------
        NotDecided
            The bytes alone do not tell.
        """
        if not self.is_cut:
            raise NotDecided
        search = partial(self._private_keys, creator, group, offset, is_group)
        for key in remembered(self.elements, (creator, group, offset, is_group), search):
            if key is None:
                raise NotDecided
            is_found, value = private_value(self.elements, key)
            if is_found:
                return True, value
        return False, None

    def _private_keys(self, creator: str, group: int, offset: int, is_group: bool) -> Iterator[int | None]:
        for sequence in self._private_sequences() if is_group else ():
            yield private_key(self.elements, creator, group, offset, sequence)
        yield private_key(self.elements, creator, group, offset)

    def _private_sequences(self) -> Iterator[int]:
        for creator, group, offset in PRIVATE_HOLDERS:
            key = private_key(self.elements, creator, group, offset)
            if key is not None and self.elements.bytes_of(key) is not None:
                raise NotDecided
            if key is not None and self.elements.layout.has_items(key):
                yield key
        if self.elements.layout.has_items(tag_of(FRAME_TYPE)):
            yield tag_of(FRAME_TYPE)


class FrameView:
    """One frame's attributes: of its functional groups, which a classic image has not, then of its object.

    `layouts` and `values` are those of the elements of `items`, in their order. `context` is what the meaning of their
    bytes depends on besides.
    """

    __slots__ = (
        "_groups",
        "_object",
        "context",
        "frame_number",
        "is_one_of_many",
        "layouts",
        "transfer_syntax",
        "values",
    )

    def __init__(
        self,
        of_object: Item,
        context: Hashable,
        transfer_syntax: str,
        groups: Sequence[Item] = (),
        frame_number: int | None = None,
    ) -> None:
        self._object = of_object
        self._groups = groups
        self.context = context
        self.transfer_syntax = transfer_syntax
        self.frame_number = frame_number
        elements = [item.elements for item in (*groups, of_object)]
        self.layouts = tuple([own.layout for own in elements])
        self.values = tuple([own.values for own in elements])
        self.is_one_of_many = bool(groups)

    @property
    def dataset(self) -> Dataset:
        """Return the object."""
        return self._object.parsed

    @property
    def groups(self) -> tuple[Dataset, ...]:
        """Return the functional groups of this frame, its own before the shared ones."""
        return tuple(group.parsed for group in self._groups)

    @property
    def items(self) -> tuple[Item, ...]:
        """Return where this frame's attributes stand: in its own functional groups, the shared ones, and the object."""
        return (*self._groups, self._object)

    def get(self, keyword: str) -> object:
        """Return the value of a public attribute for this frame, or None."""
        for group in self._groups:
            is_found, value = group.within(keyword)
            if is_found:
                return value
        return self._object.value(keyword)

    def of_object(self, keyword: str) -> object:
        """Return the value of a public attribute at the object's top level, or None."""
        return self._object.value(keyword)

    def item(self, keyword: str) -> Dataset | None:
        """Return the first item of a sequence for this frame, or None."""
        for item in (*self._groups, self._object):
            found = item.first(keyword)
            if found is not None:
                return found
        return None

    def creators(self, group: int) -> list[str]:
        """Return the creators of a group's private elements at the object's top level.

        Raises
        ------
        ContradictoryHeader
            A creator is stored as something that is no text (PS3.5 section 7.8.1).
        """
        try:
            return list(self.dataset.private_creators(group))
        except PARSING_FAILURES as failure:
            raise ContradictoryHeader(
                f"A private creator of group {group:04x} is stored as something other than text; ask the sender for "
                "intact headers."
            ) from failure

    def private(self, creator: str, group: int, offset: int) -> object:
        """Return the value of a private attribute for this frame, or None.

        The creator's block is looked up, because its number differs from object to object (PS3.5 section 7.8.1).
        """
        try:
            for item in (*self._groups, self._object):
                is_found, value = item.private(creator, group, offset, is_group=item is not self._object)
                if is_found:
                    return value
        except NotDecided:
            return self._parsed_private(creator, group, offset)
        return None

    def _parsed_private(self, creator: str, group: int, offset: int) -> object:
        for holder in self._private_holders():
            try:
                return holder.private_block(group, creator)[offset].value
            except PARSING_FAILURES:
                continue
        return None

    def _private_holders(self) -> Iterator[Dataset]:
        for group in self.groups:
            for creator, element_group, offset in PRIVATE_HOLDERS:
                try:
                    yield group.private_block(element_group, creator)[offset].value[0]
                except PARSING_FAILURES:
                    continue
            frame_type = _first_item(group, FRAME_TYPE)
            if frame_type is not None:
                yield frame_type
            yield group
        yield self.dataset


def whole_view(opened: Opened) -> FrameView:
    """Return a view of an object's top level alone."""
    return FrameView(Item(opened.elements, opened.parse, opened.parsed), opened.context, opened.transfer_syntax)


def frames_of(opened: Opened) -> Sequence[FrameView]:
    """Return one view per frame of an image object.

    Raises
    ------
    MissingAttribute
        A multi-frame object lacks the functional groups of some of its frames.
    """
    whole = whole_view(opened)
    if text(whole.of_object("SOPClassUID")) not in MULTI_FRAME:
        return [whole]
    per_frame = _items(opened, PER_FRAME)
    n_frames = int(number(whole.of_object("NumberOfFrames"), "NumberOfFrames") or 0)
    if n_frames < 1 or len(per_frame) != n_frames:
        raise MissingAttribute(
            f"{named('NumberOfFrames')} says {n_frames}, but {named(PER_FRAME)} describes {len(per_frame)} frames; "
            "ask the sender to send the object again."
        )
    shared = _items(opened, "SharedFunctionalGroupsSequence")[:1]
    of_object = Item(opened.elements, opened.parse, opened.parsed)
    return [
        FrameView(of_object, opened.context, opened.transfer_syntax, (item, *shared), number)
        for number, item in enumerate(per_frame, start=1)
    ]


def _items(opened: Opened, keyword: str) -> list[Item]:
    """Return the items of a sequence, cut from their bytes where they are plain."""
    tag = tag_of(keyword)
    items = opened.items.get(tag)
    sequence = opened.elements.bytes_of(tag)
    if items is None and sequence is not None and opened.is_little_endian:
        with suppress(NotPlain):
            items = Cutter(opened.is_implicit, opened.layouts).items(sequence)
    if items is None:
        found = attribute(opened.parse(), keyword) or []
        return [Item(opened.layouts.of_item(item), None, item) for item in found]
    return [Item(item.elements, partial(_parsed, opened, keyword, item), opened=opened) for item in items]


def _parsed(opened: Opened, keyword: str, item: CutItem) -> Dataset:
    content = ITEM_HEADER.pack(0xFFFE, 0xE000, len(item.content)) + item.content
    tag = BaseTag(tag_of(keyword))
    holder = Dataset({tag: RawDataElement(tag, "SQ", len(content), content, 0, opened.is_implicit, True)})
    # Text within an item is in the object's character set unless the item names its own.
    holder.set_original_encoding(opened.is_implicit, True, opened.parse().original_character_set)
    found: Dataset = attribute(holder, keyword)[0]
    return found


def _first_cut(opened: Opened, elements: Elements, sequence: int) -> Dataset | None:
    """Return the first item of a sequence that was cut, None where the item names a character set of its own."""
    places = elements.layout.within(sequence)
    known, asked = elements.layout.first_items, (opened.context, sequence, *[elements.values[at] for at in places])
    if asked not in known:
        if len(known) > FIRST_ITEMS_MAXIMUM:
            known.clear()
        known[asked] = _first_of(opened, elements, places)
    return known[asked]


def _first_of(opened: Opened, elements: Elements, places: Sequence[int]) -> Dataset | None:
    found = {}
    for place in places:
        tag, value = BaseTag(elements.layout.keys[place] & TAG), elements.values[place]
        if tag == FURTHER_ITEMS:
            continue
        if tag == CHARACTER_SET or not isinstance(value, bytes):
            return None
        written = None if opened.is_implicit else elements.layout.vrs[place]
        found[tag] = RawDataElement(tag, written, len(value), value, 0, opened.is_implicit, True)
    first = Dataset(found)
    first.set_original_encoding(opened.is_implicit, True, opened.parse().original_character_set)
    return first


def _holder(group: Dataset, keyword: str) -> Dataset | None:
    for sequence in sequences_of(keyword):
        item = _first_item(group, sequence)
        if item is not None and keyword in item:
            return item
    return None


def _first_item(dataset: Dataset, keyword: str) -> Dataset | None:
    sequence = attribute(dataset, keyword)
    return sequence[0] if isinstance(sequence, Sequence) and sequence else None
