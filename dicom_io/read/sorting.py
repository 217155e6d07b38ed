"""Order frames into echoes × parts × slices, and name what is missing. Pure: headers in, plan out.

Slices are ordered by their position along the normal of the image plane, never by instance number or file name, which
repeat or interleave on real scanners (Siemens VE11C numbers the slices of both echoes 1…36).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dicom_io.errors import GeometryUnusable, MissingAttribute
from dicom_io.instance import named
from dicom_io.read.headers import FrameHeader
from dicom_io.series import Part

ECHO_TOLERANCE_MS = 0.02
POSITION_TOLERANCE = 0.03
DIRECTION_TOLERANCE = 1e-3
SLICES_MAXIMUM = 4096
ECHOES_MAXIMUM = 256
COMPLEX_PAIRS = ((Part.MAGNITUDE, Part.PHASE), (Part.REAL, Part.IMAGINARY))
USABLE = (Part.MAGNITUDE, Part.PHASE, Part.REAL, Part.IMAGINARY)

Slot = tuple[Part, int, int]


@dataclass(frozen=True)
class Completeness:
    """What has arrived of an acquisition.

    `is_complete`: every slot of the grid is filled and the parts make a complex image. `is_certain`: the header's own
    counts confirm it, so nothing more can come. `is_grid_full`: every slot of the parts that are there is filled,
    whether or not a part is absent as a whole. `may_have_more_parts`: one pair is there in images of their own, whose
    number nothing states, and some scanners send the other pair after it. `sentence` is for a person.
    """

    is_complete: bool
    is_certain: bool
    missing: list[str]
    sentence: str
    n_slices: int
    n_echoes: int
    parts: tuple[Part, ...]
    is_grid_full: bool = False
    may_have_more_parts: bool = False


@dataclass(frozen=True)
class Slots:
    """Frames by part, echo and slice (both counted from 0); several frames in one slot are for the caller to judge."""

    echo_times_ms: tuple[float, ...]
    n_slices: int
    parts: tuple[Part, ...]
    frames: Mapping[Slot, list[FrameHeader]]
    missing_echoes: int = 0
    missing_slices: int = 0
    missing_images: int = 0
    surplus: str = ""

    def lacking(self, part: Part, echo: int) -> list[int]:
        """Return the slices, counted from 1, that this part of this echo lacks."""
        return [index + 1 for index in range(self.n_slices) if (part, echo, index) not in self.frames]


def assess(frames: Sequence[FrameHeader]) -> Completeness:
    """Say whether an acquisition is complete, and if not, what is missing.

    Parameters
    ----------
    frames
        Headers of every frame that has arrived, in any order; repeated frames do no harm.
    """
    usable = [frame for frame in frames if frame.part in USABLE and frame.echo_time_ms is not None]
    if not usable:
        sentence = "incomplete: no magnitude, phase, real or imaginary image has arrived"
        return Completeness(False, False, [sentence.removeprefix("incomplete: ")], sentence, 0, 0, ())
    try:
        slots = arrange(usable)
    except GeometryUnusable as unusable:
        n_echoes = len(echo_times(usable))
        return Completeness(False, False, [str(unusable)], f"incomplete: {unusable}", 0, n_echoes, parts_of(usable))
    missing = describe_missing(slots)
    absent = absent_parts(slots.parts)
    is_complete = not missing and not absent
    everything = [*missing, *absent]
    n_slices, n_echoes = slots.n_slices, len(slots.echo_times_ms)
    sentence = f"complete: {n_echoes} echoes, {n_slices} slices, {' and '.join(slots.parts)}"
    if not is_complete:
        sentence = f"incomplete: {'; '.join(everything)}"
    return Completeness(
        is_complete,
        is_complete and _counts_agree(usable, slots),
        everything,
        sentence,
        n_slices,
        n_echoes,
        slots.parts,
        is_grid_full=not missing,
        may_have_more_parts=len(slots.parts) == 2 and any(_stands_alone(frame) for frame in usable),
    )


def _stands_alone(frame: FrameHeader) -> bool:
    return frame.frame_number is None and not frame.n_images_declared


def arrange(frames: Sequence[FrameHeader]) -> Slots:
    """Put frames of one acquisition into their slots.

    Raises
    ------
    GeometryUnusable
        Positions or orientations form no single regular grid.
    MissingAttribute
        A frame names no echo time.
    """
    times = echo_times(frames)
    indices, n_slices = slice_indices(frames)
    echo_of = {time: _nearest(times, time) for time in {frame.echo_time_ms for frame in frames}}
    slots: dict[Slot, list[FrameHeader]] = {}
    for frame, index in zip(frames, indices, strict=True):
        slots.setdefault((frame.part, echo_of[frame.echo_time_ms], index), []).append(frame)
    images = _declared(frames, "n_images_declared")
    return Slots(
        echo_times_ms=times,
        n_slices=n_slices,
        parts=parts_of(frames),
        frames=slots,
        missing_echoes=max(0, (_declared(frames, "n_echoes_declared") or 0) - len(times)),
        missing_slices=max(0, (_declared(frames, "n_slices_declared") or 0) - n_slices),
        missing_images=max(0, (images or 0) - len(slots)),
        surplus=_surplus(frames, n_slices, len(times), len(slots)),
    )


def _surplus(frames: Sequence[FrameHeader], n_slices: int, n_echoes: int, n_images: int) -> str:
    counts = (("n_slices_declared", n_slices, "slices"), ("n_echoes_declared", n_echoes, "echoes"))
    for name, found, word in (*counts, ("n_images_declared", n_images, "images")):
        stated = _declared(frames, name)
        if stated and found > stated:
            return f"{found - stated} more {word}"
    return ""


def parts_of(frames: Iterable[FrameHeader]) -> tuple[Part, ...]:
    """Return the parts that occur, in the order of `Part`."""
    present = {frame.part for frame in frames}
    return tuple(part for part in Part if part in present)


def echo_times(frames: Iterable[FrameHeader]) -> tuple[float, ...]:
    """Return the distinct echo times [ms], rising; times closer than 0.02 ms are one echo.

    Raises
    ------
    MissingAttribute
        A frame names no echo time.
    """
    found = []
    for frame in frames:
        if frame.echo_time_ms is None:
            raise MissingAttribute(f"{named('EchoTime')} is absent; ask the sender for complete headers.")
        found.append(frame.echo_time_ms)
    groups: list[list[float]] = []
    for time in sorted(set(found)):
        if groups and time - groups[-1][-1] < ECHO_TOLERANCE_MS:
            groups[-1].append(time)
        else:
            groups.append([time])
    return tuple(float(group[0]) if len(group) == 1 else float(np.median(group)) for group in groups)


def _nearest(times: tuple[float, ...], time: float | None) -> int:
    return int(np.argmin([abs(candidate - (time or 0.0)) for candidate in times]))


def normal_of(frame: FrameHeader) -> np.ndarray:
    """Return the unit normal: row direction × column direction.

    Raises
    ------
    GeometryUnusable
        The two directions are not perpendicular unit vectors.
    """
    row, column = np.array(frame.orientation[:3]), np.array(frame.orientation[3:])
    lengths = abs(np.linalg.norm(row) - 1) + abs(np.linalg.norm(column) - 1)
    if lengths > 10 * DIRECTION_TOLERANCE or abs(row @ column) > 10 * DIRECTION_TOLERANCE:
        raise GeometryUnusable(
            f"{named('ImageOrientationPatient')} holds no two perpendicular unit vectors; ask for intact headers."
        )
    normal = np.cross(row, column)
    return normal / np.linalg.norm(normal)


def slice_indices(frames: Sequence[FrameHeader]) -> tuple[list[int], int]:
    """Return the slice index of each frame along the normal, and the number of slices between first and last.

    Raises
    ------
    GeometryUnusable
        Orientations differ, or the positions are no multiples of one step.
    """
    normal = normal_of(frames[0])
    for orientation in {frame.orientation for frame in frames}:
        if np.abs(np.array(orientation) - np.array(frames[0].orientation)).max() > 10 * DIRECTION_TOLERANCE:
            raise GeometryUnusable("the images have different orientations; send one acquisition at a time.")
    distances = np.array([frame.position for frame in frames]) @ normal
    distinct = _distinct(np.sort(distances), 0.01)
    if len(distinct) == 1:
        return [0] * len(frames), 1
    step = _step(np.diff(distinct), frames)
    steps = (distances - distinct[0]) / step
    if np.abs(steps - np.round(steps)).max() > POSITION_TOLERANCE:
        raise GeometryUnusable(
            f"the slice positions in {named('ImagePositionPatient')} are no multiples of one step of {step:.3f} mm; "
            "send an acquisition with evenly spaced slices."
        )
    # Every slice that is missing will be named, so a position that lies metres away must not get that far.
    if not steps.max() < SLICES_MAXIMUM:
        raise GeometryUnusable(
            f"the positions in {named('ImagePositionPatient')} lie up to {distinct[-1] - distinct[0]:.3g} mm apart in "
            f"steps of {step:.3g} mm, which no scan does; ask the sender for intact headers."
        )
    return [int(index) for index in np.round(steps)], round(float(steps.max())) + 1


def _distinct(rising: np.ndarray, tolerance: float) -> np.ndarray:
    keep = np.concatenate([[True], np.diff(rising) > tolerance])
    return rising[keep]


def _step(gaps: np.ndarray, frames: Sequence[FrameHeader]) -> float:
    """Return the distance of neighbouring slices, which a header may prove smaller than the smallest gap."""
    smallest = float(np.min(gaps))
    regular = gaps[np.abs(gaps / smallest - 1) < POSITION_TOLERANCE]
    found = float(np.mean(regular))
    stated = frames[0].spacing_between_slices
    if stated and stated > 0:
        multiple = found / stated
        if round(multiple) >= 2 and abs(multiple - round(multiple)) < POSITION_TOLERANCE:
            return found / round(multiple)
    return found


def _declared(frames: Sequence[FrameHeader], name: str) -> int | None:
    # A series of magnitude and one of phase may each declare; the larger number is what the acquisition had.
    counts = [getattr(frame, name) for frame in frames if getattr(frame, name)]
    return max(counts) if counts else None


def _counts_agree(frames: Sequence[FrameHeader], slots: Slots) -> bool:
    if _declared(frames, "n_images_declared") == len(slots.frames):
        return True
    slices, echoes = _declared(frames, "n_slices_declared"), _declared(frames, "n_echoes_declared")
    return slices == slots.n_slices and echoes == len(slots.echo_times_ms)


def absent_parts(parts: Sequence[Part]) -> list[str]:
    """Return the parts whose absence keeps the others from making a complex image."""
    present = set(parts)
    if any(present >= set(pair) for pair in COMPLEX_PAIRS):
        return []
    pair = next((pair for pair in COMPLEX_PAIRS if present & set(pair)), COMPLEX_PAIRS[0])
    return [f"no {part} image has arrived" for part in pair if part not in present]


def describe_missing(slots: Slots) -> list[str]:
    """Return one phrase for each gap, such as "echo 3 phase lacks slices 17–19"."""
    lacking = {
        (part, echo): slots.lacking(part, echo) for part in slots.parts for echo in range(len(slots.echo_times_ms))
    }
    phrases = _common(lacking, slots)
    if slots.missing_slices:
        declared = slots.n_slices + slots.missing_slices
        phrases.append(f"{slots.n_slices} of {declared} declared slices are there: the first or the last are missing")
    if slots.missing_echoes:
        declared = len(slots.echo_times_ms) + slots.missing_echoes
        phrases.append(f"{len(slots.echo_times_ms)} of {declared} declared echoes are there{_echo_gap(slots)}")
    if slots.missing_images and not phrases:
        phrases.append(f"{len(slots.frames)} of {len(slots.frames) + slots.missing_images} declared images are there")
    return phrases


def _common(lacking: Mapping[tuple[Part, int], list[int]], slots: Slots) -> list[str]:
    n_echoes = len(slots.echo_times_ms)
    everywhere = set.intersection(*(set(missing) for missing in lacking.values()))
    phrases = [f"every echo lacks {_slices(sorted(everywhere))}"] if everywhere and n_echoes > 1 else []
    if everywhere and n_echoes == 1:
        phrases = [f"echo 1 lacks {_slices(sorted(everywhere))}"]
    known = dict.fromkeys(slots.parts, everywhere)
    for part in slots.parts if n_echoes > 1 else ():
        in_every_echo = set.intersection(*(set(lacking[part, echo]) for echo in range(n_echoes))) - everywhere
        if in_every_echo:
            phrases.append(f"{part} of every echo lacks {_slices(sorted(in_every_echo))}")
            known[part] = everywhere | in_every_echo
    for echo in range(n_echoes):
        per_part = {part: [i for i in lacking[part, echo] if i not in known[part]] for part in slots.parts}
        shared = set.intersection(*(set(missing) for missing in per_part.values()))
        if shared:
            phrases.append(f"echo {echo + 1} lacks {_slices(sorted(shared))}")
        for part, missing in per_part.items():
            rest = [index for index in missing if index not in shared]
            if len(lacking[part, echo]) == slots.n_slices:
                phrases.append(f"echo {echo + 1} has no {part}")
            elif rest:
                phrases.append(f"echo {echo + 1} {part} lacks {_slices(rest)}")
    return phrases


def _echo_gap(slots: Slots) -> str:
    # A damaged count of milliards would be written out number by number.
    if slots.missing_echoes > ECHOES_MAXIMUM:
        return ""
    numbers = Counter(frame.echo_number for held in slots.frames.values() for frame in held)
    present = {number for number in numbers if number}
    total = len(slots.echo_times_ms) + slots.missing_echoes
    absent = [str(number) for number in range(1, total + 1) if number not in present]
    if len(absent) != slots.missing_echoes:
        return ""
    return f": echo {' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} missing"


def _slices(indices: Sequence[int]) -> str:
    return f"{'slice' if len(indices) == 1 else 'slices'} {in_runs(indices)}"


def in_runs(numbers: Sequence[int]) -> str:
    """Write rising numbers with those that follow each other drawn together, as in "3, 8–13"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)
