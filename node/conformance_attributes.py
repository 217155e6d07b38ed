"""Which attributes an object kind has, how often, and where their values come from: observed on really made objects."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from highdicom._standard_utils import get_iod_module_map, get_module_attribute_map, get_sop_class_iod_map
from pydicom import DataElement, Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.uid import UID

from dicom_io.write.derived import find_element

Path = tuple[str, ...]
# The tree of a report's content is described by itself.
NOT_ENTERED = frozenset({"ContentSequence"})
_ABBREVIATIONS = frozenset({"mr", "sop", "sr", "voi", "lut", "icc"})
_FEW = 4
_OF_PAGES = frozenset({"EncapsulatedDocument", "EncapsulatedDocumentLength"})
_LONGEST_VALUE = 80


@dataclass(frozen=True)
class AttributeRow:
    """One attribute of a kind, as the conformance statement lists it.

    `presence` and `origin` are the words of PS3.2: ALWAYS, ANAP (attribute not always present), VNAP (value not always
    present), EMPTY; FIXED, COPY (from the source images), AUTO (computed by the node). `value` is given where fixed.
    """

    path: Path
    presence: str
    origin: str
    value: str

    @property
    def tag(self) -> str:
        """Return the tag as the standard writes it."""
        number = tag_for_keyword(self.path[-1]) or 0
        return f"({number >> 16:04X},{number & 0xFFFF:04X})"


@dataclass(frozen=True)
class Case:
    """Objects of one kind made from one source, and the header they were made from."""

    header: Dataset
    objects: Sequence[Dataset]


@dataclass
class _Seen:
    """Everything that was seen of one attribute, by case."""

    n_present: int = 0
    n_empty: int = 0
    cases: set[int] = field(default_factory=set)
    values: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    originals: set[str] = field(default_factory=set)
    is_copied: bool = True
    is_sequence: bool = False


def attribute_rows(cases: Sequence[Case]) -> list[AttributeRow]:
    """List the attributes of a kind in the order of their tags, items of sequences below their sequence."""
    seen: dict[Path, _Seen] = defaultdict(_Seen)
    holders: dict[Path, int] = defaultdict(int)
    for number, case in enumerate(cases):
        for dataset in case.objects:
            _look(dataset, (), number, case.header, seen, holders)
    rows = [_row(path, found, holders[path[:-1]], len(cases)) for path, found in seen.items()]
    copied = {row.path for row in rows if row.origin == "COPY"}
    rows = [row for row in rows if not any(row.path[:length] in copied for length in range(1, len(row.path)))]
    return sorted(rows, key=lambda row: [tag_for_keyword(keyword) or 0 for keyword in row.path])


def blocks(rows: Sequence[AttributeRow]) -> dict[str, tuple[AttributeRow, ...]]:
    """Gather rows by their attribute at the top of the object."""
    gathered: dict[str, list[AttributeRow]] = defaultdict(list)
    for row in rows:
        gathered[row.path[0]].append(row)
    return {keyword: tuple(block) for keyword, block in gathered.items()}


def module_of(sop_class_uid: str) -> Mapping[str, str]:
    """Return the module of each attribute at the top of an object of this class, by the names of PS3.3."""
    found: dict[str, str] = {}
    attributes_of = get_module_attribute_map()
    for module in get_iod_module_map()[get_sop_class_iod_map()[sop_class_uid]]:
        for attribute in attributes_of.get(module["key"], ()):
            if not attribute["path"]:
                found.setdefault(attribute["keyword"], _module_name(module["key"]))
    return found


def _module_name(key: str) -> str:
    return " ".join(word.upper() if word in _ABBREVIATIONS else word.title() for word in key.split("-"))


def code_text(item: Dataset) -> str:
    """Write a code item as PS3.16 does: (value, scheme, "meaning")."""
    return f'({item.get("CodeValue", "")}, {item.get("CodingSchemeDesignator", "")}, "{item.get("CodeMeaning", "")}")'


def _look(
    dataset: Dataset,
    path: Path,
    number: int,
    header: Dataset,
    seen: dict[Path, _Seen],
    holders: dict[Path, int],
) -> None:
    holders[path] += 1
    for element in dataset:
        if element.tag.group == 2:
            continue
        here = (*path, element.keyword)
        note = seen[here]
        note.n_present += 1
        if element.is_empty:
            note.n_empty += 1
            continue
        note.cases.add(number)
        original = find_element(header, element.keyword)
        note.is_copied &= original is not None and original.value == element.value
        note.originals.add("" if original is None else str(original.value))
        if element.VR == "SQ" and not _is_code(element) and element.keyword not in NOT_ENTERED:
            note.is_sequence = True
            for item in element.value:
                _look(item, here, number, header, seen, holders)
        else:
            note.values[number].update(_texts(element))


def _is_code(element: DataElement) -> bool:
    return all("CodeMeaning" in item and set(item.dir()) <= _CODE_ATTRIBUTES for item in element.value)


_CODE_ATTRIBUTES = {"CodeValue", "CodingSchemeDesignator", "CodeMeaning", "CodingSchemeVersion"}


def _texts(element: DataElement) -> Iterator[str]:
    if element.VR == "SQ":
        yield "" if element.keyword in NOT_ENTERED else ", ".join(code_text(item) for item in element.value)
    elif isinstance(element.value, bytes):
        yield f"{len(element.value)} bytes"
    else:
        values: Sequence[Any] = element.value if element.VM > 1 else [element.value]
        yield "\\".join(UID(str(value)).name if element.VR == "UI" else str(value) for value in values)


def _row(path: Path, seen: _Seen, n_holders: int, n_cases: int) -> AttributeRow:
    values = set().union(*seen.values.values())
    if seen.n_present < n_holders:
        presence = "ANAP"
    elif seen.n_empty == seen.n_present:
        presence = "EMPTY"
    else:
        presence = "VNAP" if seen.n_empty else "ALWAYS"
    if presence == "EMPTY":
        return AttributeRow(path, presence, "", "")
    # Headers that state the same prove nothing about where a value comes from.
    if seen.is_copied and (len(seen.originals) > 1 or len(seen.cases) == 1):
        return AttributeRow(path, presence, "COPY", "")
    if seen.is_sequence:
        return AttributeRow(path, presence, "", "")
    # The pages of an example are blank, and how many bytes that takes depends on the fonts that are registered.
    if path[-1] in _OF_PAGES:
        return AttributeRow(path, presence, "AUTO", "")
    is_same = len(seen.values) == n_cases and all(found == values for found in seen.values.values())
    if is_same and len(values) <= _FEW and values != {""}:
        return AttributeRow(path, presence, "FIXED", _short("; ".join(sorted(values))))
    return AttributeRow(path, presence, "AUTO", "")


def _short(text: str) -> str:
    plain = text.replace("|", "/").replace("\n", " ")
    return plain if len(plain) <= _LONGEST_VALUE else f"{plain[: _LONGEST_VALUE - 1]}…"
