"""Which values of a source may stand in a derived object: archives and worklists send much that the standard does not.

A result must not be refused because a worklist filled an optional sequence badly; what is unusable is left out.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import cache

from highdicom._standard_utils import get_module_attribute_map
from pydicom import DataElement, Dataset
from pydicom.config import RAISE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.valuerep import validate_value

# The modules whose sequences are copied (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2, C.7.3.1).
_MODULES = ("patient", "general-study", "patient-study", "general-series")
_CODE_VALUES = ("CodeValue", "LongCodeValue", "URNCodeValue")
_MOST_DELIMITERS = 4
_NUMBERS = ("US", "SS", "UL", "SL", "FL", "FD", "SQ")
# A value that does not fit its VR stays as it is where it identifies the patient or the study: changing it would
# file the result under another patient. Everywhere else it is left out.
KEPT_VERBATIM = frozenset(
    (
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "StudyInstanceUID",
        "StudyID",
        "AccessionNumber",
        "FrameOfReferenceUID",
        "ReferencedFrameOfReferenceUID",
        "ReferencedSOPInstanceUID",
    )
)


def is_valid_element(element: DataElement) -> bool:
    """Tell whether every value of an element fits its VR (PS3.5 6.2)."""
    if element.VR in _NUMBERS:
        return True
    values = element.value if element.VM > 1 else [element.value]
    try:
        for value in values:
            validate_value(element.VR, getattr(value, "original_string", None) or str(value), RAISE)
    except ValueError:
        return False
    return element.VR != "PN" or all(_is_name(str(value)) for value in values)


def _is_name(text: str) -> bool:
    """Tell whether no component group of a name has more than five components (PS3.5 6.2.1)."""
    return all(group.count("^") <= _MOST_DELIMITERS for group in text.split("="))


def copied_element(element: DataElement) -> DataElement | None:
    """Return a copy of an element that a derived object may hold; None where nothing of it can be used.

    Of a sequence, items that lack what the standard requires of them are left out, and from the others every value
    that does not fit its VR and all private content.
    """
    if element.VR != "SQ":
        return deepcopy(element) if element.keyword in KEPT_VERBATIM or is_valid_element(element) else None
    items = list(_usable_items(element.value, (element.keyword,)))
    return DataElement(element.tag, "SQ", items) if items else None


def _usable_items(originals: Sequence[Dataset], path: tuple[str, ...]) -> Iterator[Dataset]:
    for original in originals:
        item = _usable_item(original, path)
        if item is not None:
            yield item


def _usable_item(original: Dataset, path: tuple[str, ...]) -> Dataset | None:
    item = Dataset()
    for element in original:
        if element.tag.is_private or not element.keyword:
            continue
        if element.VR == "SQ":
            nested = list(_usable_items(element.value, (*path, element.keyword)))
            if nested:
                item[element.tag] = DataElement(element.tag, "SQ", nested)
        elif element.keyword in KEPT_VERBATIM or is_valid_element(element):
            item[element.tag] = deepcopy(element)
    for keyword, kind in _required(path):
        if keyword not in item and kind == "2":
            item[keyword] = DataElement(tag_for_keyword(keyword), dictionary_VR(keyword), None)
        elif kind == "1" and (keyword not in item or item[keyword].is_empty):
            return None
    return item if not path[-1].endswith("CodeSequence") or _is_code(item) else None


def _is_code(item: Dataset) -> bool:
    """Tell whether an item is a code (PS3.3 table 8.8-1), for sequences that the tables do not enter."""
    values = [keyword for keyword in _CODE_VALUES if item.get(keyword)]
    has_scheme = bool(item.get("CodingSchemeDesignator")) or "URNCodeValue" in values
    return len(values) == 1 and has_scheme and bool(item.get("CodeMeaning"))


@cache
def _required_attributes() -> dict[tuple[str, ...], tuple[tuple[str, str], ...]]:
    found: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for module in _MODULES:
        for attribute in get_module_attribute_map()[module]:
            if attribute["type"] in ("1", "2"):
                found[tuple(attribute["path"])][attribute["keyword"]] = attribute["type"]
    return {path: tuple(keywords.items()) for path, keywords in found.items()}


def _required(path: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return _required_attributes().get(path, ())
