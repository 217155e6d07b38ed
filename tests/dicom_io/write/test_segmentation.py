"""Mask and regions come back from the Segmentation object as they went in, and lie on the map."""

from io import BytesIO

import highdicom
import numpy as np
import pytest
from pydicom import Dataset

from dicom_io.errors import InvalidObject
from dicom_io.series import SourceSeries
from dicom_io.write.mr_image import susceptibility_series
from dicom_io.write.part10 import to_bytes
from dicom_io.write.provenance import RunDescription
from dicom_io.write.segmentation import BRAIN_SEGMENT, Segment, segmentation, segments
from tests.dicom_io.write.conftest import NAMES, map_of, mask_and_labels


@pytest.fixture
def images(simulated: SourceSeries, run_description: RunDescription) -> list[Dataset]:
    return susceptibility_series(map_of(simulated), simulated, run_description)


def read_volume(dataset: Dataset, segment_number: int) -> highdicom.Volume:
    """Read one segment back with all its empty slices."""
    return highdicom.seg.segread(BytesIO(to_bytes(dataset))).get_volume(
        segment_numbers=[segment_number], combine_segments=True, relabel=True, allow_missing_positions=True
    )


def test_segments_are_the_brain_and_then_every_label_that_occurs(simulated: SourceSeries) -> None:
    _, labels = mask_and_labels(simulated)
    assert segments(labels, NAMES) == [
        Segment(1, 0, "Brain"),
        Segment(2, 3, "left caudate"),
        Segment(3, 7, "dentate R"),
        Segment(4, 9, "subthalamic nucleus left"),
    ]
    assert segments(labels, {})[1].name == "label 3"


def test_every_voxel_of_every_segment_comes_back_at_its_place_in_the_patient(
    simulated: SourceSeries, images: list[Dataset], run_description: RunDescription
) -> None:
    mask, labels = mask_and_labels(simulated)
    made = segmentation(mask, labels, NAMES, images, simulated, run_description)
    for item in segments(labels, NAMES):
        expected = mask if item.label == 0 else labels == item.label
        volume = read_volume(made, item.number)
        found = np.argwhere(volume.array > 0)
        places = volume.map_indices_to_reference(found)
        indices_xyz = np.argwhere(expected)[:, ::-1]
        there = (simulated.geometry.affine_lps @ np.c_[indices_xyz, np.ones(len(indices_xyz))].T).T[:, :3]
        assert len(places) == np.count_nonzero(expected)
        np.testing.assert_allclose(np.sort(places, axis=0), np.sort(there, axis=0), atol=1e-4)


def test_codes_and_sides_stand_in_the_segment_descriptions(
    simulated: SourceSeries, images: list[Dataset], run_description: RunDescription
) -> None:
    made = segmentation(*mask_and_labels(simulated), NAMES, images, simulated, run_description)
    brain, caudate, dentate, subthalamic = made.SegmentSequence
    assert brain.SegmentedPropertyTypeCodeSequence[0].CodeValue == "12738006"
    assert "SegmentedPropertyTypeModifierCodeSequence" not in brain.SegmentedPropertyTypeCodeSequence[0]
    side = caudate.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert side.CodeMeaning == "Left"
    assert dentate.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator == "NEU"
    assert subthalamic.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator == "99LODESTONE"


def test_only_the_mask_is_called_automatic(
    simulated: SourceSeries, images: list[Dataset], run_description: RunDescription
) -> None:
    made = segmentation(*mask_and_labels(simulated), NAMES, images, simulated, run_description)
    assert [item.SegmentAlgorithmType for item in made.SegmentSequence] == ["AUTOMATIC", "MANUAL", "MANUAL", "MANUAL"]


def test_every_frame_refers_to_the_susceptibility_image_under_it(
    simulated: SourceSeries, images: list[Dataset], run_description: RunDescription
) -> None:
    made = segmentation(*mask_and_labels(simulated), NAMES, images, simulated, run_description)
    position_of = {image.SOPInstanceUID: image.ImagePositionPatient for image in images}
    for frame in made.PerFrameFunctionalGroupsSequence:
        under = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose([float(x) for x in position], [float(x) for x in position_of[under]], atol=1e-6)


def test_a_mask_alone_is_enough(
    simulated: SourceSeries, images: list[Dataset], run_description: RunDescription
) -> None:
    mask, _ = mask_and_labels(simulated)
    made = segmentation(mask, None, {}, images, simulated, run_description)
    assert len(made.SegmentSequence) == BRAIN_SEGMENT


def test_another_mask_makes_another_object(
    simulated: SourceSeries, images: list[Dataset], run_description: RunDescription
) -> None:
    mask, labels = mask_and_labels(simulated)
    first = segmentation(mask, labels, NAMES, images, simulated, run_description)
    mask[2, 5, 5] = False
    second = segmentation(mask, labels, NAMES, images, simulated, run_description)
    assert first.SOPInstanceUID != second.SOPInstanceUID


def test_an_empty_mask_is_refused(
    simulated: SourceSeries, images: list[Dataset], run_description: RunDescription
) -> None:
    mask = np.zeros(simulated.geometry.shape, bool)
    with pytest.raises(InvalidObject, match="mask is empty"):
        segmentation(mask, None, {}, images, simulated, run_description)


def test_a_label_map_of_another_shape_is_refused(
    simulated: SourceSeries, images: list[Dataset], run_description: RunDescription
) -> None:
    mask, labels = mask_and_labels(simulated)
    with pytest.raises(InvalidObject, match="label map has shape"):
        segmentation(mask, labels[:, :, 1:], NAMES, images, simulated, run_description)
