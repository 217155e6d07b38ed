"""Is every image of a part scaled like the others? A slope or a zero changed on the way would turn the phase unseen."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from dicom_io.errors import ContradictoryHeader, PhaseScaleUnknown
from dicom_io.instance import named
from dicom_io.read.headers import FrameHeader
from dicom_io.read.sorting import Slot
from dicom_io.read.vendors.convention import PhaseScale, StoredValues
from dicom_io.series import Part

SAME_SLOPE = 1e-6
SMALLEST_SLOPE = 1e-12
SAME_ZERO = 0.02
FEWEST_OF_A_SIGN = 0.05
FARTHEST_SCALE = 10.0
MOST, FEWEST_FRAMES = 0.6, 3
GAIN_DIGITS = 6
LEAST_OF_STATED, MOST_OF_STATED = 0.75, 1.02
REMEDY = "export the images with their original rescaling"


def require_one_scale(chosen: Mapping[Slot, FrameHeader], names: Mapping[str, str]) -> None:
    """Refuse images of one acquisition that cannot be compared with each other by what their headers say.

    Phase is left out: its scale is proved by its span or unit. Where the manufacturer states a scale of its own for
    each image, slopes may differ; no manufacturer whose images are known gives a magnitude an intercept.

    Raises
    ------
    ContradictoryHeader
        A magnitude has an intercept; slopes, or the zeros of real and imaginary images, differ without a reason.
    PhaseScaleUnknown
        By RescaleIntercept and RescaleSlope real or imaginary values could have one sign only, or signed ones another
        zero than 0.
    """
    frames = [frame for (part, _, _), frame in chosen.items() if part is not Part.PHASE]
    for frame in frames:
        _require_plain_magnitude(frame, names)
    complex_frames = [frame for frame in frames if frame.part is not Part.MAGNITUDE]
    for frame in complex_frames:
        _require_two_signs(frame, names)
    if not all(frame.values.has_own_scale for frame in frames):
        _require_equal(frames, names)
    _require_near_scales(frames, names)
    _require_usual_scale(chosen, names)
    _require_one_zero(complex_frames, names)


def _require_plain_magnitude(frame: FrameHeader, names: Mapping[str, str]) -> None:
    if frame.part is Part.MAGNITUDE and frame.values.intercept:
        raise ContradictoryHeader(
            f"{names[frame.sop_instance_uid]}: {named('RescaleIntercept')} is {frame.values.intercept:g} in a "
            f"magnitude image, whose zero is no signal; {REMEDY}."
        )
    if frame.values.slope is not None and not SMALLEST_SLOPE < frame.values.slope < 1 / SMALLEST_SLOPE:
        raise ContradictoryHeader(
            f"{names[frame.sop_instance_uid]}: {named('RescaleSlope')} is {frame.values.slope:g} in a {frame.part} "
            f"image; {REMEDY}."
        )


def _require_equal(frames: Sequence[FrameHeader], names: Mapping[str, str]) -> None:
    first = frames[0]
    for frame in frames[1:]:
        if abs(_slope(frame.values) / _slope(first.values) - 1) > SAME_SLOPE:
            raise ContradictoryHeader(
                f"{names[frame.sop_instance_uid]}: {named('RescaleSlope')} is {_slope(frame.values):g}, in "
                f"{names[first.sop_instance_uid]} {_slope(first.values):g}, and nothing in the headers proves that "
                f"the scanner scaled {frame.part} images one by one; {REMEDY}."
            )


def require_same_scale(scale: PhaseScale, first: PhaseScale) -> None:
    """Refuse phase images of one acquisition that become radians in different ways; scanners scale them all alike.

    Raises
    ------
    ContradictoryHeader
        Slope or intercept is another one than the first image's.
    """
    steps = abs(scale.slope - first.slope) / first.slope, abs(scale.intercept - first.intercept) / first.slope
    if max(steps) > SAME_SLOPE:
        raise ContradictoryHeader(
            f"{named('RescaleSlope')} and {named('RescaleIntercept')} of this phase image ({scale.sentence}) are not "
            f"those of the first ({first.sentence}); {REMEDY}."
        )


def require_stated_range(frames: Sequence[FrameHeader], ends: np.ndarray, names: Mapping[str, str]) -> None:
    """Refuse images scaled each on its own whose stored values are not within what their own scale says.

    A scale that came from another image would change nothing else that a header shows.

    Parameters
    ----------
    frames
        Of one part.
    ends
        Lowest and highest stored value of each, `(frame, 2)`.
    names
        How sentences call their objects.

    Raises
    ------
    ContradictoryHeader
        An image holds more, or far less, than its header says.
    """
    if len({_rounded(frame.values.gain) for frame in frames}) == 1:
        return
    for frame, (low, high) in zip(frames, ends, strict=True):
        if len(frame.stated_range) != 2:
            continue
        zero = _zero(frame.values)
        stated = max(frame.stated_range[1] - zero, zero - frame.stated_range[0])
        found = max(high - zero, zero - low)
        if not LEAST_OF_STATED * stated - 1 <= found <= MOST_OF_STATED * stated + 1:
            raise ContradictoryHeader(
                f"{names[frame.sop_instance_uid]}: the {frame.part} image has stored values up to {found:g} from "
                f"zero, by the manufacturer's own scale and range they go to {stated:.6g}; {REMEDY}."
            )


def _require_near_scales(frames: Sequence[FrameHeader], names: Mapping[str, str]) -> None:
    """Refuse a manufacturer's own scale that is out of all proportion to those of the other images."""
    usual = float(np.median([frame.values.gain for frame in frames]))
    for frame in frames:
        if usual and not usual / FARTHEST_SCALE < frame.values.gain < usual * FARTHEST_SCALE:
            raise ContradictoryHeader(
                f"{names[frame.sop_instance_uid]}: {named('RescaleSlope')} times the manufacturer's own scale of the "
                f"image is {frame.values.gain:.3g}, in most images {usual:.3g}; {REMEDY}."
            )


