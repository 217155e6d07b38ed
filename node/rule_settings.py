"""The part of node.toml that routes: rules, and the conditions that an attribute must fulfil.

An attribute is named by its DICOM keyword, one inside sequences by the keywords on the way to it with dots between:
`RequestAttributesSequence.ScheduledProcedureStepDescription`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator
from pydicom.datadict import dictionary_VR, keyword_dict, tag_for_keyword

from node.settings_errors import nearest

Scalar = bool | int | float | str
Priority = Literal["urgent", "routine"]
Match = Literal["first", "all"]
CLASSIC: Literal["classic"] = "classic"


def _path(path: str) -> str:
    *sequences, last = path.split(".")
    for keyword in (*sequences, last):
        if tag_for_keyword(keyword) is None:
            known = [str(word) for word in keyword_dict if str(word).isidentifier()]
            raise ValueError(f"{keyword!r} is no DICOM keyword{nearest(keyword, known, most=0)}")
    for keyword in sequences:
        if not _is_sequence(keyword):
            raise ValueError(f"{keyword} in {path!r} is no sequence, so nothing can lie in it")
    return path


def _is_sequence(keyword: str) -> bool:
    tag = tag_for_keyword(keyword)
    return tag is not None and dictionary_VR(tag) == "SQ"


def _pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression ({error})") from error
    return pattern


def _dotted(tables: Any) -> Any:
    """Return conditions by path: TOML reads a path that stands without quotes as tables in tables."""
    return dict(_flat(tables)) if isinstance(tables, Mapping) else tables


def _flat(tables: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tables.items():
        if isinstance(value, Mapping) and _is_sequence(key) and not set(value) & set(Condition.model_fields):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


AttributePath = Annotated[str, AfterValidator(_path)]
Pattern = Annotated[str, AfterValidator(_pattern)]


class Condition(BaseModel, extra="forbid", frozen=True):
    """What one DICOM attribute must be; every condition that is given must hold.

    Numbers are compared as numbers, texts as texts. Of several values one that fits is enough, or all must fit where
    `every` is set; `none_of` is about all of them, `count_at_least` and `count_at_most` about their number.
    """

    equals: Scalar | None = None
    one_of: tuple[Scalar, ...] | None = None
    none_of: tuple[Scalar, ...] | None = None
    matches: Pattern | None = None
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    count_at_least: int | None = Field(default=None, ge=0)
    count_at_most: int | None = Field(default=None, ge=0)
    exists: bool | None = None
    every: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set - {"every"}:
            known = ", ".join(name for name in Condition.model_fields if name != "every")
            raise ValueError(f"needs one of {known}")
        return self


class Rule(BaseModel, extra="forbid", frozen=True):
    """Which series (all conditions in `when` hold) is mapped by which recipe, how soon, and sent to which peers.

    `encoding = "as_source"` writes the map as one Enhanced MR object where the source was enhanced. A series that a
    rule with `ignore` wants is kept, not mapped, and the record says that this was on purpose.
    """

    name: str = Field(min_length=1)
    ignore: bool = False
    recipe: str = "default"
    priority: Priority = "routine"
    encoding: Literal["classic", "as_source"] = CLASSIC
    destinations: tuple[str, ...] = ()
    when: Annotated[dict[AttributePath, Condition], BeforeValidator(_dotted)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_one_or_the_other(self) -> Self:
        idle = {"recipe", "priority", "encoding", "destinations"} & self.model_fields_set
        if self.ignore and idle:
            raise ValueError(f"rule {self.name!r} ignores its series, so it has no {sorted(idle)[0]}; remove it")
        if self.ignore and not self.when:
            raise ValueError(f"rule {self.name!r} would ignore every series; say which with [rules.when]")
        return self


class RoutingSection(BaseModel, extra="forbid", frozen=True):
    """Whether the first rule that wants a series decides, or all that want it do.

    With `all`, a series is mapped once for every recipe (and encoding) that rules ask for; rules that name the same one
    share its map, which goes to the destinations of each, as soon as the most urgent of them asks. Every map has a
    journey of its own: its run, objects, deliveries and record. A rule that ignores the series decides alone.
    """

    match: Match = "first"
