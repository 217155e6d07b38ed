"""Do attributes that should tell the same story tell it? A second witness shows a value that was changed on the way."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dicom_io.errors import ContradictoryHeader
from dicom_io.instance import named
from dicom_io.read.headers import FrameHeader
from dicom_io.read.isocentre import require_at_isocentre
from dicom_io.read.scales import require_one_scale
from dicom_io.read.sorting import Slot
from dicom_io.series import Part

HALF_A_SLICE = 0.5
MOST, NEARLY_ALL = 0.6, 0.8
SAME_EXTENT = 0.05
INTERPOLATED = 1.2
REMEDY = "ask the sender for intact headers"


def require_consistent(chosen: Mapping[Slot, FrameHeader], names: Mapping[str, str]) -> None:
    """Refuse frames whose second witnesses contradict the attributes that order and place them.

    Raises
    ------
    ContradictoryHeader
        EchoNumbers and the order of frames against EchoTime, SliceLocation and InStackPositionNumber against the
        position, InstanceNumber against the part, ReconstructionDiameter against PixelSpacing, position and orientation
        against the isocentre, PixelRepresentation, BitsStored or RescaleSlope of one image against the others'.
    PhaseScaleUnknown
        By RescaleIntercept and RescaleSlope real or imaginary values could have one sign only.
    """
    _require_one_form(chosen, names)
    require_one_scale(chosen, names)
    _require_echo_numbers(chosen, names)
    _require_echo_of_objects(chosen, names)
    _require_order_of_echoes(chosen, names)
    _require_slice_order(chosen, names)
    _require_order_of_parts(chosen, names)
    for frame in chosen.values():
        _require_extent(frame, names)
    require_at_isocentre(chosen, names)


def _require_one_form(chosen: Mapping[Slot, FrameHeader], names: Mapping[str, str]) -> None:
    """Refuse a part of which one image is signed or deeper than the others: a scanner stores a part in one form."""
    for part in {part for part, _, _ in chosen}:
        frames = [frame for (held, _, _), frame in chosen.items() if held is part and frame.values.bits_stored]
        forms = Counter((frame.values.is_signed, frame.values.bits_stored) for frame in frames)
        if len(forms) > 1:
            usual = forms.most_common(1)[0][0]
            odd = next(frame for frame in frames if (frame.values.is_signed, frame.values.bits_stored) != usual)
            raise ContradictoryHeader(
                f"{names[odd.sop_instance_uid]}: {named('PixelRepresentation')} or {named('BitsStored')} differs "
                f"from that of the other {part} images; {REMEDY}."
            )


def _require_echo_numbers(chosen: Mapping[Slot, FrameHeader], names: Mapping[str, str]) -> None:
    """Compare EchoNumbers with echo times, where the numbers count anything: many series call every echo the first."""
    groups: dict[tuple[object, str], list[tuple[int, FrameHeader]]] = {}
    for (part, echo, _), frame in chosen.items():
        groups.setdefault((part, frame.series_instance_uid), []).append((echo, frame))
    for members in groups.values():
        if len({frame.echo_number for _, frame in members} - {None}) < 2:
            continue
        number_of: dict[int, int] = {}
        echo_of: dict[int, int] = {}
        for echo, frame in members:
            number = frame.echo_number
            if number is None:
                continue
            if number_of.setdefault(echo, number) != number or echo_of.setdefault(number, echo) != echo:
                raise ContradictoryHeader(
                    f"{names[frame.sop_instance_uid]}: {named('EchoNumbers')} {number} and {named('EchoTime')} "
                    f"{frame.echo_time_ms:g} ms do not go together in the other images; {REMEDY}."
                )


def _require_echo_of_objects(chosen: Mapping[Slot, FrameHeader], names: Mapping[str, str]) -> None:
    """Refuse a frame of another echo in an object, where there are as many objects of its part as echoes."""
    held: dict[Part, dict[str, Counter[int]]] = {}
    for (part, echo, _), frame in chosen.items():
        if frame.frame_number is not None:
            held.setdefault(part, {}).setdefault(frame.sop_instance_uid, Counter())[echo] += 1
    n_echoes = len({echo for _, echo, _ in chosen})
    for part, objects in held.items():
        mixed = [uid for uid, echoes in objects.items() if len(echoes) > 1]
        if mixed and len(objects) == n_echoes:
            raise ContradictoryHeader(
                f"{names[min(mixed)]}: by {named('EffectiveEchoTime')} its {part} frames belong to different echoes, "
                f"though there is one object for each echo; {REMEDY}."
            )


def _require_order_of_echoes(chosen: Mapping[Slot, FrameHeader], names: Mapping[str, str]) -> None:
    """Refuse a slice whose echoes follow each other in another order than those of nearly all slices do.

    A scanner writes the frames of an object, and numbers its images, by rule, so two echo times that were exchanged on
    the way stand out. Equal numbers count nothing.
    """
    held: dict[tuple[str, Part, int], list[tuple[int, int]]] = {}
    for (part, echo, index), frame in chosen.items():
        if frame.frame_number is not None:
            held.setdefault((frame.sop_instance_uid, part, index), []).append((frame.frame_number, echo))
        elif frame.instance_number is not None:
            held.setdefault(("", part, index), []).append((frame.instance_number, echo))
    orders: dict[str, dict[tuple[Part, int], tuple[int, ...]]] = {}
    for (uid, part, index), frames in held.items():
        if len({number for number, _ in frames}) == len(frames):
            orders.setdefault(uid, {})[part, index] = tuple(echo for _, echo in sorted(frames))
    for uid, found in orders.items():
        usual, count = Counter(found.values()).most_common(1)[0]
        odd = [place for place, order in found.items() if order != usual]
        if odd and count >= NEARLY_ALL * len(found):
            part, index = min(odd)
            keyword, what = ("EffectiveEchoTime", "frames") if uid else ("EchoTime", "images")
            place = "their place among the frames" if uid else named("InstanceNumber")
            first = chosen[part, found[part, index][0], index]
            raise ContradictoryHeader(
                f"{names[first.sop_instance_uid]}: by {named(keyword)} the {part} {what} of slice {index + 1} are of "
                f"other echoes than {place} says; {REMEDY}."
            )


def _require_slice_order(chosen: Mapping[Slot, FrameHeader], names: Mapping[str, str]) -> None:
    """Compare the order of positions with what else counts slices; zero, sign and scale are the manufacturer's own."""
    counts: tuple[tuple[str, Callable[[FrameHeader], float | None]], ...] = (
        ("SliceLocation", lambda frame: frame.slice_location),
        ("InStackPositionNumber", lambda frame: frame.stack_position),
    )
    for keyword, count in counts:
        stated = [(index, frame, count(frame)) for (_, _, index), frame in chosen.items()]
        astray = _astray([(index, value) for index, _, value in stated if value is not None])
        if astray is not None and all(value is not None for _, _, value in stated):
            raise ContradictoryHeader(
                f"{names[stated[astray][1].sop_instance_uid]}: {named(keyword)} and {named('ImagePositionPatient')} "
                f"put the image at different places among the slices; {REMEDY}."
            )


