"""Which series form one acquisition: magnitude with phase, real with imaginary, and echoes that are kept apart.

What proves it is study, frame of reference, grid, echo times and the time of acquisition; never a name or an order.
Where several partners would fit, all of them are one group, which reading refuses as mixed rather than guessing.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from dicom_io.errors import GeometryUnusable
from dicom_io.read.assembly import Instance
from dicom_io.read.headers import FrameHeader
from dicom_io.read.sorting import COMPLEX_PAIRS, USABLE, normal_of
from dicom_io.series import Part

SAME_GRID = 0.02
LEAST_SHARED = 0.5
# The echoes of one scan begin within a repetition time of each other (0.6 s on Prisma VE11C), two scans do not.
SAME_MOMENT_S = 2.0
CLOCK_DIGITS = 6

Key = str


@dataclass(frozen=True, eq=False)
class Piece:
    """One series of MR images, reduced to what tells whether another belongs to it."""

    key: Key
    frames: tuple[FrameHeader, ...]

    @cached_property
    def parts(self) -> frozenset[Part]:
        """Return the parts of a complex image that it holds."""
        return frozenset(frame.part for frame in self.frames) & frozenset(USABLE)

    @cached_property
    def times(self) -> frozenset[float]:
        """Return its echo times [ms]."""
        return frozenset(time for _, time in self.slots)

    @cached_property
    def slots(self) -> frozenset[tuple[Part, float]]:
        """Return which part it holds of which echo."""
        usable = (frame for frame in self.frames if frame.part in USABLE)
        return frozenset((frame.part, round(frame.echo_time_ms or 0.0, 2)) for frame in usable)

    @cached_property
    def moments(self) -> frozenset[str]:
        """Return when its images were taken, as written."""
        return frozenset(frame.acquired_at for frame in self.frames)

    @cached_property
    def start_s(self) -> float | None:
        """Return when the first of its images was taken, in seconds of the day, None where the header does not say."""
        found = [second_of_day(moment) for moment in self.moments]
        # Midnight is what anonymisers write.
        return min(second for second in found if second is not None) or None if None not in found else None

    @cached_property
    def declared(self) -> int:
        """Return how many echoes the protocol has, 0 where the header does not say."""
        return max(frame.n_echoes_declared or 0 for frame in self.frames)

    @property
    def is_distorted(self) -> bool:
        """Return whether the scanner corrected it for distortion."""
        return self.frames[0].is_distortion_corrected

    @cached_property
    def is_sound(self) -> bool:
        """Return whether nothing speaks against its images."""
        return not any(frame.objections for frame in self.frames)

    @property
    def is_complex(self) -> bool:
        """Return whether it holds both parts of a complex image."""
        return any(self.parts >= set(pair) for pair in COMPLEX_PAIRS)

    @property
    def may_lack_echoes(self) -> bool:
        """Return whether other echoes of its scan may be in other series."""
        return len(self.times) < self.declared if self.declared else len(self.times) == 1

    @cached_property
    def identity(self) -> tuple[object, ...]:
        """Return what all series of one acquisition have in common."""
        first = self.frames[0]
        return first.study_instance_uid, first.frame_of_reference_uid, first.vendor, first.rows, first.columns

    @cached_property
    def grid(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return spacing with orientation, and the rising distances of the slices; None where they are unusable."""
        first = self.frames[0]
        try:
            normal = normal_of(first)
        except GeometryUnusable:
            return None
        distances = np.array([frame.position for frame in self.frames]) @ normal
        return np.array((*first.pixel_spacing, *first.orientation)), np.unique(np.round(distances, 2))


Fits = Callable[[Piece, Piece], bool]
Group = list[Piece]


def group_series(series: Mapping[Key, Sequence[Instance]]) -> list[list[Key]]:
    """Return which series form an acquisition together, by their keys; a series on its own is a group of one.

    A magnitude series and a phase series are paired when study, frame of reference, grid and echo times are the same;
    where several would fit, the one without distortion correction and with the same acquisition times is taken. Echoes
    in series of their own are put together where the declared number of echoes or the acquisition times prove it.
    Series that lack slices or echoes are put to the others last, so that what they lack can be named.
    """
    pieces = [
        Piece(key, tuple(frame for instance in instances for frame in instance.frames))
        for key, instances in sorted(series.items())
    ]
    remaining = [piece for piece in pieces if piece.parts and piece.grid is not None]
    groups = [[piece] for piece in pieces if piece not in remaining]
    finders = (_echoes_apart, _whole, _partners(_same_grid), _partners(_nearly_same_grid))
    for find in finders:
        for piece in sorted(remaining, key=lambda piece: piece.is_distorted):
            group = find(piece, remaining) if piece in remaining else []
            groups += [group] if group else []
            remaining = [other for other in remaining if other not in group]
    groups += [[piece] for piece in remaining]
    return [[piece.key for piece in group] for group in _merged(groups)]


def second_of_day(moment: str) -> float | None:
    """Return the second of the day [s] of a time (HHMMSS.F) or of a date and time, None where it is neither."""
    digits, _, fraction = moment.partition(".")
    clock = digits[8:14] if len(digits) > 2 + CLOCK_DIGITS else digits
    if len(clock) < CLOCK_DIGITS or not clock[:CLOCK_DIGITS].isdecimal():
        return None
    parts = ("".join(character for character in fraction[:CLOCK_DIGITS] if character.isdecimal())) or "0"
    return int(clock[:2]) * 3600 + int(clock[2:4]) * 60 + int(clock[4:6]) + float(f"0.{parts}")


