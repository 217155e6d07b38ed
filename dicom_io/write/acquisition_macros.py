"""Repeat in an enhanced map how its enhanced source was acquired, macro by macro, whole or not at all.

Everything here may be left out of a derived image (PS3.3 C.8.13: "required if ORIGINAL, may be present otherwise"). A
macro is repeated only where it is complete and its terms are the standard's, because half a macro satisfies no
validator; a classic source states too little for any of them, and the map's source references lead to it.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field

from pydicom import Dataset

from dicom_io.write.copied_values import is_valid_element
from dicom_io.write.derived import copy_attribute, find_element

_YES_NO = frozenset(("YES", "NO"))


@dataclass(frozen=True)
class _Macro:
    """What a macro must hold to be whole (PS3.3 C.8.13.5): attributes, their terms, and what one value asks of others.

    `asks` lists attribute, the value with which it asks for nothing, and what it asks for otherwise.
    """

    required: tuple[str, ...]
    terms: Mapping[str, frozenset[str]] = field(default_factory=dict)
    asks: tuple[tuple[str, str, tuple[str, ...]], ...] = ()


# Left out: echo (a map has none of its own), coils, diffusion, velocity, metabolite map and saturation bands, which say
# nothing about a map.
_MACROS: Mapping[str, _Macro] = {
    "MRTimingAndRelatedParametersSequence": _Macro(
        (
            "RepetitionTime",
            "FlipAngle",
            "EchoTrainLength",
            "RFEchoTrainLength",
            "GradientEchoTrainLength",
            "SpecificAbsorptionRateSequence",
            "GradientOutputType",
            "GradientOutput",
            "OperatingModeSequence",
        ),
    ),
    "MRFOVGeometrySequence": _Macro(
        (
            "InPlanePhaseEncodingDirection",
            "MRAcquisitionFrequencyEncodingSteps",
            "MRAcquisitionPhaseEncodingStepsInPlane",
            "PercentSampling",
            "PercentPhaseFieldOfView",
        ),
        {"InPlanePhaseEncodingDirection": frozenset(("ROW", "COLUMN", "OTHER"))},
    ),
    "MRModifierSequence": _Macro(
        (
            "InversionRecovery",
            "FlowCompensation",
            "Spoiling",
            "T2Preparation",
            "SpectrallySelectedExcitation",
            "SpatialPresaturation",
            "PartialFourier",
            "ParallelAcquisition",
        ),
        {
            "InversionRecovery": _YES_NO,
            "FlowCompensation": frozenset(("ACCELERATION", "VELOCITY", "OTHER", "NONE")),
            "Spoiling": frozenset(("RF", "GRADIENT", "RF_AND_GRADIENT", "NONE")),
            "T2Preparation": _YES_NO,
            "SpectrallySelectedExcitation": frozenset(("WATER", "FAT", "NONE")),
            "SpatialPresaturation": frozenset(("SLAB", "NONE")),
            "PartialFourier": _YES_NO,
            "ParallelAcquisition": _YES_NO,
            # Siemens syngo MR XA60 writes SMS, which is no term of the standard.
            "ParallelAcquisitionTechnique": frozenset(("PILS", "SENSE", "SMASH", "OTHER")),
        },
        (
            ("InversionRecovery", "NO", ("InversionTimes",)),
            ("FlowCompensation", "NONE", ("FlowCompensationDirection",)),
            ("PartialFourier", "NO", ("PartialFourierDirection",)),
            (
                "ParallelAcquisition",
                "NO",
                (
                    "ParallelAcquisitionTechnique",
                    "ParallelReductionFactorInPlane",
                    "ParallelReductionFactorOutOfPlane",
                    "ParallelReductionFactorSecondInPlane",
                ),
            ),
        ),
    ),
    "MRImagingModifierSequence": _Macro(
        ("MagnetizationTransfer", "BloodSignalNulling", "Tagging", "TransmitterFrequency", "PixelBandwidth"),
        {
            "MagnetizationTransfer": frozenset(("ON_RESONANCE", "OFF_RESONANCE", "BOTH", "NONE")),
            "BloodSignalNulling": _YES_NO,
            "Tagging": frozenset(("GRID", "LINE", "NONE")),
        },
        (("Tagging", "NONE", ("TagSpacingFirstDimension", "TagAngleFirstAxis", "TagThickness")),),
    ),
    "MRAveragesSequence": _Macro(("NumberOfAverages",)),
}
_CONTRASTS = frozenset(
    (
        "DIFFUSION",
        "FLOW_ENCODED",
        "FLUID_ATTENUATED",
        "PERFUSION",
        "PROTON_DENSITY",
        "STIR",
        "TAGGING",
        "T1",
        "T2",
        "T2_STAR",
        "TOF",
    )
)


def acquisition_macros(template: Dataset) -> Dataset:
    """Return the whole macros of an enhanced source, as functional groups shared by all frames of a map.

    Parameters
    ----------
    template
        The header of one source object; of a classic one nothing is returned.
    """
    groups = Dataset()
    for keyword, macro in _MACROS.items():
        item = _stated(template, keyword)
        if item is not None:
            _repeat(groups, keyword, item, macro)
    return groups


def describe_instance(image: Dataset, template: Dataset) -> None:
    """Repeat nucleus, filter and duration where the source states them, and the safety standard, which is required."""
    for keyword in ("ResonantNucleus", "KSpaceFiltering", "AcquisitionDuration", "ApplicableSafetyStandardAgency"):
        copy_attribute(image, template, keyword)
    nucleus = find_element(template, "ImagedNucleus")
    if "ResonantNucleus" not in image and nucleus is not None:
        image.ResonantNucleus = str(nucleus.value)[:16]
    # Required since images converted from classic ones got a class of their own (PS3.3 table C.8-83); classic headers
    # state none, and the terms are open.
    if "ApplicableSafetyStandardAgency" not in image:
        image.ApplicableSafetyStandardAgency = "UNKNOWN"


def acquisition_contrast(template: Dataset) -> str:
    """Return the contrast that the scanner states of all frames, or UNKNOWN (PS3.3 C.8.13.3.1.2)."""
    stated = str(template.get("AcquisitionContrast", ""))
    return stated if stated in _CONTRASTS else "UNKNOWN"


def _stated(template: Dataset, keyword: str) -> Dataset | None:
    """Return a macro's item: shared by all frames, else that of the first frame."""
    for level in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        groups = template.get(level) or []
        items = groups[0].get(keyword) if groups else None
        if items:
            return items[0]
    return None


def _repeat(groups: Dataset, keyword: str, item: Dataset, macro: _Macro) -> None:
    copied = deepcopy(item)
    copied.remove_private_tags()
    invalid = [element.keyword for element in copied if element.VR != "SQ" and not is_valid_element(element)]
    for name in invalid:
        delattr(copied, name)
    if _is_whole(copied, macro):
        setattr(groups, keyword, [copied])


def _is_whole(item: Dataset, macro: _Macro) -> bool:
    needed = [*macro.required]
    for keyword, asks_nothing, others in macro.asks:
        needed += others if item.get(keyword) != asks_nothing else ()
    has_all = all(keyword in item and not item[keyword].is_empty for keyword in needed)
    return has_all and all(item[keyword].value in terms for keyword, terms in macro.terms.items() if keyword in item)
