"""United Imaging: the standard's own attributes name the part.

Golden series: uMR 770 R002 inversion-recovery T1 (magnitude, ComplexImageComponent set in a classic image).
No golden phase series was at hand, so only a scale that the header itself proves is accepted.
Proven: how parts are named. Assumed: that the phase grows with the field, as at Siemens. What others do contradicts
itself: converters and QSMxT turn the sign of GE only, the MEDI toolbox (Read_United_DICOM) reads the phase as it is,
which it does for GE, and conjugates Siemens and Philips. So every report and `inspect` say that the sign is assumed.
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
    "M": Part.MAGNITUDE,
    "P": Part.PHASE,
    "R": Part.REAL,
    "I": Part.IMAGINARY,
}


def part(view: FrameView) -> Part:
    """Return what the pixels are, from ComplexImageComponent or the third word of ImageType."""
    for word in (text(view.get("ComplexImageComponent")).upper(), *words(view.get("ImageType"))[2:3]):
        if word in COMPONENTS:
            return COMPONENTS[word]
    return Part.UNKNOWN


def phase_scale(values: StoredValues) -> PhaseScale:
    """Return the stated unit, or a rescaling that spans ±π, ±1000π or ±4096."""
    scale = scale_from_units(values) or scale_from_span(values, (math.pi, 1000 * math.pi, 4096.0))
    if scale is None:
        raise refuse_scale("United Imaging", "a stated unit, or a span of ±π, ±3142 or ±4096")
    return scale


UNITED_IMAGING = Vendor(
    name="United Imaging",
    manufacturers=("UIH", "UNITED IMAGING"),
    part=part,
    declared=declares_nothing,
    phase_scale=phase_scale,
    caveat="The sign of United Imaging's phase is assumed (growing with the field) and other software assumes both: if "
    "veins and globus pallidus come out dark, the sign is the other one and the map must not be used.",
)
