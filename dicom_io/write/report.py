"""Write the measurements of a run as a Comprehensive 3D SR document after template TID 1500."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from highdicom.sr import (
    Comprehensive3DSR,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceSeriesForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from dicom_io.codes import (
    HERTZ,
    MAGNETIC_SUSCEPTIBILITY,
    MEAN,
    MEDIAN,
    MILLILITRE,
    MILLIMETRE,
    MRI_OF_UNSPECIFIED_BODY_REGION,
    NO_UNITS,
    PARTS_PER_BILLION,
    PARTS_PER_MILLION,
    PER_SECOND,
    QUALITATIVE_EVALUATIONS,
    RADIAN,
    STANDARD_DEVIATION,
    VOLUME,
    private_code,
    region,
)
from dicom_io.errors import InvalidObject
from dicom_io.series import SourceSeries
from dicom_io.write.derived import copy_identity, describe_making, without_identity
from dicom_io.write.identity import REPORT_SERIES_OFFSET, derived_uid, series_number
from dicom_io.write.provenance import RunDescription, plain_text

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
_CLASSICAL_MEAN = private_code("Magnetic susceptibility by the classical inversion")
_DIFFERENCE = private_code("Difference from the classical inversion")
_HALF_WIDTH = private_code("Half width of the 90 percent interval of the mean")
_CONE_SHARE = private_code("Share of the contrast that the field hardly shows")
_FINDING = private_code("What was found about the map")


@dataclass(frozen=True)
class TrustValues:
    """What speaks for and against the mean of a learned map in one segment.

    `classical_mean` [ppb] is that of the classical map; `half_width` [ppb] that of the mean's 90 % interval;
    `cone_share` the share of the contrast, 0 to 1, from frequencies that the field hardly shows. None where not known.
    """

    classical_mean: float
    half_width: float | None = None
    cone_share: float | None = None


@dataclass(frozen=True)
class RegionValues:
    """Susceptibility in one segment: `mean`, `sd` and `median` [ppb], `volume_ml` [ml].

    `name` is the region's plain name with its side, as in the segmentation; `segment_number` is the segment's.
    """

    name: str
    mean: float
    sd: float
    median: float
    volume_ml: float
    segment_number: int
    trust: TrustValues | None = None


def measurement_report(
    regions: Sequence[RegionValues],
    segmentation: Dataset,
    images: Sequence[Dataset],
    source: SourceSeries,
    run: RunDescription,
    quality: Mapping[str, float],
    sentences: Sequence[str] = (),
) -> Dataset:
    """Write region values and quality figures as one report on the susceptibility images (PS3.3 A.35.13, TID 1500).

    The document is complete but preliminary and unverified: no person has signed it.

    Parameters
    ----------
    regions
        The values of each region, in the order in which they are to be read.
    segmentation
        The object that holds the regions.
    images
        The susceptibility series.
    source
        What the map was made of.
    run
        What made the map.
    quality
        Figures of the run; the unit is read from the end of the name (`mask_volume_ml`, `field_noise_median_ppb`).
    sentences
        What a reader must know of the map: warnings, and which checks it passed.

    Raises
    ------
    InvalidObject
        There is nothing to report, or a value is not finite.
    """
    if not regions and not quality:
        message = "There are neither regions nor quality figures, so the report would be empty."
        raise InvalidObject(message)
    uid_parts = ("report", segmentation.SOPInstanceUID, *run.identity, _fingerprint(regions, quality, sentences))
    groups = [_region_group(values, segmentation, images, uid_parts) for values in regions]
    if quality:
        groups.append(_quality_group(quality, uid_parts))
    content = MeasurementReport(
        observation_context=_observer(run),
        procedure_reported=MRI_OF_UNSPECIFIED_BODY_REGION,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    if sentences:
        content[0].ContentSequence.append(_evaluations(sentences))
    made = Comprehensive3DSR(
        evidence=without_identity([segmentation, *images]),
        content=content[0],
        series_instance_uid=derived_uid(*uid_parts, "series"),
        series_number=series_number(source.template.get("SeriesNumber"), REPORT_SERIES_OFFSET),
        sop_instance_uid=derived_uid(*uid_parts, "instance"),
        instance_number=1,
        manufacturer="Lodestone",
        is_complete=True,
    )
    copy_identity(made, source)
    describe_making(made, source, run, "QSM report")
    _drop_image_attributes(made)
    return made


def _fingerprint(regions: Sequence[RegionValues], quality: Mapping[str, float], sentences: Sequence[str]) -> str:
    """Spell out everything that is written, so that a report with other numbers or words is another object."""
    rows = [f"{item.name}|{item.segment_number}|{_digits(item.mean)}|{_digits(item.sd)}" for item in regions]
    rows += [f"{item.name}|{_digits(item.median)}|{_digits(item.volume_ml)}" for item in regions]
    rows += [f"{item.name}|{number}" for item in regions if item.trust for number in vars(item.trust).values()]
    rows += [f"{name}|{_digits(value)}" for name, value in sorted(quality.items())]
    rows += sentences
    return ";".join(rows)


def _digits(value: float) -> str:
    # NumericValue is a DS of 16 characters; six significant digits are far beyond what a map can mean.
    return f"{float(value):.6g}"


def _observer(run: RunDescription) -> ObservationContext:
    device = DeviceObserverIdentifyingAttributes(
        uid=run.device_uid,
        name=plain_text(run.node_ae_title, 64),
        manufacturer_name="Lodestone",
        model_name=plain_text(f"Lodestone {run.software_version} ({run.code_revision})", 64),
    )
    return ObservationContext(
        observer_device_context=ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    )


def _region_group(
    values: RegionValues, segmentation: Dataset, images: Sequence[Dataset], uid_parts: tuple[str, ...]
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    named = region(values.name)
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=derived_uid(*uid_parts, "region", str(values.segment_number)),
            identifier=plain_text(values.name, 64),
        ),
        # Highdicom's own look-up of the images fails for an object with one segment, as its number is then shared.
        referenced_segment=ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=values.segment_number,
            source_series=SourceSeriesForSegmentation(images[0].SeriesInstanceUID),
        ),
        finding_type=named.structure,
        finding_sites=[FindingSite(named.structure, laterality=named.laterality)],
        measurements=[
            _measurement(MAGNETIC_SUSCEPTIBILITY, values.mean, PARTS_PER_BILLION, MEAN),
            _measurement(MAGNETIC_SUSCEPTIBILITY, values.sd, PARTS_PER_BILLION, STANDARD_DEVIATION),
            _measurement(MAGNETIC_SUSCEPTIBILITY, values.median, PARTS_PER_BILLION, MEDIAN),
            _measurement(VOLUME, values.volume_ml, MILLILITRE),
            *(_trust_measurements(values.mean, values.trust) if values.trust else ()),
        ],
    )


def _trust_measurements(mean: float, trust: TrustValues) -> list[Measurement]:
    found = [
        _measurement(_CLASSICAL_MEAN, trust.classical_mean, PARTS_PER_BILLION, MEAN),
        _measurement(_DIFFERENCE, mean - trust.classical_mean, PARTS_PER_BILLION),
    ]
    if trust.half_width is not None:
        found.append(_measurement(_HALF_WIDTH, trust.half_width, PARTS_PER_BILLION))
    if trust.cone_share is not None:
        found.append(_measurement(_CONE_SHARE, trust.cone_share, NO_UNITS))
    return found


def _evaluations(sentences: Sequence[str]) -> ContainerContentItem:
    """Write sentences as the template's qualitative evaluations, which follow its measurements (TID 1500)."""
    container = ContainerContentItem(
        name=QUALITATIVE_EVALUATIONS, relationship_type=RelationshipTypeValues.CONTAINS, is_content_continuous=False
    )
    container.ContentSequence = ContentSequence(
        [
            TextContentItem(
                name=_FINDING,
                value=plain_text(sentence, _LONGEST_SENTENCE),
                relationship_type=RelationshipTypeValues.CONTAINS,
            )
            for sentence in sentences
        ]
    )
    return container


