"""What both forms of the report share: numbers with units, who measured, what computed, and the document itself."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    Comprehensive3DSR,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    RelationshipTypeValues,
    TextContentItem,
)
from highdicom.sr.templates import Template
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from dicom_io.codes import (
    HERTZ,
    IMAGING_MEASUREMENT_REPORT,
    MILLILITRE,
    MILLIMETRE,
    MRI_OF_UNSPECIFIED_BODY_REGION,
    NO_UNITS,
    PARTS_PER_BILLION,
    PARTS_PER_MILLION,
    PER_SECOND,
    QUALITATIVE_EVALUATIONS,
    RADIAN,
    private_code,
)
from dicom_io.errors import InvalidObject
from dicom_io.series import SourceSeries
from dicom_io.write.derived import copy_identity, describe_making, without_identity
from dicom_io.write.identity import derived_uid, series_number
from dicom_io.write.provenance import MANUFACTURER, RunDescription, plain_text

QUALITY_GROUP = "Quality of the map"
# The unit of a quality figure stands at the end of its name; a figure without one of these is a pure number.
_UNITS: Mapping[str, Code] = {
    "_ppb": PARTS_PER_BILLION,
    "_ppm": PARTS_PER_MILLION,
    "_ml": MILLILITRE,
    "_mm": MILLIMETRE,
    "_hz": HERTZ,
    "_rad": RADIAN,
    "_per_s": PER_SECOND,
}
_LONGEST_SENTENCE = 1024
_FINDING = private_code("What was found about the map")
# A presentation state has no grid of its own; a document has no body part either.
GRID_ATTRIBUTES = ("FrameOfReferenceUID", "PositionReferenceIndicator", "PatientPosition")
IMAGE_ATTRIBUTES = (*GRID_ATTRIBUTES, "BodyPartExamined")


@dataclass(frozen=True)
class DocumentPlace:
    """Where a document is filed: its series' name and offset, and the parts from which its UIDs are derived."""

    title: str
    series_offset: int
    uid_parts: tuple[str, ...]


def digits(value: float) -> str:
    """Write a number with six significant digits, far beyond what a map can mean; a DS has 16 characters."""
    return f"{float(value):.6g}"


def measurement(name: Code, value: float, unit: Code, derivation: Code | None = None) -> Measurement:
    """Write one number with its unit (PS3.16 TID 300); `derivation` says which statistic it is.

    Raises
    ------
    InvalidObject
        The value is not finite.
    """
    if not math.isfinite(value):
        message = f"The value of {name.meaning} is {value} and cannot be reported."
        raise InvalidObject(message)
    return Measurement(name=name, value=float(digits(value)), unit=unit, derivation=derivation)


def quality_measurements(quality: Mapping[str, float]) -> list[Measurement]:
    """Write quality figures in the order of their names, each with the unit that its name ends in."""
    return [_quality_measurement(name, float(value)) for name, value in sorted(quality.items())]


def quality_texts(quality: Mapping[str, float]) -> list[TextContentItem]:
    """Write quality figures as texts under their names, for a document whose measurements are all of regions."""
    named = [(*_name_and_unit(name), value) for name, value in sorted(quality.items())]
    return [
        _text_item(name, f"{digits(value)} {'' if unit == NO_UNITS else unit.value}".strip())
        for name, unit, value in named
    ]


def sentence_items(sentences: Iterable[str], name: Code = _FINDING) -> list[TextContentItem]:
    """Write sentences that a reader must know, a text each; by default they are about the map as a whole."""
    return [_text_item(name, sentence) for sentence in sentences]


def _quality_measurement(name: str, value: float) -> Measurement:
    code, unit = _name_and_unit(name)
    return measurement(code, value, unit)


def _name_and_unit(name: str) -> tuple[Code, Code]:
    suffix = next((suffix for suffix in _UNITS if name.endswith(suffix)), "")
    meaning = name.removesuffix(suffix).replace("_", " ").capitalize()
    return private_code(meaning), _UNITS.get(suffix, NO_UNITS)


