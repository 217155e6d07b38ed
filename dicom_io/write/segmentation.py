"""Write the brain mask and the regions as one Segmentation object: a segment per region and side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import highdicom
import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from dicom_io.codes import (
    ALTERED_STRUCTURE,
    ANATOMICAL_STRUCTURE,
    MORPHOLOGICAL_OPERATIONS,
    code_item,
    is_altered_structure,
    region,
)
from dicom_io.errors import InvalidObject
from dicom_io.series import SourceSeries
from dicom_io.write.derived import copy_identity, describe_making, without_identity
from dicom_io.write.identity import SEGMENTATION_SERIES_OFFSET, array_digest, derived_uid, series_number
from dicom_io.write.provenance import RunDescription, plain_text

BRAIN_SEGMENT = 1
# RGB colours that stay apart on a grey map, also for colour-blind readers (Okabe and Ito, 2008).
_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))
_BRAIN_COLOUR = (200, 200, 200)


@dataclass(frozen=True)
class Segment:
    """One segment: its number in the object, its label in the label map (0 for the brain mask), its plain name."""

    number: int
    label: int
    name: str


def segments(labels: np.ndarray | None, names: Mapping[int, str]) -> list[Segment]:
    """List the segments that `segmentation` writes: the brain mask first, then every label that occurs, by value."""
    present = [] if labels is None else [int(label) for label in np.unique(labels) if label != 0]
    numbered = enumerate(present, start=BRAIN_SEGMENT + 1)
    regions = [Segment(number, label, names.get(label, f"label {label}")) for number, label in numbered]
    return [Segment(BRAIN_SEGMENT, 0, "Brain"), *regions]


def segmentation(
    mask: np.ndarray,
    labels: np.ndarray | None,
    names: Mapping[int, str],
    images: Sequence[Dataset],
    source: SourceSeries,
    run: RunDescription,
) -> Dataset:
    """Write mask and label map as a binary Segmentation of the susceptibility images (PS3.3 A.51).

    Parameters
    ----------
    mask
        `(z, y, x)`, true in the brain.
    labels
        `(z, y, x)`, 0 outside every region; None where there is no label map.
    names
        The plain name of each label, with its side.
    images
        The susceptibility series, one object per slice in the order of z.
    source
        What the map was made of.
    run
        What made the map.

    Raises
    ------
    InvalidObject
        The mask is empty, or a shape is not the source's.
    """
    _check_shapes(mask, labels, source)
    found = segments(labels, names)
    voxels = np.stack([mask if item.label == 0 else labels == item.label for item in found], axis=-1)
    listing = ";".join(f"{item.number}={item.name}" for item in found)
    uid_parts = ("segmentation", images[0].SeriesInstanceUID, array_digest(voxels), listing)
    made = highdicom.seg.Segmentation(
        source_images=without_identity(images),
        pixel_array=voxels.astype(np.uint8),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_description(item, uid_parts, run) for item in found],
        series_instance_uid=derived_uid(*uid_parts, "series"),
        series_number=series_number(source.template.get("SeriesNumber"), SEGMENTATION_SERIES_OFFSET),
        sop_instance_uid=derived_uid(*uid_parts, "instance"),
        instance_number=1,
        manufacturer="Lodestone",
        manufacturer_model_name="Lodestone",
        software_versions=plain_text(run.software_version, 64),
        device_serial_number=plain_text(run.node_ae_title, 64),
        content_label="QSM_REGIONS",
        content_description="Brain mask and regions of the susceptibility map",
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    copy_identity(made, source)
    describe_making(made, source, run, "QSM regions")
    _fix_dimension_uid(made, derived_uid(*uid_parts, "dimensions"))
    return made


def _check_shapes(mask: np.ndarray, labels: np.ndarray | None, source: SourceSeries) -> None:
    for name, array in (("mask", mask), ("label map", labels)):
        if array is not None and array.shape != source.geometry.shape:
            message = f"The {name} has shape {array.shape} but the source series {source.geometry.shape}."
            raise InvalidObject(message)
    if not mask.any():
        message = "The brain mask is empty, so there is nothing to segment; look at the magnitude images."
        raise InvalidObject(message)


def _description(item: Segment, uid_parts: tuple[str, ...], run: RunDescription) -> SegmentDescription:
    named = region(item.name)
    description = SegmentDescription(
        segment_number=item.number,
        segment_label=plain_text(item.name, 64),
        segmented_property_category=_category(named.structure),
        segmented_property_type=named.structure,
        algorithm_type=_algorithm_type(item),
        algorithm_identification=_algorithm(run) if item.label == 0 else None,
        tracking_uid=derived_uid(*uid_parts, "segment", str(item.number)),
        tracking_id=plain_text(item.name, 64),
        display_color=_colour(item),
    )
    if named.laterality is not None:
        modifier = [code_item(named.laterality)]
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = modifier
    return description


def _algorithm_type(item: Segment) -> SegmentAlgorithmTypeValues:
    # A label map comes from a person's file: no algorithm of this software drew it.
    return SegmentAlgorithmTypeValues.AUTOMATIC if item.label == 0 else SegmentAlgorithmTypeValues.MANUAL


def _algorithm(run: RunDescription) -> highdicom.AlgorithmIdentificationSequence:
    return highdicom.AlgorithmIdentificationSequence(
        name="Lodestone brain mask",
        family=MORPHOLOGICAL_OPERATIONS,
        version=plain_text(run.software_version, 64),
    )


def _category(structure: Code) -> Code:
    return ALTERED_STRUCTURE if is_altered_structure(structure) else ANATOMICAL_STRUCTURE


def _colour(item: Segment) -> CIELabColor:
    if item.label == 0:
        return CIELabColor.from_rgb(*_BRAIN_COLOUR)
    return CIELabColor.from_rgb(*_COLOURS[(item.number - 2) % len(_COLOURS)])


def _fix_dimension_uid(made: Dataset, uid: str) -> None:
    """Replace the random organisation UID, which would make every retry another object."""
    for item in [*made.DimensionOrganizationSequence, *made.DimensionIndexSequence]:
        item.DimensionOrganizationUID = uid
