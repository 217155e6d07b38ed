"""Do attributes that should tell the same story tell it? A second witness shows a value that was changed on the way."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from dicom_io.errors import ContradictoryHeader
from dicom_io.instance import named
from dicom_io.read.headers import FrameHeader
from dicom_io.read.scales import require_one_scale
from dicom_io.read.sorting import Slot

HALF_A_SLICE = 0.5
SAME_EXTENT = 0.05
INTERPOLATED = 1.2
REMEDY = "ask the sender for intact headers"


def require_consistent(chosen: Mapping[Slot, FrameHeader], names: Mapping[str, str]) -> None:
    """Refuse frames whose second witnesses contradict the attributes that order and place them.

    Raises
    ------
    ContradictoryHeader
        EchoNumbers against EchoTime, SliceLocation against the position, ReconstructionDiameter against PixelSpacing,
        PixelRepresentation, BitsStored or RescaleSlope of one image against the others'.
    PhaseScaleUnknown
        By RescaleIntercept and RescaleSlope real or imaginary values could have one sign only.
    """
    _require_one_form(chosen, names)
    require_one_scale(chosen, names)
    _require_echo_numbers(chosen, names)
    _require_slice_locations(chosen, names)
    for frame in chosen.values():
        _require_extent(frame, names)


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


def _require_slice_locations(chosen: Mapping[Slot, FrameHeader], names: Mapping[str, str]) -> None:
    """Compare SliceLocation with the order of positions; its zero, sign and scale are the manufacturer's own."""
    stated = [(index, frame) for (_, _, index), frame in chosen.items() if frame.slice_location is not None]
    indices = np.array([index for index, _ in stated])
    if len(stated) < len(chosen) or indices.max() == 0:
        return
    locations = np.array([frame.slice_location for _, frame in stated], dtype=float)
    first = float(np.median(locations[indices == 0]))
    step = (float(np.median(locations[indices == indices.max()])) - first) / indices.max()
    if not step:
        return
    astray = np.abs(locations - first - step * indices) > HALF_A_SLICE * abs(step)
    if astray.any():
        frame = stated[int(np.argmax(astray))][1]
        raise ContradictoryHeader(
            f"{names[frame.sop_instance_uid]}: {named('SliceLocation')} and {named('ImagePositionPatient')} put the "
            f"image at different places among the slices; {REMEDY}."
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
    for frame in frames:
        acquired = sorted(frame.acquired_matrix)
        found = sorted((frame.rows, frame.columns))
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
