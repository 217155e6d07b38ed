"""What is wrong in node.toml, in sentences that name the key, and the nearest right one."""

import difflib
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import BaseModel, ValidationError


def nearest(word: str, known: Iterable[str], most: int = 20) -> str:
    """Return "; did you mean 'x'?" for the most similar of `known`, or what there is, where at most `most` are."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    if len(names) > most:
        return ""
    return f"; there are: {', '.join(names)}" if names else "; there are none"


def sentences(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return one clause per mistake: where it is, what is wrong, what would be right."""
    return list(dict.fromkeys(_clause(mistake, model) for mistake in error.errors()))


def _clause(mistake: Any, model: type[BaseModel]) -> str:
    location = tuple(mistake["loc"])
    where = _where(location)
    if mistake["type"] == "extra_forbidden":
        parent, key = location[:-1], str(location[-1])
        kind = "section" if not parent else "key"
        return f"{_where(parent)}no {kind} {key!r} exists{nearest(key, _keys_at(parent, model))}".strip()
    if mistake["type"] == "missing":
        return f"{_where(location[:-1])}{location[-1]!r} is missing"
    message = mistake["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return f"{where}{message}" + ("" if mistake["type"] == "value_error" else f" (it is {mistake['input']!r})")


def _where(location: tuple[int | str, ...]) -> str:
    if not location:
        return ""
    words = ""
    for part in (part for part in location if part != "[key]"):
        words += f"[{part + 1}]" if isinstance(part, int) else (f".{part}" if words else part)
    return f"{words}: "


def _keys_at(location: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    for part in location:
        if isinstance(part, int) or part not in model.model_fields:
            continue
        inner = _model_in(model.model_fields[part].annotation)
        model = inner if inner is not None else model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = _model_in(argument)
        if found is not None:
            return found
    return None
