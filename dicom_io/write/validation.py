"""Check an object of ours against the standard before anyone else sees it; what fails here is never sent.

The tables of modules and attribute types are the standard's own, as highdicom bundles them (PS3.3 as text). They are
read through highdicom's private loader, because no other offline copy of them is installed.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from highdicom._standard_utils import get_iod_module_map, get_module_attribute_map, get_sop_class_iod_map
from pydicom import DataElement, Dataset
from pydicom.config import RAISE
from pydicom.datadict import dictionary_has_tag, dictionary_VM, dictionary_VR, keyword_for_tag
from pydicom.valuerep import validate_value

from dicom_io.errors import InvalidObject
from dicom_io.write.copied_values import KEPT_VERBATIM
from dicom_io.write.validation_conditions import conditional_problems
from dicom_io.write.validation_frames import frame_problems

_TEXT_VRS = frozenset(("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UI"))
_FUNCTIONAL_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
# A content item has the attributes of its value type only (PS3.3 C.17.3); the tables list those of all types.
_OF_VALUE_TYPE: Mapping[str, tuple[str, ...]] = {
    "CONTAINER": ("ContinuityOfContent",),
    "CODE": ("ConceptCodeSequence",),
    "NUM": ("MeasuredValueSequence",),
    "TEXT": ("TextValue",),
    "UIDREF": ("UID",),
    "IMAGE": ("ReferencedSOPSequence",),
    "COMPOSITE": ("ReferencedSOPSequence",),
    "SCOORD": ("GraphicData", "GraphicType"),
    "SCOORD3D": ("GraphicData", "GraphicType", "ReferencedFrameOfReferenceUID"),
    "TCOORD": ("TemporalRangeType",),
    "TABLE": ("TabulatedValuesSequence",),
}
_OF_SOME_VALUE_TYPE = frozenset(keyword for keywords in _OF_VALUE_TYPE.values() for keyword in keywords)


@dataclass(frozen=True)
class _Level:
    """What the standard asks of one data set, at the top or inside a sequence."""

    required: dict[str, tuple[str, str]] = field(default_factory=dict)
    sequences: dict[str, "_Level"] = field(default_factory=lambda: defaultdict(_Level))


def validate(dataset: Dataset) -> None:
    """Check that an object of ours satisfies the standard.

    Checked are: mandatory modules' attributes of type 1 and 2, the same inside every sequence that is present, the
    macros that every frame must have, the form of every value, the number of values, tags that the dictionary does not
    know, the size of the pixel data, and those conditions (types 1C and 2C) that decide how a value is read or shown
    (PS3.3, PS3.5 section 6.2, PS3.6).

    Raises
    ------
    InvalidObject
        The sentence names every module, attribute and type that is not satisfied, and quotes no value.
    """
    sop_class = str(dataset.get("SOPClassUID", ""))
    if sop_class not in get_sop_class_iod_map():
        message = f"SOPClassUID {sop_class or 'is absent and'} names no object of the standard."
        raise InvalidObject(message)
    missing = (*_missing(dataset, _requirements(sop_class), ""), *frame_problems(dataset))
    problems = [*missing, *_malformed(dataset, ""), *conditional_problems(dataset), *_pixels(dataset)]
    if problems:
        message = f"The object does not satisfy the standard and is not sent: {'; '.join(dict.fromkeys(problems))}."
        raise InvalidObject(message)


@cache
def _requirements(sop_class: str) -> _Level:
    """Gather, once per SOP class, every module's requirements; optional modules speak only inside their sequences."""
    top = _Level()
    attributes_of = get_module_attribute_map()
    for module in get_iod_module_map()[get_sop_class_iod_map()[sop_class]]:
        for attribute in attributes_of.get(module["key"], []):
            is_macro = bool(attribute["path"]) and attribute["path"][-1] in _FUNCTIONAL_GROUPS
            applies = bool(attribute["path"]) or module["usage"] == "M"
            if attribute["type"] in ("1", "2") and applies and not is_macro:
                _level(top, attribute["path"]).required.setdefault(
                    attribute["keyword"], (attribute["type"], module["key"])
                )
    if "ContentSequence" in top.sequences:
        # Content items nest without end, and the tables state them once.
        content = top.sequences["ContentSequence"]
        content.sequences["ContentSequence"] = content
    return top


def _level(top: _Level, path: list[str]) -> _Level:
    for keyword in path:
        top = top.sequences[keyword]
    return top


def _missing(dataset: Dataset, level: _Level, place: str) -> Iterator[str]:
    value_type = dataset.get("ValueType")
    for keyword, (kind, module) in level.required.items():
        if value_type and keyword in _OF_SOME_VALUE_TYPE and keyword not in _OF_VALUE_TYPE.get(value_type, ()):
            continue
        if keyword not in dataset:
            yield f"{place}{keyword} (type {kind}, module {module}) is absent"
        elif kind == "1" and dataset[keyword].is_empty:
            yield f"{place}{keyword} (type 1, module {module}) is empty"
    for keyword, inner in level.sequences.items():
        for number, item in enumerate(dataset.get(keyword) or [], start=1):
            yield from _missing(item, inner, f"{place}{keyword}[{number}].")


def _malformed(dataset: Dataset, place: str) -> Iterator[str]:
    for element in dataset:
        keyword = keyword_for_tag(element.tag)
        if element.tag.is_private or not dictionary_has_tag(element.tag):
            yield f"{place}{element.tag} is not in the dictionary"
            continue
        yield from (f"{place}{keyword} {problem}" for problem in _element_problems(element, keyword))
        if element.VR == "SQ":
            for number, item in enumerate(element.value, start=1):
                yield from _malformed(item, f"{place}{keyword}[{number}].")


def _element_problems(element: DataElement, keyword: str) -> Iterator[str]:
    stated = dictionary_VR(element.tag)
    # "OB or OW" is settled when the object is encoded.
    if element.VR not in (stated, *stated.split(" or ")):
        yield f"has VR {element.VR}"
    if element.is_empty:
        return
    if element.VR != "SQ" and not _number_of_values_fits(element.VM, dictionary_VM(element.tag)):
        yield f"has {element.VM} values"
    if element.VR in _TEXT_VRS and keyword not in KEPT_VERBATIM:
        values = element.value if element.VM > 1 else [element.value]
        if not all(_is_well_formed(element.VR, value) for value in values):
            # The value itself stays out of the sentence: it may be a patient's.
            yield f"is no valid {element.VR}"


def _is_well_formed(vr: str, value: object) -> bool:
    try:
        validate_value(vr, str(getattr(value, "original_string", None) or value), RAISE)
    except ValueError:
        return False
    return True


def _number_of_values_fits(count: int, stated: str) -> bool:
    lowest, _, highest = stated.partition("-")
    if not highest:
        return count == int(lowest)
    if not highest.endswith("n"):
        return int(lowest) <= count <= int(highest)
    multiple = int(highest[:-1] or 1)
    return count >= int(lowest) and count % multiple == 0


def _pixels(dataset: Dataset) -> Iterator[str]:
    if "PixelData" not in dataset:
        return
    needed = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
    if any(keyword not in dataset for keyword in needed):
        return
    samples = dataset.Rows * dataset.Columns * dataset.SamplesPerPixel * int(dataset.get("NumberOfFrames") or 1)
    n_bytes = (samples * dataset.BitsAllocated + 7) // 8
    if len(dataset.PixelData) != n_bytes + n_bytes % 2:
        yield f"PixelData has {len(dataset.PixelData)} bytes where Rows, Columns and frames need {n_bytes}"
