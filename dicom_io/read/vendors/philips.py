"""Philips: classic and enhanced exports, phase in milliradians.

Golden series: Ingenia Elition X 5.7.1 (phase slope 1.53455, intercept −3142, mrad; phase grows with the field) and
Achieva 5.3.0 (a B0 map in hertz whose frames call themselves REAL).
"""

import math
from collections.abc import Iterator

from dicom_io.instance import attribute, number, numbers, text, words
from dicom_io.read.multiframe import FrameView
from dicom_io.read.vendors.convention import (
    Declared,
    PhaseScale,
    StoredValues,
    Vendor,
    Witness,
    refuse_scale,
    scale_from_span,
    scale_from_units,
)
from dicom_io.series import Part

IMAGING_001 = "Philips Imaging DD 001"
MR_001 = "Philips MR Imaging DD 001"
PART_WORDS = {"M": Part.MAGNITUDE, "P": Part.PHASE, "R": Part.REAL, "I": Part.IMAGINARY}
COMPONENTS = {
    "MAGNITUDE": Part.MAGNITUDE,
    "PHASE": Part.PHASE,
    "REAL": Part.REAL,
    "IMAGINARY": Part.IMAGINARY,
}
FIELD_MAP_WORDS = {"FIELD_MAP", "B0 MAP", "B0"}
SAME_ZERO, SAME_MAPPING = 0.05, 1e-4
OTHER_MAPS = {"VELOCITY MAP", "ADC", "T1 MAP", "T2 MAP", "R2 MAP", "R2STAR MAP", "W", "F", "PROTON DENSITY MAP"}


def part(view: FrameView) -> Part:
    """Return what the frame's pixels are, from the frame type first and from the private image type for old exports."""
    kind = set(words(view.get("FrameType"))) | set(words(view.get("ImageType")))
    private = text(view.private(MR_001, 0x2005, 0x11)).upper()
    if view.is_one_of_many:
        kind = set(words(view.get("FrameType")))
    if kind & FIELD_MAP_WORDS or private == "B0":
        return Part.FIELD_MAP
    if kind & OTHER_MAPS:
        return Part.UNKNOWN
    component = text(view.get("ComplexImageComponent")).upper()
    if component in COMPONENTS:
        return COMPONENTS[component]
    for word in (*words(view.get("FrameType"))[3:4], *words(view.get("ImageType"))[3:4], private):
        if word in PART_WORDS:
            return PART_WORDS[word]
    return Part.UNKNOWN


def private_witnesses(view: FrameView) -> Iterator[Witness]:
    """Yield what Image Type MR (2005,xx11) calls the frame."""
    private = text(view.private(MR_001, 0x2005, 0x11)).upper()
    if private in PART_WORDS:
        yield "the private (2005,xx11)", PART_WORDS[private]


def declared(view: FrameView) -> Declared:
    """Return Number of Slices MR (2001,xx18) and Number of Echoes (2001,xx14)."""
    slices = number(view.private(IMAGING_001, 0x2001, 0x18), "NumberOfSlices")
    echoes = number(view.private(IMAGING_001, 0x2001, 0x14), "EchoTrainLength")
    return Declared(slices=int(slices) if slices else None, echoes=int(echoes) if echoes else None)


def phase_scale(values: StoredValues) -> PhaseScale:
    """Return milliradians or radians as the unit or the span of the rescaling says."""
    scale = scale_from_units(values) or scale_from_span(values, (1000 * math.pi, math.pi))
    if scale is None:
        raise refuse_scale("Philips", "slope 1.53455, intercept −3142, mrad")
    return scale


def objection(view: FrameView, kind: Part) -> tuple[str, str] | None:
    """Return in what Philips' second witnesses contradict rescaling or place of the frame, or None."""
    sentence = _rescaling_contradiction(view, kind) or _centre_contradiction(view)
    return ("ContradictoryHeader", sentence) if sentence else None


