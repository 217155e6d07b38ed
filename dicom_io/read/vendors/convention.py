"""What a manufacturer's images mean where the standard leaves it open: parts, counts, phase scale and phase sign."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dicom_io.errors import PhaseScaleUnknown
from dicom_io.instance import named, text, words
from dicom_io.read.multiframe import FrameView
from dicom_io.series import Part

RADIANS_PER_UNIT = {
    "mrad": 1e-3,
    "milliradian": 1e-3,
    "milliradians": 1e-3,
    "rad": 1.0,
    "radian": 1.0,
    "radians": 1.0,
    "deg": math.pi / 180,
    "degree": math.pi / 180,
    "degrees": math.pi / 180,
}
SPAN_TOLERANCE = 0.005
LARGEST_SHIFT = 0.6
STATED_PARTS = {
    "MAGNITUDE": Part.MAGNITUDE,
    "PHASE": Part.PHASE,
    "PHASE MAP": Part.PHASE,
    "REAL": Part.REAL,
    "IMAGINARY": Part.IMAGINARY,
    "M": Part.MAGNITUDE,
    "P": Part.PHASE,
    "R": Part.REAL,
    "I": Part.IMAGINARY,
    "M_FFE": Part.MAGNITUDE,
    "R_FFE": Part.REAL,
    "I_FFE": Part.IMAGINARY,
}

Witness = tuple[str, Part]


@dataclass(frozen=True)
class StoredValues:
    """How a frame's stored values are written, as far as its header says.

    `slope` and `intercept` are RescaleSlope and RescaleIntercept. `units` is the unit they lead to, lower case, empty
    where the header names none. `gain` makes frames of one acquisition comparable: divide by it after rescaling. It is
    0 where a manufacturer who states it did not.
    """

    slope: float | None
    intercept: float | None
    units: str
    bits_stored: int
    is_signed: bool
    gain: float = 1.0

    @property
    def has_own_scale(self) -> bool:
        """Whether the manufacturer states how this image was scaled, so that others may be scaled otherwise."""
        return self.gain not in (0.0, 1.0)


@dataclass(frozen=True)
class PhaseScale:
    """Radians = `slope` × stored value + `intercept`.

    `is_declared` is false where only the manufacturer's habit gives the scale; the pixels must then fill ±π.
    """

    slope: float
    intercept: float
    sentence: str
    is_declared: bool = True


@dataclass(frozen=True)
class Declared:
    """How many slices, echoes and images the protocol says there are; None where it says nothing."""

    slices: int | None = None
    echoes: int | None = None
    images: int | None = None


@dataclass(frozen=True)
class Vendor:
    """One manufacturer's conventions.

    `field_sign` is +1 where the stored phase grows with the magnetic field, −1 where it falls. `has_alternating_slices`
    marks scanners whose complex slices may alternate in sign. `counts_are_exact` is false where interpolation may make
    more slices than were declared. `stated_range` gives the lowest and highest stored value of a frame as private
    attributes have it, or nothing. `private_witnesses` yields what each private attribute calls the part. `caveat` is a
    sentence for the report.
    """

    name: str
    manufacturers: tuple[str, ...]
    part: Callable[[FrameView], Part]
    declared: Callable[[FrameView], Declared]
    phase_scale: Callable[[StoredValues], PhaseScale]
    objection: Callable[[FrameView, Part], tuple[str, str] | None] = lambda view, part: None
    gain: Callable[[FrameView, Part], float] = lambda view, part: 1.0
    stated_range: Callable[[FrameView, Part], tuple[float, ...]] = lambda view, part: ()
    field_sign: int = 1
    has_alternating_slices: bool = False
    counts_are_exact: bool = True
    private_witnesses: Callable[[FrameView], Iterator[Witness]] = lambda view: iter(())
    caveat: str = ""


def declares_nothing(view: FrameView) -> Declared:
    """Return no counts, for manufacturers whose headers hold none."""
    return Declared()


def public_witnesses(view: FrameView) -> Iterator[Witness]:
    """Yield each public attribute that names the part of this frame, with what it calls it (PS3.3 C.8.13.3.1)."""
    component = text(view.get("ComplexImageComponent")).upper()
    if component in STATED_PARTS:
        yield named("ComplexImageComponent"), STATED_PARTS[component]
    # In an object of many frames ImageType sums them up; only FrameType speaks for one of them.
    keyword = "FrameType" if view.is_one_of_many and view.get("FrameType") else "ImageType"
    for word in words(view.get(keyword))[2:]:
        if word in STATED_PARTS:
            yield named(keyword), STATED_PARTS[word]


def contradiction(vendor: Vendor, view: FrameView) -> str:
    """Return how two attributes call this frame different parts, or an empty string where they agree."""
    witnesses = [*public_witnesses(view), *vendor.private_witnesses(view)]
    for attribute, part in witnesses[1:]:
        first_attribute, first = witnesses[0]
        if part is not first:
            return f"called {first} in {first_attribute} and {part} in {attribute}"
    return ""


def scale_from_units(values: StoredValues) -> PhaseScale | None:
    """Return the scale that the header's own unit proves, or None where it names no angle."""
    factor = RADIANS_PER_UNIT.get(values.units)
    if factor is None or not _rises(values) or values.slope is None or values.intercept is None:
        return None
    return PhaseScale(
        values.slope * factor,
        values.intercept * factor,
        f"{_rule(values.slope, values.intercept)} is phase in {values.units}, as the header states",
    )


