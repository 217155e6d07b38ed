"""The frames of one object beside each other: in which of their own elements they differ."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dicom_io.read.multiframe import FrameView

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Column:
    """One element, with its value in each of some frames; not all of the values are equal."""

    key: int
    vr: str | None
    values: Sequence[Hashable]


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames of one object that hold the same elements, with their places among all frames and all that differs."""

    views: Sequence[FrameView]
    places: Sequence[int]
    columns: Sequence[Column]

    def differing(
        self, is_wanted: Callable[[int, str | None], bool]
    ) -> tuple[dict[Hashable, FrameView], Sequence[Hashable]]:
        """Return the first frame of each that differ in wanted elements, by a key, and the key of every frame.

        Where all frames are alike there are no keys but that of the first.
        """
        wanted = [column.values for column in self.columns if is_wanted(column.key, column.vr)]
        if not wanted:
            return {None: self.views[0]}, ()
        keys = wanted[0] if len(wanted) == 1 else list(zip(*wanted, strict=True))
        last_first = dict(zip(reversed(keys), reversed(self.views), strict=True))
        return {key: last_first[key] for key in dict.fromkeys(keys)}, keys

    def divided(self, names: Sequence[Name]) -> Iterator[tuple[Name, "Frames"]]:
        """Yield the frames of each name, where each frame has one."""
        for name in dict.fromkeys(names):
            chosen = [number for number, own in enumerate(names) if own == name]
            if len(chosen) == len(names):
                yield name, self
                continue
            views, places = [self.views[number] for number in chosen], [self.places[number] for number in chosen]
            columns = [Column(item.key, item.vr, [item.values[number] for number in chosen]) for item in self.columns]
            yield name, Frames(views, places, columns)


def compared(views: Sequence[FrameView]) -> list[Frames]:
    """Return the frames of one object, grouped by which elements they hold."""
    places_of: dict[Hashable, list[int]] = {}
    for place, view in enumerate(views):
        places_of.setdefault(view.layouts, []).append(place)
    groups = [([views[place] for place in places], places) for places in places_of.values()]
    return [Frames(own, places, _columns(own)) for own, places in groups]


def _columns(views: Sequence[FrameView]) -> list[Column]:
    if len(views) == 1:
        return []
    layout = views[0].layouts[0]
    columns = zip(*[view.values[0] for view in views], strict=True)
    return [
        Column(key, vr, values)
        for key, vr, values in zip(layout.keys, layout.vrs, columns, strict=True)
        if values.count(values[0]) < len(values)
    ]