def _require_usual_scale(chosen: Mapping[Slot, FrameHeader], names: Mapping[str, str]) -> None:
    """Refuse one manufacturer's own scale among images that were scaled together.

    Philips scales the images of an echo all alike (Ingenia Elition X 5.7.1, Achieva 5.3.0) or each on its own. Where
    most of those with one rescaling have one scale slope, or the reverse, another one was changed on the way.
    """
    groups: dict[tuple[object, ...], list[FrameHeader]] = {}
    for (part, echo, _), frame in chosen.items():
        if part is not Part.PHASE and frame.values.has_own_scale:
            slope = _slope(frame.values)
            groups.setdefault((part, echo, slope, frame.values.intercept), []).append(frame)
            groups.setdefault((part, echo, _rounded(frame.values.gain / slope)), []).append(frame)
    for frames in groups.values():
        usual, count = Counter(_rounded(frame.values.gain) for frame in frames).most_common(1)[0]
        odd = next((frame for frame in frames if _rounded(frame.values.gain) != usual), None)
        if odd is not None and len(frames) >= FEWEST_FRAMES and count >= MOST * len(frames):
            raise ContradictoryHeader(
                f"{names[odd.sop_instance_uid]}: {named('RescaleSlope')} times the manufacturer's own scale of the "
                f"{odd.part} image is {odd.values.gain:.7g}, in most images that were scaled with it {usual:.7g}; "
                f"{REMEDY}."
            )


@lru_cache(1024)
def _rounded(gain: float) -> float:
    return float(f"{gain:.{GAIN_DIGITS}g}")


def _require_one_zero(frames: Sequence[FrameHeader], names: Mapping[str, str]) -> None:
    for frame in frames[1:]:
        if abs(_zero(frame.values) - _zero(frames[0].values)) > SAME_ZERO:
            raise ContradictoryHeader(
                f"{names[frame.sop_instance_uid]}: by {named('RescaleIntercept')} and {named('RescaleSlope')} the "
                f"stored value {_zero(frame.values):g} is zero, in {names[frames[0].sop_instance_uid]} "
                f"{_zero(frames[0].values):g}; real and imaginary images share one zero: {REMEDY}."
            )


def _require_two_signs(frame: FrameHeader, names: Mapping[str, str]) -> None:
    """Refuse real or imaginary images whose rescaling moves their zero away from where stored values can have it."""
    values = frame.values
    if values.is_signed and values.intercept:
        raise PhaseScaleUnknown(
            f"{names[frame.sop_instance_uid]}: {named('RescaleIntercept')} is {values.intercept:g} in a {frame.part} "
            f"image of signed values, whose zero is 0; {REMEDY}."
        )
    if values.is_signed or not values.bits_stored:
        return
    if not FEWEST_OF_A_SIGN <= _zero(values) / (2**values.bits_stored - 1) <= 1 - FEWEST_OF_A_SIGN:
        raise PhaseScaleUnknown(
            f"{names[frame.sop_instance_uid]}: by {named('RescaleIntercept')} and {named('RescaleSlope')} the "
            f"{frame.part} values are never negative, or never positive, so their zero was lost; {REMEDY}."
        )


def _slope(values: StoredValues) -> float:
    return 1.0 if values.slope is None else values.slope


def _zero(values: StoredValues) -> float:
    """Return the stored value that means no signal."""
    return -(values.intercept or 0.0) / _slope(values)