def _astray(stated: Sequence[tuple[int, float]]) -> int | None:
    """Return which count does not lie on the line from the first to the last slice, None where all do."""
    indices = np.array([index for index, _ in stated])
    values = np.array([value for _, value in stated], dtype=float)
    if not len(stated) or indices.max() == 0:
        return None
    first = float(np.median(values[indices == 0])) if (indices == 0).any() else float("nan")
    step = (float(np.median(values[indices == indices.max()])) - first) / indices.max()
    if not step or not np.isfinite(step):
        return None
    astray = np.abs(values - first - step * indices) > HALF_A_SLICE * abs(step)
    return int(np.argmax(astray)) if astray.any() else None


def _require_order_of_parts(chosen: Mapping[Slot, FrameHeader], names: Mapping[str, str]) -> None:
    """Refuse a slice of which two parts follow each other in another order than those of nearly all slices do.

    Scanners number the parts of every slice in one order, so two parts that were exchanged on the way stand out. Equal
    numbers count nothing.
    """
    parts = {part for part, _, _ in chosen}
    orders: dict[tuple[int, int], tuple[Part, ...]] = {}
    for echo, index in {(echo, index) for _, echo, index in chosen}:
        held = [chosen[part, echo, index] for part in parts if (part, echo, index) in chosen]
        numbers = {frame.instance_number for frame in held} - {None}
        if len({frame.series_instance_uid for frame in held}) == 1 and len(numbers) == len(held):
            held.sort(key=lambda frame: frame.instance_number or 0)
            orders[echo, index] = tuple(frame.part for frame in held)
    if not orders:
        return
    usual, count = Counter(orders.values()).most_common(1)[0]
    odd = [place for place, order in orders.items() if order != usual]
    if odd and count >= MOST * len(orders):
        echo, index = min(odd)
        raise ContradictoryHeader(
            f"{names[chosen[usual[0], echo, index].sop_instance_uid]}: by {named('InstanceNumber')} the {usual[0]} "
            f"image comes {'after' if orders[echo, index][0] is not usual[0] else 'before'} the {usual[1]} image of "
            f"its slice, unlike in the other slices, so two parts were exchanged; {REMEDY}."
        )


def _require_extent(frame: FrameHeader, names: Mapping[str, str]) -> None:
    diameter = frame.reconstruction_diameter_mm
    extents = frame.rows * frame.pixel_spacing[0], frame.columns * frame.pixel_spacing[1]
    if diameter and all(abs(extent / diameter - 1) > SAME_EXTENT for extent in extents):
        raise ContradictoryHeader(
            f"{names[frame.sop_instance_uid]}: {named('PixelSpacing')} makes the image {extents[0]:g} × "
            f"{extents[1]:g} mm, but {named('ReconstructionDiameter')} is {diameter:g} mm; {REMEDY}."
        )


def interpolation_note(frames: Sequence[FrameHeader]) -> str:
    """Return the sentence that says that there are more pixels than were measured, or an empty string."""
    for matrix, rows, columns in dict.fromkeys((frame.acquired_matrix, frame.rows, frame.columns) for frame in frames):
        acquired = sorted(matrix)
        found = sorted((rows, columns))
        if len(acquired) == 2 and acquired[0] > 0 and found[1] / acquired[1] > INTERPOLATED:
            return (
                f"The scanner interpolated {acquired[1]} × {acquired[0]} measured points to {found[1]} × {found[0]} "
                "pixels; the map is no finer than what was measured."
            )
    return ""


def difference_between(first: FrameHeader, second: FrameHeader) -> str:
    """Say in what two images of one slot differ, so that a person knows what to send apart."""
    coils = " and ".join(sorted((first.coil, second.coil)))
    reasons = (
        (
            first.temporal_position != second.temporal_position,
            f"the acquisition was repeated ({named('TemporalPositionIdentifier')} differs)",
        ),
        (first.coil != second.coil, f"coils were stored one by one ({coils}), uncombined"),
        (first.stack != second.stack, f"several slabs overlap ({named('StackID')} differs)"),
        (
            first.acquisition_number != second.acquisition_number,
            f"there are several averages or repetitions ({named('AcquisitionNumber')} differs)",
        ),
    )
    return next((reason for is_so, reason in reasons if is_so), "more than one acquisition is mixed here")
