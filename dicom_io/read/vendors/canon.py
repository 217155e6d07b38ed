"""Canon and Toshiba: the standard's own attributes name the part.

Golden series: Galan 3T V6.1 diffusion (ImageType ORIGINAL\\PRIMARY\\GDC: no word for the part; corrected for gradient
distortion). No golden phase series was at hand, so only a scale that the header itself proves is accepted.
Proven: how magnitude is named. Assumed: that the phase grows with the field; the QSM toolbox of Johns Hopkins and
Kennedy Krieger (read_DICOM) agrees, which reads Toshiba's phase with the sign of Siemens' and turns GE's only.
"""

import math

from dicom_io.instance import text, words
from dicom_io.read.multiframe import FrameView
from dicom_io.read.vendors.convention import (
    PhaseScale,
    StoredValues,
    Vendor,
    declares_nothing,
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
    "IMAGINE": Part.IMAGINARY,
}


def part(view: FrameView) -> Part:
    """Return what the pixels are; an image without a word for its part is magnitude."""
    for word in (text(view.get("ComplexImageComponent")).upper(), *words(view.get("ImageType"))[2:]):
        if word in COMPONENTS:
            return COMPONENTS[word]
    return Part.MAGNITUDE


def phase_scale(values: StoredValues) -> PhaseScale:
    """Return the stated unit, or a rescaling that spans ±π or ±1000π."""
    scale = scale_from_units(values) or scale_from_span(values, (math.pi, 1000 * math.pi))
    if scale is None:
        raise refuse_scale("Canon", "a stated unit, or a span of ±π or ±3142")
    return scale


CANON = Vendor(
    name="Canon",
    manufacturers=("CANON", "TOSHIBA"),
    part=part,
    declared=declares_nothing,
    phase_scale=phase_scale,
    caveat="The sign of Canon's phase is assumed (growing with the field), as other software does, and not proved: if "
    "veins and globus pallidus come out dark, the sign is the other one and the map must not be used.",
)
