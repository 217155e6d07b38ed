"""Write regions as outlines in the susceptibility images, for viewers that draw no segment from a report."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from highdicom.sr import (
    FindingSite,
    ImageRegion,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    SourceImageForRegion,
    TrackingIdentifier,
)
from highdicom.sr.enum import GraphicTypeValues
from pydicom import Dataset

from dicom_io.codes import (
    AREA,
    MAGNETIC_SUSCEPTIBILITY,
    MEAN,
    PARTS_PER_BILLION,
    SQUARE_MILLIMETRE,
    STANDARD_DEVIATION,
    private_code,
    region,
)
from dicom_io.errors import InvalidObject
from dicom_io.series import SourceSeries
from dicom_io.write.identity import PLANAR_REPORT_SERIES_OFFSET, array_digest, derived_uid
from dicom_io.write.outlines import Outline, outline_of
from dicom_io.write.presentation import pixel_spacing
from dicom_io.write.provenance import RunDescription, plain_text
from dicom_io.write.report import RegionValues, values_fingerprint
from dicom_io.write.report_items import (
    DocumentPlace,
    digits,
    measurement,
    measurement_document,
    quality_texts,
    sentence_items,
)
from dicom_io.write.segmentation import BRAIN_SEGMENT, segments

# Viewers list a measurement by its name without its derivation: two of one name could not be told apart.
_SPREAD = private_code("SD in the outline")
_WHOLE_REGION = private_code("Values of the whole region")
_WHOLE_MEAN = private_code("Mean of the whole region")
# GraphicData is FL, whose length field has 16 bits (PS3.5 7.1.2).
_MOST_POINTS = 65534 // 8


@dataclass(frozen=True)
class _Drawn:
    values: RegionValues
    outline: Outline
    stored: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """Return the stored values [ppb] of the pixels that the line encloses."""
        return self.stored[self.outline.slice_index][self.outline.inside]


def planar_report(
    regions: Sequence[RegionValues],
    mask: np.ndarray,
    labels: np.ndarray | None,
    images: Sequence[Dataset],
    source: SourceSeries,
    run: RunDescription,
    quality: Mapping[str, float],
    sentences: Sequence[str] = (),
) -> Dataset:
    """Write each region's outline on its largest slice, with what a reader would measure in it (PS3.16 TID 1410).

    Mean, spread and area are those of the pixels that the drawn line encloses, as they are stored in the images; the
    mean of the whole region, all slices and pieces, stands behind them under its own name, and its other values in a
    sentence. Where the line leaves out pieces or encloses holes, a sentence says so. Quality figures are written as
    texts: a group of measurements without an outline stops OHIF 3.13 from drawing the others.

    Parameters
    ----------
    regions
        The values of each region, in the order in which they are to be read, though the brain comes last: viewers open
        a report at its first outline. Without any region the brain is drawn.
    mask
        `(z, y, x)`, true in the brain.
    labels
        `(z, y, x)`, 0 outside every region; None where there is no label map.
    images
        The susceptibility images [ppb]: one per slice in the order of z, or one with a frame per slice.
    source
        What the map was made of.
    run
        What made the map.
    quality
        Figures of the run; the unit is read from the end of the name (`mask_volume_ml`, `field_noise_median_ppb`).
    sentences
        What a reader must know of the map.

    Raises
    ------
    InvalidObject
        There is nothing to draw, a region is in neither mask nor labels, or a value is not finite.
    """
    stored = _stored_values(images)
    _check_grid(mask, labels, stored)
    ordered = sorted(regions, key=lambda values: values.segment_number == BRAIN_SEGMENT)
    ordered = ordered or [_brain(mask, stored, source.geometry.voxel_size_mm)]
    drawn, not_drawn = _draw(ordered, mask, labels, stored)
    if not drawn:
        message = "There is no region to draw, so the planar report would be empty."
        raise InvalidObject(message)
    said = [*sentences, *_about_pixels(images), *(sentence for one in drawn for sentence in _about(one)), *not_drawn]
    uid_parts = (
        "planar report",
        images[0].SeriesInstanceUID,
        *run.identity,
        values_fingerprint(ordered, quality, said),
        *(array_digest(one.outline.points) for one in drawn),
    )
    groups = [_region_group(one, images, uid_parts) for one in drawn]
    whole = sentence_items((_whole_region(values) for values in ordered), _WHOLE_REGION)
    evaluations = [*whole, *quality_texts(quality), *sentence_items(said)]
    place = DocumentPlace("QSM outlines", PLANAR_REPORT_SERIES_OFFSET, uid_parts)
    return measurement_document(groups, evaluations, images, source, run, place)


def _stored_values(images: Sequence[Dataset]) -> np.ndarray:
    """Return the stored values `(z, y, x)` [ppb] of our own images, classic or enhanced."""
    shape = (-1, images[0].Rows, images[0].Columns)
    return np.concatenate([np.frombuffer(image.PixelData, "<i2").reshape(shape) for image in images])


def _check_grid(mask: np.ndarray, labels: np.ndarray | None, stored: np.ndarray) -> None:
    if mask.shape != stored.shape or (labels is not None and labels.shape != stored.shape):
        message = f"The regions are not on the grid of the images, which has shape {stored.shape}."
        raise InvalidObject(message)


def _draw(
    regions: Sequence[RegionValues], mask: np.ndarray, labels: np.ndarray | None, stored: np.ndarray
) -> tuple[list[_Drawn], list[str]]:
    label_of = {segment.number: segment.label for segment in segments(labels, {})}
    drawn, not_drawn = [], []
    for values in regions:
        outline = outline_of(_voxels(values, label_of, mask, labels))
        if outline is None or len(outline.points) > _MOST_POINTS:
            not_drawn.append(f"{values.name} is not drawn: its outline is too long for this kind of report.")
        else:
            drawn.append(_Drawn(values, outline, stored))
    return drawn, not_drawn


def _brain(mask: np.ndarray, stored: np.ndarray, voxel_size_mm: tuple[float, float, float]) -> RegionValues:
    values = stored[mask.astype(bool)]
    if not values.size:
        message = "The brain mask is empty, so there is no region to draw; look at the magnitude images."
        raise InvalidObject(message)
    mean, sd, median = float(values.mean()), float(values.std()), float(np.median(values))
    volume_ml = values.size * math.prod(voxel_size_mm) / 1000.0
    return RegionValues("Brain", mean, sd, median, volume_ml, BRAIN_SEGMENT)


def _voxels(
    values: RegionValues, label_of: Mapping[int, int], mask: np.ndarray, labels: np.ndarray | None
) -> np.ndarray:
    label = label_of.get(values.segment_number)
    if label is None:
        message = f"Segment {values.segment_number} is in neither the mask nor the labels, so it cannot be drawn."
        raise InvalidObject(message)
    return mask.astype(bool) if label == 0 or labels is None else labels == label


def _region_group(
    drawn: _Drawn, images: Sequence[Dataset], uid_parts: tuple[str, ...]
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    values, named = drawn.values, region(drawn.values.name)
    spacing = pixel_spacing(images[0])
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=derived_uid(*uid_parts, "outline", str(values.segment_number)),
            identifier=plain_text(values.name, 64),
        ),
        referenced_region=ImageRegion(
            graphic_type=GraphicTypeValues.POLYLINE,
            graphic_data=drawn.outline.points,
            source_image=_image_of_slice(images, drawn.outline.slice_index),
        ),
        finding_type=named.structure,
        finding_sites=[FindingSite(named.structure, laterality=named.laterality)],
        measurements=[
            measurement(MAGNETIC_SUSCEPTIBILITY, drawn.inside.mean(), PARTS_PER_BILLION, MEAN),
            measurement(_SPREAD, drawn.inside.std(), PARTS_PER_BILLION, STANDARD_DEVIATION),
            measurement(AREA, drawn.inside.size * spacing[0] * spacing[1], SQUARE_MILLIMETRE),
            measurement(_WHOLE_MEAN, values.mean, PARTS_PER_BILLION, MEAN),
        ],
    )


def _whole_region(values: RegionValues) -> str:
    """Say the values of the whole region; OHIF 3.13 prints five lines of a group, of which the last is the name."""
    in_ppb = f"mean {digits(values.mean)}, SD {digits(values.sd)}, median {digits(values.median)} [ppb]"
    return f"{values.name}, whole region: {in_ppb}, volume {digits(values.volume_ml)} ml."


def _about_pixels(images: Sequence[Dataset]) -> Iterator[str]:
    # OHIF 3.13 takes the spacing of rows for that of columns where it draws a report's outlines.
    rows, columns = pixel_spacing(images[0])
    if rows != columns:
        yield f"Pixels are {rows:g} x {columns:g} mm: OHIF 3.13 draws outlines on such images in the wrong place."


def _about(drawn: _Drawn) -> Iterator[str]:
    outline = drawn.outline
    subject = f"{drawn.values.name}, slice {outline.slice_index + 1}: the outline"
    if outline.n_left_out:
        yield f"{subject} surrounds the largest of {outline.n_pieces} pieces; pixels left out: {outline.n_left_out}."
    if outline.n_holes:
        yield f"{subject} encloses pixels that are not of the region ({outline.n_holes}); its values include them."


def _image_of_slice(images: Sequence[Dataset], slice_index: int) -> SourceImageForRegion:
    if len(images) == 1 and int(images[0].get("NumberOfFrames") or 1) > 1:
        return SourceImageForRegion(images[0].SOPClassUID, images[0].SOPInstanceUID, [slice_index + 1])
    return SourceImageForRegion(images[slice_index].SOPClassUID, images[slice_index].SOPInstanceUID)
