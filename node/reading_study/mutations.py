"""What is done to headers: one element of one, some or all objects removed, emptied, doubled, swapped or falsified."""

import random
import struct
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from pydicom import DataElement, Dataset, dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.tag import BaseTag, Tag

from dicom_io.instance import PARSING_FAILURES, quietly
from dicom_io.read.headers import FrameHeader
from node.reading_study.subjects import Subject, encoded

KINDS = ("removed", "emptied", "doubled", "out of range", "wrong VR", "contradictory", "swapped")
DECISIVE = 0.8
# fmt: off
DECISIVE_KEYWORDS = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Manufacturer",
    "ImageType", "FrameType", "ComplexImageComponent", "EchoTime", "EffectiveEchoTime", "EchoNumbers",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SpacingBetweenSlices", "SliceThickness",
    "SliceLocation", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "RescaleSlope", "RescaleIntercept",
    "RescaleType", "MagneticFieldStrength", "ImagingFrequency", "TransmitterFrequency", "InstanceNumber",
    "TemporalPositionIdentifier", "ScanningSequence", "SequenceName", "PulseSequenceName", "EchoTrainLength",
    "ImagesInAcquisition", "AcquisitionTime", "SeriesDescription", "LossyImageCompression", "InStackPositionNumber",
    "RealWorldValueSlope", "RealWorldValueIntercept", "StackID",
)
# fmt: on
DECISIVE_PRIVATE = ("2005,11", "2005,0d", "2005,0e", "2001,18", "2001,14", "0043,2f", "0021,4f", "0019,7e", "0021,75")
ANGLES = {"RescaleSlope", "RescaleIntercept"}
CONTRADICTIONS: dict[str, tuple[object, ...]] = {
    "Manufacturer": ("SIEMENS", "GE MEDICAL SYSTEMS", "Philips Medical Systems", "UIH", "CANON_MEC", "Nobody"),
    "ComplexImageComponent": ("MAGNITUDE", "PHASE", "REAL", "IMAGINARY", "MIXED"),
    "PixelRepresentation": (0, 1),
    "PhotometricInterpretation": ("MONOCHROME1", "RGB"),
    "BitsAllocated": (8, 32),
    "BitsStored": (8, 10, 15, 16),
    "HighBit": (7, 15),
    "SamplesPerPixel": (3,),
    "RescaleType": ("HU", "mrad", "rad", "deg", "US"),
    "LossyImageCompression": ("01",),
    "MagneticFieldStrength": (1.5, 7.0, 15000),
    "ImagingFrequency": (63.87, 298.03, 42.58),
    "TransmitterFrequency": (63.87, 298.03, 42.58),
}
SHORT_VRS = ("US", "SS", "UL", "FL", "FD", "IS", "DS", "LO", "CS", "SH", "TM")
TEXT_VRS = ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UI", "UC", "UR", "UT")
NUMBER_VRS = ("DS", "IS", "FL", "FD", "US", "SS", "UL", "SL")
UNTOUCHED_VRS = ("SQ", "OB", "OW", "OF", "OD", "UN")

Path = tuple[tuple[BaseTag, int], ...]


@dataclass(frozen=True)
class Place:
    """Where an element stands: object, the sequence items that lead to it, its tag; and the frames it belongs to."""

    number: int
    path: Path
    tag: BaseTag
    group: tuple[str, float | None] | None

    @property
    def kind(self) -> tuple[BaseTag, ...]:
        """Return the tags that lead here, without the numbers of items."""
        return (*(tag for tag, _ in self.path), self.tag)


@dataclass(frozen=True)
class Mutation:
    """One thing done to a subject: the bytes of each object that it changed, and words for the record."""

    kind: str
    description: str
    changed: dict[int, bytes]


class Unsuitable(Exception):
    """The drawn element does not offer what the drawn kind of damage needs; another is drawn."""


