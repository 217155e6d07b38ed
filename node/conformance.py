"""The DICOM conformance statement (PS3.2), written from the code's own tables and from objects that it makes."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template

from pydicom import Dataset
from pydicom.uid import UID

from dicom_io.series import SourceSeries
from dicom_io.write import identity
from dicom_io.write.provenance import RunDescription
from node import __version__
from node.conformance_attributes import AttributeRow, Case, attribute_rows, blocks, module_of
from node.conformance_content import ContentRow, content_rows
from node.conformance_examples import OTHER_NAMES, example_objects
from node.conformance_sources import another_run, another_source, example_run, example_source
from node.conformance_tables import network_tables, table, web_limits
from node.object_kinds import ObjectKind

TEMPLATE = Path(__file__).with_name("conformance_template.md")
AS_SOURCE = " (as source)"
_MAPS = (ObjectKind.SUSCEPTIBILITY, ObjectKind.CLASSICAL)
_OFFSET = "_SERIES_OFFSET"
_OUTSIDE = "Standard Extended"
_ATTRIBUTE_HEADING = ("Attribute", "Tag", "Module", "Presence", "Source", "Value")


@dataclass(frozen=True)
class _Described:
    """What was observed on the objects of two runs: attributes and content by kind, and the SOP class of each kind."""

    rows: Mapping[str, Sequence[AttributeRow]]
    contents: Mapping[str, Sequence[ContentRow]]
    created: Mapping[str, str]


def statement() -> str:
    """Return the statement in Markdown."""
    described = _described()
    common = _common(list(described.rows.values()))
    filled = {
        **network_tables(described.created),
        **web_limits(),
        "version": __version__,
        "common": _attributes(common, {}),
        "iods": "\n\n".join(_iods(described, {row.path[0] for row in common})),
        "contents": "\n\n".join(_contents(described.contents)),
        "series_numbers": _series_numbers(),
    }
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(filled)


@cache
def _described() -> _Described:
    """Make every kind of object twice, from sources and runs that have nothing in common, and look at them."""
    first, second = example_source(), another_source()
    made = _with_enhanced(first, example_run(), None)
    again = _with_enhanced(second, another_run(), OTHER_NAMES)
    return _Described(
        rows={
            kind: attribute_rows([Case(first.template, made[kind]), Case(second.template, again[kind])])
            for kind in made
        },
        contents={
            kind: content_rows([*objects, *again[kind]])
            for kind, objects in made.items()
            if "ContentSequence" in objects[0]
        },
        created={kind: str(objects[0].SOPClassUID) for kind, objects in made.items()},
    )


def _with_enhanced(
    source: SourceSeries, run: RunDescription, names: Mapping[int, str] | None
) -> dict[str, list[Dataset]]:
    """Return every kind of object, and behind them the maps as they are written for an enhanced source."""
    enhanced = example_objects(source, run, names, as_source=True)
    return example_objects(source, run, names) | {f"{kind}{AS_SOURCE}": enhanced[kind] for kind in _MAPS}


def _common(kinds: Sequence[Sequence[AttributeRow]]) -> list[AttributeRow]:
    """Return the rows of attributes that are alike in every kind, items of sequences included."""
    by_kind = [blocks(rows) for rows in kinds]
    shared = [keyword for keyword in by_kind[0] if all(found.get(keyword) == by_kind[0][keyword] for found in by_kind)]
    return [row for keyword in shared for row in by_kind[0][keyword]]


def _iods(described: _Described, common: set[str]) -> Iterable[str]:
    """Write one section per SOP class: its first kind in full, and what is different in the others."""
    rows = described.rows
    kinds_of: dict[str, list[str]] = defaultdict(list)
    for kind, sop_class in described.created.items():
        kinds_of[sop_class].append(kind)
    for number, (sop_class, kinds) in enumerate(kinds_of.items(), start=2):
        modules = module_of(sop_class)
        yield f"### A.A.{number} {UID(sop_class).name}: {', '.join(kinds)}"
        first = [row for row in rows[kinds[0]] if row.path[0] not in common]
        told = f" of `{kinds[0]}`" if len(kinds) > 1 else ""
        yield f"Attributes{told} beside those of A.A.1:"
        yield _attributes(first, modules)
        for kind in kinds[1:]:
            yield from _differences(kind, kinds[0], rows, modules)


def _differences(
    kind: str, first: str, rows: Mapping[str, Sequence[AttributeRow]], modules: Mapping[str, str]
) -> Iterable[str]:
    known, own = blocks(rows[first]), blocks(rows[kind])
    different = [row for keyword, block in own.items() if known.get(keyword) != block for row in block]
    absent = [keyword for keyword in known if keyword not in own]
    if different:
        yield f"What is different in `{kind}`:"
        yield _attributes(different, modules)
    if absent:
        yield f"`{kind}` does not have: {', '.join(absent)}."


def _attributes(rows: Iterable[AttributeRow], modules: Mapping[str, str]) -> str:
    def module(row: AttributeRow) -> str:
        return modules.get(row.path[0], _OUTSIDE if modules else "") if len(row.path) == 1 else ""

    lines = [
        (">" * (len(row.path) - 1) + row.path[-1], row.tag, module(row), row.presence, row.origin, row.value)
        for row in rows
    ]
    if modules:
        return table(_ATTRIBUTE_HEADING, lines)
    return table([name for name in _ATTRIBUTE_HEADING if name != "Module"], [(*line[:2], *line[3:]) for line in lines])


def _contents(contents: Mapping[str, Sequence[ContentRow]]) -> Iterable[str]:
    heading = ("Level", "Relationship", "Value type", "Concept name", "Number", "Values or units")
    for kind, rows in contents.items():
        yield f"### `{kind}`"
        yield table(
            heading,
            [(">" * row.level, row.relationship, row.value_type, row.name, row.count, row.values) for row in rows],
        )


def _series_numbers() -> str:
    offsets = {name.removesuffix(_OFFSET): value for name, value in vars(identity).items() if name.endswith(_OFFSET)}
    rows = sorted(offsets.items(), key=lambda item: item[1])
    return table(("Series", "Added to SeriesNumber"), [(name.replace("_", " ").lower(), value) for name, value in rows])
