"""Why a frame cannot become part of a susceptibility map, read from its protocol and its image type."""

from dataclasses import dataclass

from dicom_io.instance import number, text, words
from dicom_io.read.multiframe import FrameView
from dicom_io.read.vendors.convention import Vendor, contradiction
from dicom_io.read.vendors.siemens import image_type as siemens_image_type
from dicom_io.series import Part

PHASE_CARRIERS = (Part.PHASE, Part.REAL, Part.IMAGINARY)
COMPONENTS = (Part.MAGNITUDE, *PHASE_CARRIERS)
DISTORTION_WORDS = {"DIS2D", "DIS3D", "GDC"}
INTENSITY_WORDS = {"NORM"}
FILTER_WORDS = {"SWI", "SWIP", "HOMODYNE", "FILTERED", "HPF", "MNIP", "MINIP", "MIP", "PROJECTION IMAGE", "MPR"}
INTERPOLATION_WORDS = {"INTERPOLATED", "RESAMPLED", "REFORMATTED"}
RESAMPLED = ("SAMPLED", "DISTORTED")  # PS3.3 C.8.16.2.1.2
FLOW_WORDS = {"PCA", "PHASE CONTRAST", "VELOCITY MAP", "VELOCITY", "PHASE_CONTRAST"}


@dataclass(frozen=True)
class Objection:
    """A refusal by the name of its class, and the sentence without file name and remedy."""

    refusal: str
    sentence: str


def objections_to(view: FrameView, vendor: Vendor | None, part: Part) -> tuple[Objection, ...]:
    """Return what speaks against this frame beside its manufacturer's own objection; empty where nothing does."""
    kinds = set(siemens_image_type(view))
    found = [*_protocol(view, kinds), *_filters(view, kinds, part)]
    if vendor is not None:
        both = contradiction(vendor, view) if part in COMPONENTS else ""
        if both:
            found.append(Objection("ContradictoryHeader", both))
    return tuple(found)


def is_weighted_or_projected(view: FrameView) -> bool:
    """Return whether the frame was made from magnitude and phase together, or from several slices."""
    return bool(set(siemens_image_type(view)) & FILTER_WORDS)


def _protocol(view: FrameView, kinds: set[str]) -> list[Objection]:
    scanning = set(words(view.get("ScanningSequence")))
    reasons = []
    if _is_diffusion(view, kinds):
        reasons.append("a diffusion image")
    if ("SE" in scanning and "GR" not in scanning) or text(view.get("EchoPulseSequence")).upper() == "SPIN":
        reasons.append("a spin echo, which refocuses the phase of the field")
    if "IR" in scanning or text(view.get("InversionRecovery")).upper() == "YES":
        reasons.append("an inversion recovery image, whose phase is not that of the field")
    if kinds & FLOW_WORDS or text(view.get("PhaseContrast")).upper() == "YES":
        reasons.append("a phase contrast image, whose phase is velocity")
    if kinds & {"MOSAIC", "FMRI"} or "FMRI" in text(view.get("AcquisitionContrast")).upper():
        reasons.append("a time series of echo planar images (BOLD)")
    return [Objection("NoPhaseInProtocol", reason) for reason in reasons]


def _is_diffusion(view: FrameView, kinds: set[str]) -> bool:
    directionality = text(view.get("DiffusionDirectionality")).upper()
    value = number(view.get("DiffusionBValue"), "DiffusionBValue")
    contrast = text(view.get("AcquisitionContrast")).upper()
    return (
        bool(value and value > 0)
        or directionality in ("DIRECTIONAL", "BMATRIX", "ISOTROPIC")
        or bool(kinds & {"DIFFUSION", "ADC", "TRACEW", "FA"})
        or contrast == "DIFFUSION"
    )


def is_distortion_corrected(view: FrameView) -> bool:
    """Return whether the scanner resampled the frame to undo the distortion by its gradients."""
    return bool(set(siemens_image_type(view)) & DISTORTION_WORDS)


def is_intensity_corrected(view: FrameView) -> bool:
    """Return whether the scanner made the intensity even; Siemens can keep the images as they were beside these."""
    return bool(set(siemens_image_type(view)) & INTENSITY_WORDS)


def _filters(view: FrameView, kinds: set[str], part: Part) -> list[Objection]:
    if part not in PHASE_CARRIERS:
        return []
    found = []
    if kinds & DISTORTION_WORDS:
        names = ", ".join(sorted(kinds & DISTORTION_WORDS))
        found.append(Objection("FilteredPhase", f"corrected for distortion ({names}), which interpolates across wraps"))
    if kinds & INTERPOLATION_WORDS:
        found.append(Objection("FilteredPhase", "interpolated, which averages across wraps"))
    description = text(view.get("SeriesDescription")).upper()
    if kinds & FILTER_WORDS or description.startswith(("FILT_PHA", "FILT PHA", "FILTERED PHASE")):
        found.append(Objection("FilteredPhase", "filtered for susceptibility weighting, which removes the field"))
    elif text(view.get("VolumetricProperties")).upper() in RESAMPLED:
        found.append(Objection("FilteredPhase", "resampled from a volume, which interpolates across wraps"))
    elif text(view.get("VolumeBasedCalculationTechnique")).upper() not in ("", "NONE"):
        found.append(Objection("FilteredPhase", "calculated from a volume, which interpolates across wraps"))
    elif part is Part.PHASE and "DERIVED" in (*words(view.get("FrameType"))[:1], *words(view.get("ImageType"))[:1]):
        found.append(Objection("FilteredPhase", "derived, not original: what was done to it is unknown"))
    return found
