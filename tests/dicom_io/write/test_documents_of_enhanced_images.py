"""Every document that refers to the map does so rightly where the map is one enhanced object with a frame per slice."""

from collections.abc import Callable
from io import BytesIO

import highdicom
import pydicom
import pytest
from pydicom import Dataset

from dicom_io.series import SourceSeries
from dicom_io.write.enhanced_mr import enhanced_susceptibility
from dicom_io.write.key_objects import key_object_selection
from dicom_io.write.mr_image import susceptibility_series
from dicom_io.write.part10 import to_bytes
from dicom_io.write.planar_report import planar_report
from dicom_io.write.presentation import presentation_state
from dicom_io.write.provenance import RunDescription
from dicom_io.write.report import RegionValues, measurement_report
from dicom_io.write.segmentation import segmentation
from dicom_io.write.validation import validate
from tests.dicom_io.write.conftest import NAMES, QUALITY, map_of, mask_and_labels

pytestmark = pytest.mark.golden

VALUES = [RegionValues("Brain", 0.0, 80.0, 0.5, 1200.0, 1), RegionValues("left caudate", 41.25, 12.0, 40.5, 3.5, 2)]


@pytest.fixture
def enhanced(philips_enhanced: SourceSeries, run_description: RunDescription) -> Dataset:
    return enhanced_susceptibility(map_of(philips_enhanced), philips_enhanced, run_description)


def test_documents_of_an_enhanced_map_have_no_error(
    enhanced: Dataset,
    philips_enhanced: SourceSeries,
    run_description: RunDescription,
    conformance_errors: Callable[[Dataset], list[str]],
) -> None:
    source, run, images = philips_enhanced, run_description, [enhanced]
    mask, labels = mask_and_labels(source)
    regions = segmentation(mask, labels, NAMES, images, source, run)
    for document in (
        regions,
        measurement_report(VALUES, regions, images, source, run, QUALITY),
        planar_report(VALUES, mask, labels, images, source, run, QUALITY),
        presentation_state(images, source, run),
        key_object_selection(images, ["A check failed."], source, run),
    ):
        validate(document)
        assert conformance_errors(document) == []


def test_an_outline_names_the_frame_and_measures_what_it_does_on_classic_images(
    enhanced: Dataset, philips_enhanced: SourceSeries, run_description: RunDescription
) -> None:
    source, run = philips_enhanced, run_description
    mask, labels = mask_and_labels(source)
    classic = susceptibility_series(map_of(source), source, run)
    groups = [
        highdicom.sr.Comprehensive3DSR.from_dataset(
            pydicom.dcmread(BytesIO(to_bytes(report)))
        ).content.get_planar_roi_measurement_groups()[0]
        for report in (
            planar_report(VALUES, mask, labels, images, source, run, QUALITY) for images in ([enhanced], classic)
        )
    ]
    references = [group.roi.ContentSequence[0].ReferencedSOPSequence[0] for group in groups]
    assert references[0].ReferencedSOPInstanceUID == enhanced.SOPInstanceUID
    assert references[1].ReferencedSOPInstanceUID == classic[references[0].ReferencedFrameNumber - 1].SOPInstanceUID
    measured = [[(item.name.meaning, item.value) for item in group.get_measurements()] for group in groups]
    assert measured[0] == measured[1]


def test_a_presentation_state_takes_the_pixels_shape_from_the_enhanced_image(
    enhanced: Dataset, philips_enhanced: SourceSeries, run_description: RunDescription
) -> None:
    state = presentation_state([enhanced], philips_enhanced, run_description)
    (area,) = state.DisplayedAreaSelectionSequence
    assert area.PresentationPixelSpacing == list(philips_enhanced.geometry.pixel_spacing)
    (reference,) = state.ReferencedSeriesSequence[0].ReferencedImageSequence
    assert reference.ReferencedSOPInstanceUID == enhanced.SOPInstanceUID
