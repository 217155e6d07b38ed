"""Siemens: phase stored 0…4095, rescaled to ±4096 where 4096 is π; phase grows with the field.

Golden series: Prisma fit VE11C and XA30 phase difference of the product field map (slope 2, intercept −4096; positive
above the sinuses), Terra.X XA60 BOLD, whose public ImageType no longer says M or P but whose private one does.
"""

import math
import re
from collections.abc import Iterator

from dicom_io.instance import text, words
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

COMPONENTS = {
    "MAGNITUDE": Part.MAGNITUDE,
    "PHASE": Part.PHASE,
    "REAL": Part.REAL,
    "IMAGINARY": Part.IMAGINARY,
}
PART_WORDS = {"M": Part.MAGNITUDE, "P": Part.PHASE, "R": Part.REAL, "I": Part.IMAGINARY}
FIELD_MAP_SEQUENCE = re.compile(r"\*?fm2d2r?", re.IGNORECASE)
PROTOCOL_HOLDERS = (
    ("SIEMENS CSA HEADER", 0x0029, 0x20),
    ("SIEMENS MR SDS 01", 0x0021, 0x19),
    ("SIEMENS MR SDI 02", 0x0021, 0x19),
)
N_ECHOES = re.compile(rb"(?m)^lContrasts\s*=\s*(\d+)")
COUNTS = re.compile(
    rb"(?m)^(sSliceArray\.lSize|sKSpace\.lImagesPerSlab|sKSpace\.ucDimension)\s*=\s*(0x[0-9a-fA-F]+|\d+)"
)
PLANAR, VOLUME = 2, 4


def image_type(view: FrameView) -> tuple[str, ...]:
    """Return the image type words; since XA60 only the private one (0021,xx75) names the part and the correction."""
    private = words(view.private("SIEMENS MR SDI 02", 0x0021, 0x75))
    return (*words(view.get("FrameType")), *words(view.get("ImageType")), *private)


def part(view: FrameView) -> Part:
    """Return what the frame's pixels are; the phase of the field-map sequence is the difference of its echoes."""
    found = _component(view)
    sequence = text(view.get("SequenceName")) or text(view.get("PulseSequenceName"))
    if found is Part.PHASE and (FIELD_MAP_SEQUENCE.fullmatch(sequence) or b"gre_field_mapping" in _protocol(view)):
        return Part.PHASE_DIFFERENCE
    return found


def _component(view: FrameView) -> Part:
    component = text(view.get("ComplexImageComponent")).upper()
    if component in COMPONENTS:
        return COMPONENTS[component]
    for word in image_type(view)[2:]:
        if word in PART_WORDS:
            return PART_WORDS[word]
    return Part.UNKNOWN


def private_witnesses(view: FrameView) -> Iterator[Witness]:
    """Yield what the image type texts of XA, (0021,xx75), and of VB to VE, (0051,xx16) as in "p2 M/ND", call it."""
    for word in words(view.private("SIEMENS MR SDI 02", 0x0021, 0x75))[2:]:
        if word in PART_WORDS:
            yield "the private (0021,xx75)", PART_WORDS[word]
    for word in re.split(r"[ /]", text(view.private("SIEMENS MR HEADER", 0x0051, 0x16))):
        if word in PART_WORDS:
            yield "the private (0051,xx16)", PART_WORDS[word]


def _protocol(view: FrameView) -> bytes:
    for creator, group, offset in PROTOCOL_HOLDERS:
        value = view.private(creator, group, offset)
        if value:
            return value if isinstance(value, bytes) else str(value).encode("latin-1", "replace")
    return b""


def declared(view: FrameView) -> Declared:
    """Return echoes and slices of the protocol text that Siemens stores beside the image, where it was kept."""
    protocol = _protocol(view)
    found = N_ECHOES.search(protocol)
    return Declared(slices=_slices(protocol), echoes=int(found[1]) if found else None)


def _slices(protocol: bytes) -> int | None:
    """Return how many slices a protocol has: those of its groups (VE11C, XA30, XA60), or the images of its one slab.

    Several slabs overlap, and how many of their images are kept is not known.
    """
    found = COUNTS.findall(protocol)
    counts = {name.rpartition(b".")[2]: int(text, 16 if text.startswith(b"0x") else 10) for name, text in found}
    dimension, n_groups = counts.get(b"ucDimension"), counts.get(b"lSize")
    if dimension == PLANAR:
        return n_groups or None
    return counts.get(b"lImagesPerSlab") or None if dimension == VOLUME and n_groups == 1 else None


def phase_scale(values: StoredValues) -> PhaseScale:
    """Return the scale on which the whole stored range is ±π."""
    scale = scale_from_units(values) or scale_from_span(values, (4096.0,))
    if scale is not None:
        return scale
    if (values.slope, values.intercept) == (2.0, -4096.0):
        sentence = "stored × 2 − 4096 spans ±4096, which is ±π, in more bits than that needs"
        return PhaseScale(math.pi / 2048, -math.pi, sentence, is_declared=False)
    has_no_rescaling = values.slope in (None, 1.0) and values.intercept in (None, 0.0)
    if has_no_rescaling and values.bits_stored == 12 and not values.is_signed:
        return plain_twelve_bits()
    raise refuse_scale("Siemens", "slope 2, intercept −4096, or 12 bits without rescaling")


def plain_twelve_bits() -> PhaseScale:
    """Return the scale of 12 stored bits without rescaling: 0 is −π, 2048 is 0."""
    return PhaseScale(
        math.pi / 2048, -math.pi, "12 stored bits without rescaling span ±π, as Siemens writes them", is_declared=False
    )


SIEMENS = Vendor(
    name="Siemens",
    manufacturers=("SIEMENS",),
    part=part,
    declared=declared,
    phase_scale=phase_scale,
    private_witnesses=private_witnesses,
)