class Damager:
    """Damages one subject in ways that a seed decides."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        # Parsing a file again is many times faster than a deep copy, and leaves untouched elements as they were.
        self._files = [encoded(dataset) for dataset in subject.objects]
        self._known: dict[int, list[FrameHeader]] = {}
        self._places: dict[tuple[BaseTag, ...], list[Place]] = defaultdict(list)
        for number, dataset in enumerate(subject.objects):
            with quietly():
                self._walk(number, dataset, dataset, ())
        self._decisive = [kind for kind in self._places if _is_decisive(kind[-1])]
        self._others = [kind for kind in self._places if not _is_decisive(kind[-1])]

    def mutation(self, random_: random.Random) -> Mutation:
        """Return one mutation; equal states of the generator give equal ones."""
        while True:
            kinds = self._decisive if random_.random() < DECISIVE or not self._others else self._others
            places = self._chosen(self._places[random_.choice(kinds)], random_)
            try:
                with quietly():
                    return self._damaged(random_.choice(KINDS), places, random_)
            except (Unsuitable, *PARSING_FAILURES):
                continue

    def _copy(self, number: int) -> Dataset:
        return dcmread(BytesIO(self._files[number]))

    def _walk(self, number: int, root: Dataset, dataset: Dataset, path: Path) -> None:
        for element in dataset:
            if element.tag.group == 0x7FE0:
                continue
            if element.VR != "SQ":
                self._places[(*(tag for tag, _ in path), element.tag)].append(
                    Place(number, path, element.tag, self._group(number, path))
                )
                continue
            for index, item in enumerate(element.value):
                self._walk(number, root, item, (*path, (element.tag, index)))

    def _group(self, number: int, path: Path) -> tuple[str, float | None] | None:
        headers = self._headers(number)
        index = path[0][1] if path and keyword_for_tag(path[0][0]) == "PerFrameFunctionalGroupsSequence" else 0
        if not headers or (len(headers) > 1 and not path) or index >= len(headers):
            return None
        return str(headers[index].part), headers[index].echo_time_ms

    def _headers(self, number: int) -> list[FrameHeader]:
        if number not in self._known:
            self._known[number] = self._subject.headers(number)
        return self._known[number]

    def _chosen(self, places: Sequence[Place], random_: random.Random) -> list[Place]:
        """Return one place, those of one part, of one echo, or all."""
        one = random_.choice(places)
        scope = random_.choice(("one", "one", "part", "echo", "all"))
        if scope == "one" or one.group is None:
            return [one] if scope == "one" else list(places)
        if scope == "part":
            return [place for place in places if place.group and place.group[0] == one.group[0]]
        if scope == "echo":
            return [place for place in places if place.group == one.group]
        return list(places)

    def _damaged(self, kind: str, places: list[Place], random_: random.Random) -> Mutation:
        if kind == "swapped":
            return self._swapped(places[0], random_)
        copies = {number: self._copy(number) for number in {place.number for place in places}}
        patches: dict[int, list[_Patch]] = defaultdict(list)
        elements = [(place, _item(copies[place.number], place.path)) for place in places]
        detail = _APPLY[kind](elements, patches, random_)
        changed = {number: _patched(encoded(dataset), patches[number]) for number, dataset in copies.items()}
        return Mutation(kind, f"{_named(places[0])} in {len(places)} places{detail}", changed)

    def _swapped(self, first: Place, random_: random.Random) -> Mutation:
        own = _item(self._subject.objects[first.number], first.path)[first.tag].value
        others = [
            place
            for place in self._places[first.kind]
            if _item(self._subject.objects[place.number], place.path)[place.tag].value != own
        ]
        if not others:
            raise Unsuitable
        second = random_.choice(others)
        numbers = {first.number, second.number}
        copies = {number: self._copy(number) for number in numbers}
        one, two = (_item(copies[place.number], place.path)[place.tag] for place in (first, second))
        one.value, two.value = two.value, one.value
        changed = {number: encoded(dataset) for number, dataset in copies.items()}
        return Mutation("swapped", f"{_named(first)} of objects {first.number} and {second.number}", changed)


@dataclass(frozen=True)
class _Patch:
    """Bytes that stand once for each written stand-in, and what they become."""

    written: bytes
    becomes: bytes


def _is_decisive(tag: BaseTag) -> bool:
    if tag.is_private:
        return f"{tag.group:04x},{tag.element & 0xFF:02x}" in DECISIVE_PRIVATE
    return keyword_for_tag(tag) in DECISIVE_KEYWORDS


def _item(dataset: Dataset, path: Path) -> Dataset:
    for tag, index in path:
        dataset = dataset[tag].value[index]
    return dataset


def _named(place: Place) -> str:
    return ".".join(keyword_for_tag(tag) or f"({tag.group:04x},{tag.element:04x})" for tag in place.kind)


Elements = list[tuple[Place, Dataset]]
Patches = dict[int, list[_Patch]]


def _removed(elements: Elements, patches: Patches, random_: random.Random) -> str:
    for place, item in elements:
        del item[place.tag]
    return ""


def _emptied(elements: Elements, patches: Patches, random_: random.Random) -> str:
    for place, item in elements:
        element = item[place.tag]
        item[place.tag] = DataElement(place.tag, element.VR, "" if element.VR in TEXT_VRS else None)
    return ""


def _doubled(elements: Elements, patches: Patches, random_: random.Random) -> str:
    """Write the element twice: with one value, or with another one before or after the true one."""
    way = random_.choice(("the same value", "another value first", "another value last"))
    for place, item in elements:
        element = item[place.tag]
        double = DataElement(place.tag, element.VR, element.value)
        if way == "another value first":
            double = DataElement(place.tag, element.VR, element.value)
            element.value = _other_value(element, random_)
        elif way == "another value last":
            double.value = _other_value(element, random_)
        _stand_in(place, item, double, element.VR, patches)
    return f", {way}"


def _out_of_range(elements: Elements, patches: Patches, random_: random.Random) -> str:
    change = random_.choice(("0", "-1", "1000", "0.001", "1e30", "nan"))
    for place, item in elements:
        element = item[place.tag]
        if element.VR not in NUMBER_VRS:
            raise Unsuitable
        values = element.value if element.VM > 1 else [element.value]
        element.value = [_far(float(value), change, element.VR) for value in values]
    return f", × {change}"


def _far(value: float, change: str, vr: str) -> object:
    if change == "nan":
        if vr in ("FL", "FD"):
            return float("nan")
        raise Unsuitable
    far = 1e30 if change == "1e30" else value * float(change)
    if vr in ("DS", "FL", "FD"):
        return f"{far:.8g}" if vr == "DS" else far
    low, high = {"US": (0, 65535), "SS": (-32768, 32767), "UL": (0, 2**32 - 1)}.get(vr, (-(2**31), 2**31 - 1))
    return min(max(round(far), low), high)


def _wrong_vr(elements: Elements, patches: Patches, random_: random.Random) -> str:
    """Keep the bytes and call them another kind of value, as a faulty converter does; or write words for a number."""
    vr = random_.choice(SHORT_VRS)
    for place, item in elements:
        element = item[place.tag]
        if element.VR in UNTOUCHED_VRS or vr == element.VR:
            raise Unsuitable
        alone = DataElement(place.tag, element.VR, element.value)
        del item[place.tag]
        _stand_in(place, item, alone, vr, patches)
    return f", called {vr}"


def _contradictory(elements: Elements, patches: Patches, random_: random.Random) -> str:
    """Give a plausible other value, which something else in the series contradicts."""
    first = elements[0][1][elements[0][0].tag]
    if len(elements) > 1 and not _is_contradicted(first):
        raise Unsuitable
    other = _other_value(first, random_)
    for place, item in elements:
        item[place.tag].value = other
    return f" = {other!r}"


def _is_contradicted(element: DataElement) -> bool:
    """Return whether a value that is changed everywhere still meets another attribute that contradicts it."""
    return element.keyword in CONTRADICTIONS or element.keyword in (*ANGLES, "Rows", "Columns", "NumberOfFrames")


def _other_value(element: DataElement, random_: random.Random) -> object:
    if element.keyword in CONTRADICTIONS:
        return random_.choice(CONTRADICTIONS[element.keyword])
    if element.keyword in ("ImageType", "FrameType"):
        return _other_part(list(element.value), random_)
    if element.VR in NUMBER_VRS:
        values = list(element.value) if element.VM > 1 else [element.value]
        index = random_.randrange(len(values))
        factor, step = random_.choice(((0.5, 0), (2.0, 0), (-1.0, 0), (1.37, 0), (1.0, 1)))
        values[index] = float(values[index]) * factor + step
        whole = element.VR not in ("DS", "FL", "FD")
        changed = [max(0, round(value)) if whole else f"{float(value):.8g}" for value in values]
        return changed if len(changed) > 1 else changed[0]
    if element.VR == "UI":
        return f"{element.value}.1"[:64]
    if element.VR in TEXT_VRS:
        return f"{element.value} X" if element.VR not in ("TM", "DA", "DT") else "010203"
    raise Unsuitable


def _other_part(words: list[str], random_: random.Random) -> list[str]:
    letters = [index for index, word in enumerate(words) if word in ("M", "P", "R", "I")]
    if letters:
        words[random_.choice(letters)] = random_.choice("MPRI")
        return words
    return [*words[:2], random_.choice(("P", "M", "PHASE MAP", "DIS2D"))]


def _stand_in(place: Place, item: Dataset, element: DataElement, vr: str, patches: Patches) -> None:
    """Let an element be written under a free tag, which the finished file then calls by the tag that it stands for."""
    free = next(
        Tag(place.tag.group, number)
        for number in range(place.tag.element + 1, 0xFFFF)
        if Tag(place.tag.group, number) not in item and not keyword_for_tag(Tag(place.tag.group, number))
    )
    item[free] = DataElement(free, element.VR, element.value)
    written = _tag_bytes(free) + element.VR.encode()
    patches[place.number].append(_Patch(written, _tag_bytes(place.tag) + vr.encode()))


def _tag_bytes(tag: BaseTag) -> bytes:
    return struct.pack("<HH", tag.group, tag.element)


def _patched(file: bytes, patches: Sequence[_Patch]) -> bytes:
    for patch in dict.fromkeys(patches):
        if patch.written not in file:
            raise Unsuitable
        file = file.replace(patch.written, patch.becomes)
    return file


_APPLY = {
    "removed": _removed,
    "emptied": _emptied,
    "doubled": _doubled,
    "out of range": _out_of_range,
    "wrong VR": _wrong_vr,
    "contradictory": _contradictory,
}