def _rescaling_contradiction(view: FrameView, kind: Part) -> str:
    """Compare the public rescaling with the real world mapping, and with private scale intercept and slope.

    Source: Chenevert et al. 2014, doi:10.1593/tlo.13811; on Ingenia 5.7.1 all of them agree to seven digits.
    """
    if kind not in PART_WORDS.values():
        return ""
    slope = number(view.get("RescaleSlope"), "RescaleSlope")
    intercept = number(view.get("RescaleIntercept"), "RescaleIntercept")
    zero = number(view.private(MR_001, 0x2005, 0x0D), "RescaleIntercept")
    scale_slope = number(view.private(MR_001, 0x2005, 0x0E), "RescaleSlope")
    if scale_slope is not None and not scale_slope > 0:
        return f"an image whose private scale slope (2005,xx0E) is {scale_slope:g}"
    if not slope:
        is_torn = bool(scale_slope) and kind is not Part.PHASE
        return "an image with a private scale slope (2005,xx0E), but no Rescale Slope (0028,1053)" * is_torn
    if zero is not None and abs(zero + (intercept or 0.0) / slope) > SAME_ZERO:
        return (
            f"an image in which Rescale Intercept (0028,1052) and the private scale intercept (2005,xx0D) make "
            f"different stored values zero, {-(intercept or 0.0) / slope:g} and {zero:g}"
        )
    if kind is Part.PHASE and scale_slope and all(abs(slope * scale_slope / pi - 1) > 0.01 for pi in (1, 1000)):
        return (
            "a phase image whose Rescale Slope (0028,1053) and private scale slope (2005,xx0E) give different radians"
        )
    return _mapping_contradiction(view, slope, intercept)


def _mapping_contradiction(view: FrameView, slope: float, intercept: float | None) -> str:
    mapping = view.item("RealWorldValueMappingSequence")
    mapped = number(attribute(mapping, "RealWorldValueSlope"), "RealWorldValueSlope") if mapping is not None else None
    start = number(attribute(mapping, "RealWorldValueIntercept"), "RealWorldValueIntercept") if mapped else None
    is_same = mapped is None or abs(mapped / slope - 1) < SAME_MAPPING
    if is_same and (start is None or abs(start - (intercept or 0.0)) < SAME_ZERO * slope):
        return ""
    return "an image whose Rescale Slope (0028,1053) and Intercept are not those of its Real World Value Mapping"


def _centre_contradiction(view: FrameView) -> str:
    """Compare the middle of a classic image with the private off-centre (2005,xx08), (2005,xx09) and (2005,xx0A)."""
    stated = [number(view.private(MR_001, 0x2005, offset), "ImagePositionPatient") for offset in (0x0A, 0x08, 0x09)]
    if view.is_one_of_many or None in stated:
        return ""
    corner = numbers(view.get("ImagePositionPatient"), "ImagePositionPatient")
    directions = numbers(view.get("ImageOrientationPatient"), "ImageOrientationPatient")
    spacing = numbers(view.get("PixelSpacing"), "PixelSpacing")
    if (len(corner), len(directions), len(spacing)) != (3, 6, 2):
        return ""
    width = ((number(view.get("Columns"), "Columns") or 1) - 1) / 2 * spacing[1]
    height = ((number(view.get("Rows"), "Rows") or 1) - 1) / 2 * spacing[0]
    for axis, centre in enumerate(stated):
        found = corner[axis] + width * directions[axis] + height * directions[3 + axis]
        # Releases place the corner at the middle of a pixel or at its edge.
        if centre is not None and abs(found - centre) > max(spacing):
            return (
                "an image whose middle, by Image Position (0020,0032) and Image Orientation (0020,0037), is not the "
                "off-centre (2005,xx08) to (2005,xx0A) at which Philips says that it lies"
            )
    return ""


def gain(view: FrameView, kind: Part) -> float:
    """Return RescaleSlope × scale slope, which is constant unless each image was scaled on its own; 0 without them.

    Source: Chenevert et al. 2014, doi:10.1593/tlo.13811.
    """
    slope = number(view.get("RescaleSlope"), "RescaleSlope")
    scale_slope = number(view.private(MR_001, 0x2005, 0x0E), "RescaleSlope")
    if kind is Part.PHASE:
        return 1.0
    return slope * scale_slope if slope and scale_slope else 0.0


def stated_range(view: FrameView, kind: Part) -> tuple[float, ...]:
    """Return the stored values that (2005,xx0C) and (2005,xx0B), by the frame's own scale, call lowest and highest.

    On Ingenia 5.7.1 and Achieva 5.3.0 the highest is 1 to 4 % above the highest of the image, never below it.
    """
    if kind is Part.PHASE:
        return ()
    low, high, zero, slope = (
        number(view.private(MR_001, 0x2005, offset), "RescaleSlope") for offset in (0x0C, 0x0B, 0x0D, 0x0E)
    )
    if low is None or high is None or not slope:
        return ()
    return low * slope + (zero or 0.0), high * slope + (zero or 0.0)


PHILIPS = Vendor(
    name="Philips",
    manufacturers=("PHILIPS",),
    part=part,
    declared=declared,
    phase_scale=phase_scale,
    objection=objection,
    gain=gain,
    stated_range=stated_range,
    private_witnesses=private_witnesses,
)