def device_observer(run: RunDescription) -> ObserverContext:
    """Name this node as the device that observed (PS3.16 TID 1004)."""
    device = DeviceObserverIdentifyingAttributes(
        uid=run.device_uid,
        name=plain_text(run.node_ae_title, 64),
        manufacturer_name=MANUFACTURER,
        model_name=plain_text(f"Lodestone {run.software_version} ({run.code_revision})", 64),
    )
    return ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)


def measurement_document(
    groups: Sequence[Template],
    evaluations: Sequence[TextContentItem],
    evidence: Sequence[Dataset],
    source: SourceSeries,
    run: RunDescription,
    place: DocumentPlace,
) -> Dataset:
    """Put measurement groups into a Comprehensive 3D SR document that says what computed them (PS3.16 TID 1500).

    The document is complete but preliminary and unverified: no person has signed it.

    Parameters
    ----------
    groups
        The measurement groups, in the order in which they are to be read.
    evaluations
        Texts about the map as a whole; they follow the measurements.
    evidence
        Every object that the document refers to.
    source, run
        What the map was made of, and by what.
    place
        Where the document is filed.
    """
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=device_observer(run)),
        procedure_reported=MRI_OF_UNSPECIFIED_BODY_REGION,
        imaging_measurements=groups,
        title=IMAGING_MEASUREMENT_REPORT,
    )
    measurements = content[0].ContentSequence[-1]
    measurements.ContentSequence = ContentSequence([*_algorithm(run), *measurements.ContentSequence])
    if evaluations:
        content[0].ContentSequence.append(_evaluations(evaluations))
    made = Comprehensive3DSR(
        evidence=without_identity(evidence),
        content=content[0],
        series_instance_uid=derived_uid(*place.uid_parts, "series"),
        series_number=series_number(source.template.get("SeriesNumber"), place.series_offset),
        sop_instance_uid=derived_uid(*place.uid_parts, "instance"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
    )
    copy_identity(made, source)
    describe_making(made, source, run, place.title)
    drop_attributes(made, IMAGE_ATTRIBUTES)
    return made


def _algorithm(run: RunDescription) -> AlgorithmIdentification:
    """Name software, recipe, weights and input with their digests; they hold for every group (PS3.16 TID 4019)."""
    facts = [
        f"Code revision {run.code_revision}",
        f"Recipe {run.recipe_name}, SHA-256 {run.recipe_digest}",
        *(f"Weights {name}, SHA-256 {sha256}" for name, sha256 in run.weights),
        f"Input SHA-256 {run.input_digest}",
        f"Reference: {run.reference}",
        f"Method: {run.method_sentence}",
    ]
    return AlgorithmIdentification(
        name="Lodestone quantitative susceptibility mapping",
        version=plain_text(run.software_version, 64),
        parameters=[plain_text(fact, _LONGEST_SENTENCE) for fact in facts],
    )


def _evaluations(texts: Sequence[TextContentItem]) -> ContainerContentItem:
    """Put texts into the template's qualitative evaluations, which follow its measurements (TID 1500)."""
    container = ContainerContentItem(
        name=QUALITATIVE_EVALUATIONS, relationship_type=RelationshipTypeValues.CONTAINS, is_content_continuous=False
    )
    container.ContentSequence = ContentSequence(texts)
    return container


def _text_item(name: Code, text: str) -> TextContentItem:
    return TextContentItem(
        name=name,
        value=plain_text(text, _LONGEST_SENTENCE),
        relationship_type=RelationshipTypeValues.CONTAINS,
    )


def modifier_item(name: Code, value: Code) -> CodeContentItem:
    """Write a code that modifies the concept that contains it."""
    return CodeContentItem(name=name, value=value, relationship_type=RelationshipTypeValues.HAS_CONCEPT_MOD)


def drop_attributes(made: Dataset, keywords: Iterable[str]) -> None:
    """Remove attributes that `copy_identity` writes and that this kind of object does not have."""
    for keyword in keywords:
        if keyword in made:
            delattr(made, keyword)
