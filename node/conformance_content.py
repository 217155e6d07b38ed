"""The content tree of a structured report, folded: what may stand where, as the conformance statement lists it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom import Dataset

from node.conformance_attributes import code_text

_FEW = 4


@dataclass(frozen=True)
class ContentRow:
    """Content items of one name at one place: `count` is how many stand in one parent, `values` the codes or units."""

    level: int
    relationship: str
    value_type: str
    name: str
    count: str
    values: str


def content_rows(reports: Sequence[Dataset]) -> list[ContentRow]:
    """Fold the content items of reports that share a template: equal names under equal parents are one row."""
    return list(_fold([list(report.get("ContentSequence") or []) for report in reports], 1))


def _fold(families: Sequence[Sequence[Dataset]], level: int) -> Iterator[ContentRow]:
    """Fold the children of several parents of one kind."""
    together: dict[tuple[str, str, str], list[list[Dataset]]] = defaultdict(lambda: [[] for _ in families])
    for number, children in enumerate(families):
        for child in children:
            together[_key(child)][number].append(child)
    for (relationship, value_type, name), by_parent in together.items():
        items = [item for found in by_parent for item in found]
        fewest, most = min(map(len, by_parent)), max(map(len, by_parent))
        count = str(most) if fewest == most else f"{fewest}-{most if most == 1 else 'n'}"
        yield ContentRow(level, relationship, value_type, name, count, _values(items))
        yield from _fold([list(item.get("ContentSequence") or []) for item in items], level + 1)


def _key(item: Dataset) -> tuple[str, str, str]:
    names = item.get("ConceptNameCodeSequence") or []
    return str(item.RelationshipType), str(item.get("ValueType", "")), code_text(names[0]) if names else ""


def _values(items: Sequence[Dataset]) -> str:
    """Return codes, units or graphic types where they are few; texts, numbers and UIDs are the run's own."""
    found: dict[str, None] = {}
    for item in items:
        if item.get("ValueType") == "CODE":
            found[code_text(item.ConceptCodeSequence[0])] = None
        elif item.get("ValueType") == "NUM" and item.get("MeasuredValueSequence"):
            found[code_text(item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0])] = None
        elif "GraphicType" in item:
            found[str(item.GraphicType)] = None
    return "; ".join(found) if len(found) <= _FEW else f"{len(found)} codes of the annex on code sets"
