"""Lodestone's own simulated scanner: it writes phase as Siemens does, and declares how many images it sends."""

from dicom_io.instance import number, words
from dicom_io.read.multiframe import FrameView
from dicom_io.read.vendors.convention import Declared, PhaseScale, StoredValues, Vendor, refuse_scale, scale_from_span
from dicom_io.series import Part

PART_WORDS = {"M": Part.MAGNITUDE, "P": Part.PHASE}


def part(view: FrameView) -> Part:
    """Return what the pixels are, from the third word of ImageType."""
    third = words(view.get("ImageType"))[2:3]
    return PART_WORDS.get(third[0], Part.UNKNOWN) if third else Part.UNKNOWN


def declared(view: FrameView) -> Declared:
    """Return ImagesInAcquisition and EchoTrainLength."""
    images = number(view.get("ImagesInAcquisition"), "ImagesInAcquisition")
    echoes = number(view.get("EchoTrainLength"), "EchoTrainLength")
    return Declared(echoes=int(echoes) if echoes else None, images=int(images) if images else None)


def phase_scale(values: StoredValues) -> PhaseScale:
    """Return the scale on which ±4096 is ±π."""
    scale = scale_from_span(values, (4096.0,))
    if scale is None:
        raise refuse_scale("the simulated scanner", "slope 2, intercept −4096")
    return scale


SIMULATED = Vendor(
    name="Lodestone simulated scanner",
    manufacturers=("LODESTONE",),
    part=part,
    declared=declared,
    phase_scale=phase_scale,
)