def _quality_group(quality: Mapping[str, float], uid_parts: tuple[str, ...]) -> MeasurementsAndQualitativeEvaluations:
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=derived_uid(*uid_parts, "quality"), identifier="Quality of the map"),
        measurements=[_quality_measurement(name, float(value)) for name, value in sorted(quality.items())],
    )


def _quality_measurement(name: str, value: float) -> Measurement:
    suffix = next((suffix for suffix in _UNITS if name.endswith(suffix)), "")
    meaning = name.removesuffix(suffix).replace("_", " ").capitalize()
    return _measurement(private_code(meaning), value, _UNITS.get(suffix, NO_UNITS))


def _measurement(name: Code, value: float, unit: Code, derivation: Code | None = None) -> Measurement:
    if not math.isfinite(value):
        message = f"The value of {name.meaning} is {value} and cannot be reported."
        raise InvalidObject(message)
    return Measurement(name=name, value=float(_digits(value)), unit=unit, derivation=derivation)


def _drop_image_attributes(made: Dataset) -> None:
    """Remove what belongs to images only: an SR document has no frame of reference and no patient position."""
    for keyword in ("FrameOfReferenceUID", "PositionReferenceIndicator", "PatientPosition", "BodyPartExamined"):
        if keyword in made:
            delattr(made, keyword)