def _rises(values: StoredValues) -> bool:
    """No scanner is known whose rescaling turns the phase round; a slope below 0 would turn the map's sign."""
    return values.slope is not None and values.slope > 0


def _rule(slope: float, intercept: float) -> str:
    if not intercept:
        return f"stored × {slope:g}"
    return f"stored × {slope:g} {'−' if intercept < 0 else '+'} {abs(intercept):g}"


def scale_from_span(values: StoredValues, pi_values: tuple[float, ...]) -> PhaseScale | None:
    """Return the scale of a rescaling that maps the whole stored range onto ±`pi_value`, for one of `pi_values`."""
    if not _rises(values) or values.slope is None or values.intercept is None or not 8 <= values.bits_stored <= 16:
        return None
    lowest = -(2 ** (values.bits_stored - 1)) if values.is_signed else 0
    first = values.slope * lowest + values.intercept
    span = values.slope * (2**values.bits_stored - 1)
    for pi_value in pi_values:
        if _is_end(-first, pi_value, values.slope) and abs(span / (2 * pi_value) - 1) < SPAN_TOLERANCE:
            factor = math.pi / pi_value
            return PhaseScale(
                values.slope * factor,
                values.intercept * factor,
                f"{_rule(values.slope, values.intercept)} spans ±{pi_value:g}, which is ±π",
            )
    return None


def _is_end(found: float, pi_value: float, slope: float) -> bool:
    """Tell whether a range ends where π is, up to half a stored step, or to the decimals of a rounded π.

    Where π is a whole number by convention, the range ends exactly there.
    """
    if float(pi_value).is_integer():
        return found == pi_value
    rounded = (round(pi_value, digits) for digits in range(2, 6))
    return abs(found - pi_value) <= LARGEST_SHIFT * slope or any(abs(found - value) < 1e-9 for value in rounded)


def refuse_scale(vendor: str, known: str) -> PhaseScaleUnknown:
    """Return the refusal that names the attributes that should have proved the scale."""
    return PhaseScaleUnknown(
        f"Nothing proves how the stored phase becomes radians: {named('RescaleSlope')}, {named('RescaleIntercept')} "
        f"and {named('RescaleType')} fit no convention of {vendor} ({known}); "
        "export the phase with its original rescaling."
    )
