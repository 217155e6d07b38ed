"""GE: the part stands in a private element only; phase falls as the field grows, and slices may alternate in sign.

The sign is GE's, opposite to Siemens and Philips (UKRIN-MAPS/ukat#33; the MEDI toolbox reads Siemens and Philips phase
conjugated and GE's real and imaginary images as they are). The alternation of slices comes from a missing shift in the
slice transform of some product versions; the pixels show whether it is there.
Golden series: SIGNA Architect DV27 B0rf, whose magnitude and hertz images differ in no header element at all.
"""

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
    scale_from_units,
)
from dicom_io.series import Part

PARTS = {0: Part.MAGNITUDE, 1: Part.PHASE, 2: Part.REAL, 3: Part.IMAGINARY}
COMPONENTS = {"MAGNITUDE": Part.MAGNITUDE, "PHASE": Part.PHASE, "REAL": Part.REAL, "IMAGINARY": Part.IMAGINARY}
PARTS_BLOCK = "GEMS_PARM_01"
FIELD_MAP_SEQUENCES = ("B0RF", "B0MAP")
MILLIRADIANS = 1e-3


def part(view: FrameView) -> Part:
    """Return what the pixels are, from Image Type (0043,xx2F), or from the standard's own attribute where it is set."""
    sequences = {text(view.private("GEMS_ACQU_01", 0x0019, offset)).upper() for offset in (0x9C, 0x9E)}
    if sequences & set(FIELD_MAP_SEQUENCES):
        return Part.FIELD_MAP
    component = text(view.get("ComplexImageComponent")).upper()
    if view.is_one_of_many and component in COMPONENTS:
        return COMPONENTS[component]
    raw = number(view.private(PARTS_BLOCK, 0x0043, 0x2F), "ImageType")
    if raw is not None:
        return PARTS.get(int(raw), Part.UNKNOWN)
    if component in COMPONENTS:
        return COMPONENTS[component]
    for word in words(view.get("ImageType")):
        if word in COMPONENTS:
            return COMPONENTS[word]
    return Part.UNKNOWN


def private_witnesses(view: FrameView) -> Iterator[Witness]:
    """Yield what Image Type (0043,xx2F) calls the frame."""
    raw = number(view.private(PARTS_BLOCK, 0x0043, 0x2F), "ImageType")
    if raw in PARTS:
        yield "the private (0043,xx2F)", PARTS[int(raw)]


def objection(view: FrameView, kind: Part) -> tuple[str, str] | None:
    """Return a contradiction where a classic image has the private block that names its part, but not the name."""
    if view.is_one_of_many or kind is Part.FIELD_MAP or PARTS_BLOCK not in view.creators(0x0043):
        return None
    if number(view.private(PARTS_BLOCK, 0x0043, 0x2F), "ImageType") is not None:
        return None
    return "ContradictoryHeader", "an image whose private (0043,xx2F), which says what part it is, is empty or absent"


def declared(view: FrameView) -> Declared:
    """Return Locations in Acquisition (0021,xx4F) and Number of Echoes (0019,xx7E)."""
    slices = number(view.private("GEMS_RELA_01", 0x0021, 0x4F), "NumberOfSlices")
    echoes = number(view.private("GEMS_ACQU_01", 0x0019, 0x7E), "EchoTrainLength")
    return Declared(slices=int(slices) if slices else None, echoes=int(echoes) if echoes else None)


def phase_scale(values: StoredValues) -> PhaseScale:
    """Return the stated unit, or signed 16-bit milliradians, which the pixels must then fill."""
    scale = scale_from_units(values)
    if scale is not None:
        return scale
    has_no_rescaling = values.slope in (None, 1.0) and values.intercept in (None, 0.0)
    if has_no_rescaling and values.is_signed and values.bits_stored == 16:
        sentence = "signed stored values are milliradians, as GE writes them"
        return PhaseScale(MILLIRADIANS, 0.0, sentence, is_declared=False)
    raise refuse_scale("GE", "signed 16 bits in milliradians, or real and imaginary images")


GE = Vendor(
    name="GE",
    manufacturers=("GE", "GEHC"),
    part=part,
    declared=declared,
    phase_scale=phase_scale,
    field_sign=-1,
    has_alternating_slices=True,
    counts_are_exact=False,
    objection=objection,
    private_witnesses=private_witnesses,
)
