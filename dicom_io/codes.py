"""Every coded concept that Lodestone writes, with the context group or terminology it was read from.

Codes of nuclei without an identifier in a DICOM context group come from the Foundational Model of Anatomy (FMA) or
NeuroNames (NEU), both of which PS3.16 names as coding schemes; where no identifier was confirmed, a private code of
`99LODESTONE` is written rather than an invented public one.
"""

import hashlib
import re
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.sr.coding import Code

PRIVATE_SCHEME = "99LODESTONE"

QUANTITY = Code("246205007", "SCT", "Quantity")
MAGNETIC_SUSCEPTIBILITY = Code("126396", "DCM", "Magnetic Susceptibility")  # CID 7180
FIELD_MAP = Code("110807", "DCM", "Field Map MR Signal Intensity")
R2_STAR = Code("126395", "DCM", "R2*")
T2_STAR_WEIGHTED = Code("110806", "DCM", "T2* Weighted MR Signal Intensity")
# No context group has a quantity for what is not known of a map, or for how two maps differ.
SUSCEPTIBILITY_UNCERTAINTY = Code("QSM_UNCERTAINTY", PRIVATE_SCHEME, "Half width of the 90% interval of susceptibility")
SUSCEPTIBILITY_DIFFERENCE = Code("QSM_DIFFERENCE", PRIVATE_SCHEME, "Difference of two maps of magnetic susceptibility")
SUSCEPTIBILITY_MAPPING = Code("QSM", PRIVATE_SCHEME, "Quantitative susceptibility mapping")
BACKGROUND_REMOVAL = Code("FIELD_SEPARATION", PRIVATE_SCHEME, "Separation of local from background field")
RELAXOMETRY = Code("RELAXOMETRY", PRIVATE_SCHEME, "Fit of the decay of the signal over the echoes")
SUSCEPTIBILITY_WEIGHTING = Code("SWI", PRIVATE_SCHEME, "Susceptibility weighting of the magnitude by the phase")
SUBTRACTION = Code("113062", "DCM", "Pixel by pixel subtraction")  # CID 7203

# PS3.16 CID 7181 spells parts per million "ppm"; it has no entry for ppb, for which UCUM's own atom is written.
PARTS_PER_MILLION = Code("ppm", "UCUM", "ppm")
PARTS_PER_BILLION = Code("[ppb]", "UCUM", "parts per billion")
MILLILITRE = Code("ml", "UCUM", "milliliter")
NO_UNITS = Code("1", "UCUM", "no units")
HERTZ = Code("Hz", "UCUM", "hertz")
PER_SECOND = Code("/s", "UCUM", "per second")
RADIAN = Code("rad", "UCUM", "radian")
MILLIMETRE = Code("mm", "UCUM", "millimeter")

QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")  # TID 1500

MEAN = Code("373098007", "SCT", "Mean")  # CID 7464
MEDIAN = Code("373099004", "SCT", "Median")
STANDARD_DEVIATION = Code("386136009", "SCT", "Standard Deviation")
VOLUME = Code("118565006", "SCT", "Volume")
AREA = Code("42798000", "SCT", "Area")  # CID 7471
SQUARE_MILLIMETRE = Code("mm2", "UCUM", "square millimeter")

QUALITY_ISSUE = Code("113010", "DCM", "Quality Issue")  # CID 7010
DOCUMENT_TITLE_MODIFIER = Code("113011", "DCM", "Document Title Modifier")
OTHER_FAILURE = Code("111220", "DCM", "Other failure")  # CID 7011

RIGHT = Code("24028007", "SCT", "Right")  # CID 244
LEFT = Code("7771000", "SCT", "Left")

SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")  # CID 7202
ACQUISITION_EQUIPMENT = Code("109101", "DCM", "Acquisition Equipment")  # CID 7005
PROCESSING_EQUIPMENT = Code("109102", "DCM", "Processing Equipment")
IMAGING_MEASUREMENT_REPORT = Code("126000", "DCM", "Imaging Measurement Report")  # CID 7021
MRI_OF_UNSPECIFIED_BODY_REGION = Code("25056-3", "LN", "MRI unspecified body region")  # CID 100
ANATOMICAL_STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")  # CID 7150
ALTERED_STRUCTURE = Code("49755003", "SCT", "Morphologically Altered Structure")
MORPHOLOGICAL_OPERATIONS = Code("123104", "DCM", "Morphological Operations")  # CID 7162
HEMORRHAGE = Code("50960005", "SCT", "Hemorrhage")

BRAIN = Code("12738006", "SCT", "Brain")  # CID 7140
HEAD = Code("69536005", "SCT", "Head")  # CID 4030