def _whole(piece: Piece, remaining: Sequence[Piece]) -> Group:
    return [piece] if piece.is_complex else []


def _echoes_apart(piece: Piece, remaining: Sequence[Piece]) -> Group:
    """Return all series of an acquisition that keeps every echo in a series of its own, if the header proves it.

    The proof is the declared number of echoes, or that all of them were acquired at once and count the echoes as their
    times do: without it, two scans with different echo times would become one.
    """
    if not piece.may_lack_echoes or len(piece.times) != 1:
        return []
    alike = [other for other in remaining if len(other.times) == 1 and _share_slices(piece, other)]
    group = _without_doubles(piece, alike)
    times = frozenset[float]().union(*(other.times for other in group))
    if len(times) < 2:
        return []
    is_at_once = all(_at_once(piece, other) for other in group)
    if piece.declared:
        is_proven = len(times) == piece.declared or (len(times) < piece.declared and is_at_once)
    else:
        is_proven = is_at_once and _is_full(group, times) and _counts_echoes(group)
    return group if is_proven else []


def _without_doubles(piece: Piece, alike: Sequence[Piece]) -> Group:
    """Return those of some series, as many as can be, of which no two hold the same part of the same echo."""
    at_once = [other for other in alike if _at_once(piece, other)]
    corrected = [other for other in at_once if other.is_distorted == piece.is_distorted]
    for found in (alike, at_once, corrected):
        held = Counter(slot for other in found for slot in other.slots)
        if max(held.values(), default=0) == 1:
            return list(found)
    return []


def _is_full(group: Sequence[Piece], times: Iterable[float]) -> bool:
    parts = {part for piece in group for part in piece.parts}
    return all((part, time) in {slot for piece in group for slot in piece.slots} for part in parts for time in times)


def _counts_echoes(group: Sequence[Piece]) -> bool:
    """Return whether EchoNumbers rise with the echo times, or are nowhere."""
    counted = {(time, frame.echo_number) for piece in group for time in piece.times for frame in piece.frames}
    numbers = [number for _, number in sorted(counted, key=lambda item: (item[0], item[1] or 0)) if number is not None]
    if not numbers:
        return True
    return len(numbers) == len(counted) and all(one < other for one, other in pairwise(numbers))


def _partners(fits: Fits) -> Callable[[Piece, Sequence[Piece]], Group]:
    """Return a function that finds, for a phase or imaginary series, its magnitude or real series among others."""

    def found(piece: Piece, remaining: Sequence[Piece]) -> Group:
        first = next((first for first, second in COMPLEX_PAIRS if piece.parts == {second}), None)
        fitting = [other for other in remaining if other.parts == {first} and fits(piece, other)]
        alike = [other for other in fitting if other.is_distorted == piece.is_distorted]
        fitting = alike or [other for other in fitting if not other.is_distorted] or fitting
        if len(fitting) > 1:
            fitting = [other for other in fitting if other.moments == piece.moments] or fitting
        if len(fitting) > 1:
            return [other for other in remaining if other.parts == piece.parts and fits(other, fitting[0])] + fitting
        return [*fitting, piece] if fitting else []

    return found


def _merged(groups: Sequence[Group]) -> list[Group]:
    """Put together what was acquired at once on one grid, in parts that differ: real and imaginary beside magnitude."""
    merged: list[Group] = []
    for group in sorted(groups, key=len, reverse=True):
        home = next(
            (other for other in merged if all(_is_other_part(one, two) for one in other for two in group)), None
        )
        if home is None:
            merged.append(list(group))
        else:
            home += group
    return merged


def _is_other_part(one: Piece, other: Piece) -> bool:
    if not one.parts or not other.parts or one.parts & other.parts or one.is_distorted != other.is_distorted:
        return False
    is_at_once = one.start_s is not None and one.moments == other.moments
    return is_at_once and one.is_sound and other.is_sound and _same_grid(one, other)


def _at_once(one: Piece, other: Piece) -> bool:
    if one.start_s is None or other.start_s is None:
        return False
    return abs(one.start_s - other.start_s) < SAME_MOMENT_S


def _same_grid(one: Piece, other: Piece) -> bool:
    """Return whether two series have the same echoes of the same slices."""
    if one.times != other.times or not _is_of_one_volume(one, other):
        return False
    (_, first), (_, second) = _grids(one, other)
    return len(first) == len(second) and bool(np.abs(first - second).max() < SAME_GRID)


def _nearly_same_grid(one: Piece, other: Piece) -> bool:
    """Return whether two series are of one scan, of which either may lack slices or echoes."""
    return (one.times <= other.times or other.times <= one.times) and _share_slices(one, other)


def _share_slices(one: Piece, other: Piece) -> bool:
    if not _is_of_one_volume(one, other):
        return False
    (_, first), (_, second) = _grids(one, other)
    n_shared = int((np.abs(first[:, None] - second[None]) < SAME_GRID).any(axis=1).sum())
    return n_shared >= LEAST_SHARED * max(len(first), len(second))


def _is_of_one_volume(one: Piece, other: Piece) -> bool:
    if one.identity != other.identity or one.grid is None or other.grid is None:
        return False
    return bool(np.abs(one.grid[0] - other.grid[0]).max() < SAME_GRID)


def _grids(*pieces: Piece) -> list[tuple[np.ndarray, np.ndarray]]:
    return [piece.grid for piece in pieces if piece.grid is not None]
