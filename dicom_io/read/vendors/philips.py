"""Philips: classic and enhanced exports, phase in milliradians.

Golden series: Ingenia Elition X 5.7.1 (phase slope 1.53455, intercept −3142, mrad; phase grows with the field) and
Achieva 5.3.0 (a B0 map in hertz whose frames call themselves REAL).
"""

import math
from collections.abc import Iterator

from dicom_io.instance import number, text, words
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
OTHER_MAPS = {"VELOCITY MAP", "ADC", "T1 MAP", "T2 MAP", "R2 MAP", "R2STAR MAP", "W", "F", "PROTON DENSITY MAP"}


def part(view: FrameView) -> Part:
    """Return what the frame's pixels are, from the frame type first and from the private image type for old exports."""
    kind = set(words(view.get("FrameType"))) | set(words(view.get("ImageType")))
    private = text(view.private(MR_001, 0x2005, 0x11)).upper()
    if view.groups:
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
    """Return a contradiction between the public rescaling and Philips' private one (2005,xx0D) and (2005,xx0E)."""
    slope = number(view.get("RescaleSlope"), "RescaleSlope")
    scale_slope = number(view.private(MR_001, 0x2005, 0x0E), "RescaleSlope")
    if kind is not Part.PHASE or not slope or not scale_slope:
        return None
    ratios = (slope * scale_slope, slope * scale_slope / 1000)
    if all(abs(ratio - 1) > 0.01 for ratio in ratios):
        return "ContradictoryHeader", (
            "a phase image whose Rescale Slope (0028,1053) and private scale slope (2005,xx0E) give different radians"
        )
    return None


def gain(view: FrameView, kind: Part) -> float:
    """Return RescaleSlope × scale slope, which is constant unless each image was scaled on its own; 0 without them.

    Source: Chenevert et al. 2014, doi:10.1593/tlo.13811.
    """
    slope = number(view.get("RescaleSlope"), "RescaleSlope")
    scale_slope = number(view.private(MR_001, 0x2005, 0x0E), "RescaleSlope")
    if kind is Part.PHASE:
        return 1.0
    return slope * scale_slope if slope and scale_slope else 0.0


PHILIPS = Vendor(
    name="Philips",
    manufacturers=("PHILIPS",),
    part=part,
    declared=declared,
    phase_scale=phase_scale,
    objection=objection,
    gain=gain,
    private_witnesses=private_witnesses,
)
