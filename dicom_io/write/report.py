"""Write the measurements of a run as a Comprehensive 3D SR document after template TID 1500."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from highdicom.sr import (
    FindingSite,
    Measurement,
    ReferencedSegment,
    SourceSeriesForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom import Dataset

from dicom_io.codes import (
    BRAIN,
    MAGNETIC_SUSCEPTIBILITY,
    MEAN,
    MEDIAN,
    MILLILITRE,
    NO_UNITS,
    PARTS_PER_BILLION,
    STANDARD_DEVIATION,
    VOLUME,
    private_code,
    region,
)
from dicom_io.errors import InvalidObject
from dicom_io.series import SourceSeries
from dicom_io.write.identity import REPORT_SERIES_OFFSET, derived_uid
from dicom_io.write.provenance import RunDescription, plain_text
from dicom_io.write.report_items import (
    QUALITY_GROUP,
    DocumentPlace,
    digits,
    measurement,
    measurement_document,
    quality_measurements,
    sentence_items,
)
from dicom_io.write.segmentation import BRAIN_SEGMENT

_CLASSICAL_MEAN = private_code("Magnetic susceptibility by the classical inversion")
_DIFFERENCE = private_code("Difference from the classical inversion")
_HALF_WIDTH = private_code("Half width of the 90 percent interval of the mean")
_CONE_SHARE = private_code("Share of the contrast that the field hardly shows")


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
    fingerprint = values_fingerprint(regions, quality, sentences)
    uid_parts = ("report", segmentation.SOPInstanceUID, *run.identity, fingerprint)
    groups = [_region_group(values, segmentation, images, uid_parts) for values in regions]
    if quality:
        groups.append(_quality_group(quality, segmentation, images, uid_parts))
    place = DocumentPlace("QSM report", REPORT_SERIES_OFFSET, uid_parts)
    return measurement_document(groups, sentence_items(sentences), [segmentation, *images], source, run, place)


def values_fingerprint(regions: Sequence[RegionValues], quality: Mapping[str, float], sentences: Sequence[str]) -> str:
    """Spell out everything that is written, so that a report with other numbers or words is another object."""
    rows = [f"{item.name}|{item.segment_number}|{digits(item.mean)}|{digits(item.sd)}" for item in regions]
    rows += [f"{item.name}|{digits(item.median)}|{digits(item.volume_ml)}" for item in regions]
    rows += [f"{item.name}|{number}" for item in regions if item.trust for number in vars(item.trust).values()]
    rows += [f"{name}|{digits(value)}" for name, value in sorted(quality.items())]
    rows += sentences
    return ";".join(rows)


def _region_group(
    values: RegionValues, segmentation: Dataset, images: Sequence[Dataset], uid_parts: tuple[str, ...]
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    named = region(values.name)
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=derived_uid(*uid_parts, "region", str(values.segment_number)),
            identifier=plain_text(values.name, 64),
        ),
        referenced_segment=_referenced_segment(values.segment_number, segmentation, images),
        finding_type=named.structure,
        finding_sites=[FindingSite(named.structure, laterality=named.laterality)],
        measurements=[
            measurement(MAGNETIC_SUSCEPTIBILITY, values.mean, PARTS_PER_BILLION, MEAN),
            measurement(MAGNETIC_SUSCEPTIBILITY, values.sd, PARTS_PER_BILLION, STANDARD_DEVIATION),
            measurement(MAGNETIC_SUSCEPTIBILITY, values.median, PARTS_PER_BILLION, MEDIAN),
            measurement(VOLUME, values.volume_ml, MILLILITRE),
            *(_trust_measurements(values.mean, values.trust) if values.trust else ()),
        ],
    )


def _trust_measurements(mean: float, trust: TrustValues) -> list[Measurement]:
    found = [
        measurement(_CLASSICAL_MEAN, trust.classical_mean, PARTS_PER_BILLION, MEAN),
        measurement(_DIFFERENCE, mean - trust.classical_mean, PARTS_PER_BILLION),
    ]
    if trust.half_width is not None:
        found.append(measurement(_HALF_WIDTH, trust.half_width, PARTS_PER_BILLION))
    if trust.cone_share is not None:
        found.append(measurement(_CONE_SHARE, trust.cone_share, NO_UNITS))
    return found


def _quality_group(
    quality: Mapping[str, float], segmentation: Dataset, images: Sequence[Dataset], uid_parts: tuple[str, ...]
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    """Write the figures as measurements of the brain's segment: they describe the map inside the mask."""
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=derived_uid(*uid_parts, "quality"), identifier=QUALITY_GROUP),
        referenced_segment=_referenced_segment(BRAIN_SEGMENT, segmentation, images),
        finding_type=BRAIN,
        measurements=quality_measurements(quality),
    )


def _referenced_segment(number: int, segmentation: Dataset, images: Sequence[Dataset]) -> ReferencedSegment:
    # Highdicom's own look-up of the images fails for an object with one segment, as its number is then shared.
    return ReferencedSegment(
        sop_class_uid=segmentation.SOPClassUID,
        sop_instance_uid=segmentation.SOPInstanceUID,
        segment_number=number,
        source_series=SourceSeriesForSegmentation(images[0].SeriesInstanceUID),
    )