_ANATOMY: tuple[tuple[Code, tuple[str, ...]], ...] = (
    (BRAIN, ("brain", "whole brain", "brain mask")),
    (Code("11000004", "SCT", "Caudate nucleus"), ("caudate nucleus", "caudate", "ca")),
    (Code("89278009", "SCT", "Putamen"), ("putamen", "pu")),
    (Code("14738005", "SCT", "Globus pallidus"), ("globus pallidus", "pallidum", "gp")),
    (
        Code("61839", "FMA", "External segment of globus pallidus"),
        ("gpe", "globus pallidus externus", "globus pallidus externa", "globus pallidus external", "external pallidum"),
    ),
    (
        Code("61840", "FMA", "Internal segment of globus pallidus"),
        ("gpi", "globus pallidus internus", "globus pallidus interna", "globus pallidus internal", "internal pallidum"),
    ),
    (Code("42695009", "SCT", "Thalamus"), ("thalamus", "th")),
    (Code("70007007", "SCT", "Substantia nigra"), ("substantia nigra", "sn")),
    (Code("62907", "FMA", "Pars compacta of substantia nigra"), ("snc", "substantia nigra pars compacta")),
    (Code("62407", "FMA", "Red nucleus"), ("red nucleus", "rn")),
    (Code("683", "NEU", "Dentate nucleus of the cerebellum"), ("dentate nucleus", "dentate", "dn")),
    (Code("427667007", "SCT", "Nucleus accumbens"), ("nucleus accumbens", "accumbens", "nac")),
    (Code("4958002", "SCT", "Amygdala"), ("amygdala",)),
    (Code("5366008", "SCT", "Hippocampus"), ("hippocampus",)),
    (Code("88442005", "SCT", "Corpus callosum"), ("corpus callosum",)),
    (Code("85637007", "SCT", "Internal capsule"), ("internal capsule",)),
    (Code("65216001", "SCT", "Cerebrospinal fluid"), ("cerebrospinal fluid", "csf")),
    (Code("389080008", "SCT", "White matter"), ("white matter", "wm")),
    (Code("389081007", "SCT", "Gray matter"), ("gray matter", "grey matter", "gm")),
    (Code("66720007", "SCT", "Lateral ventricle"), ("lateral ventricle", "ventricle", "ventricles")),
    (Code("29092000", "SCT", "Vein"), ("vein", "veins")),
    (HEMORRHAGE, ("hemorrhage", "haemorrhage", "bleed", "microbleed")),
)
_BY_NAME = {name: code for code, names in _ANATOMY for name in names}
_SIDES = {"left": LEFT, "l": LEFT, "lh": LEFT, "right": RIGHT, "r": RIGHT, "rh": RIGHT}


@dataclass(frozen=True)
class Region:
    """A region of the brain as DICOM names it: what it is, and on which side if it has one."""

    structure: Code
    laterality: Code | None


def region(name: str) -> Region:
    """Find the code for a region's plain name; the side may stand before or after it (`left caudate`, `GPe R`).

    A name in no terminology gets a private code whose meaning is the name itself.
    """
    words = [word for word in re.split(r"[\s_(),.\-]+", name.strip()) if word]
    sides = [_SIDES[word.lower()] for word in words if word.lower() in _SIDES]
    rest = [word for word in words if word.lower() not in _SIDES] or words
    plain = " ".join(rest)
    structure = _BY_NAME.get(plain.lower()) or private_code(plain)
    return Region(structure, sides[0] if len(sides) == 1 else None)


def structures() -> tuple[tuple[Code, tuple[str, ...]], ...]:
    """List every structure that has a public code, with the plain names by which `region` finds it."""
    return _ANATOMY


def is_altered_structure(structure: Code) -> bool:
    """Tell a finding from anatomy: a bleed is no part of the normal brain (Segmented Property Category)."""
    return structure == HEMORRHAGE


def private_code(meaning: str) -> Code:
    """Make the code of Lodestone's own scheme for a concept that no terminology names.

    The value is the meaning in capitals; one longer than 16 characters (VR SH) is cut and made unique by a digest.
    """
    ascii_meaning = meaning.encode("ascii", "replace").decode("ascii")
    value = re.sub(r"[^A-Z0-9]+", "_", ascii_meaning.upper()).strip("_") or "UNNAMED"
    if len(value) > 16:
        value = f"{value[:9]}_{hashlib.sha256(meaning.encode()).hexdigest()[:6].upper()}"
    return Code(value, PRIVATE_SCHEME, ascii_meaning[:64])


def code_item(code: Code) -> Dataset:
    """Write a concept as one item of a code sequence (PS3.3 table 8.8-1)."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return item


def coding_schemes() -> list[Dataset]:
    """Name the responsible organisation of the private scheme (Coding Scheme Identification Sequence, PS3.3 C.12.1)."""
    item = Dataset()
    item.CodingSchemeDesignator = PRIVATE_SCHEME
    item.CodingSchemeName = "Lodestone private codes"
    item.CodingSchemeResponsibleOrganization = "Lodestone"
    return [item]
