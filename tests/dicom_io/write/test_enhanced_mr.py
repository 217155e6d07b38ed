"""The Enhanced MR map: the numbers and places of the classic series in one object of the standard's words."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom import Dataset

from dicom_io.errors import InvalidObject
from dicom_io.series import SourceSeries
from dicom_io.write.enhanced_mr import enhanced_susceptibility
from dicom_io.write.mr_image import MapRole, susceptibility_series
from dicom_io.write.parametric_map import parametric_map
from dicom_io.write.part10 import to_bytes
from dicom_io.write.provenance import RunDescription
from dicom_io.write.segmentation import segmentation
from dicom_io.write.validation import validate
from tests.dicom_io.write.conftest import NAMES, map_of, mask_and_labels

ENHANCED_HEADERS = (
    "router_negatives/siemens_terra_xa60_7t_bold_enhanced/75739475",
    "direct_fieldmap_traps/philips_achieva_530_b0/IM_0027_fMAP.dcm",
    "siemens_prisma_xa30_enhanced_fieldmap/8_magnitude",
)


@pytest.fixture
def enhanced(source: SourceSeries, run_description: RunDescription) -> Dataset:
    return enhanced_susceptibility(map_of(source), source, run_description)


def test_every_frame_has_the_pixels_and_the_place_of_the_classic_image(
    enhanced: Dataset, source: SourceSeries, run_description: RunDescription
) -> None:
    classic = susceptibility_series(map_of(source), source, run_description)
    assert enhanced.PixelData == b"".join(image.PixelData for image in classic)
    shared = enhanced.SharedFunctionalGroupsSequence[0]
    for number, (frame, image) in enumerate(zip(enhanced.PerFrameFunctionalGroupsSequence, classic, strict=True), 1):
        assert frame.PlanePositionSequence[0].ImagePositionPatient == image.ImagePositionPatient
        content = frame.FrameContentSequence[0]
        assert (content.StackID, content.InStackPositionNumber) == ("1", number)
        assert list(content.DimensionIndexValues) == [1, number]
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == classic[0].ImageOrientationPatient
    for keyword in ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"):
        assert shared.PixelMeasuresSequence[0][keyword].value == classic[0][keyword].value


def test_the_stored_value_is_ppb_in_one_window_and_mapped_to_ppm(enhanced: Dataset) -> None:
    shared = enhanced.SharedFunctionalGroupsSequence[0]
    rescale, window = shared.PixelValueTransformationSequence[0], shared.FrameVOILUTSequence[0]
    assert (rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType) == (1, 0, "US")
    assert (window.WindowCenter, window.WindowWidth) == (0, 400)
    units = [item.MeasurementUnitsCodeSequence[0].CodeValue for item in shared.RealWorldValueMappingSequence]
    assert units == ["ppm", "[ppb]"]
    assert list(enhanced.ImageType) == list(shared.MRImageFrameTypeSequence[0].FrameType)
    assert list(enhanced.ImageType) == ["DERIVED", "PRIMARY", "VOLUME", "QSM"]


def test_highdicom_reads_ppb_and_places_every_voxel(enhanced: Dataset, source: SourceSeries) -> None:
    image = highdicom.imread(BytesIO(to_bytes(enhanced)))
    volume = image.get_volume(apply_real_world_transform=True, real_world_value_map_selector=1)
    x, y, z = 11, 7, 3
    place = source.geometry.affine_lps @ [x, y, z, 1.0]
    index = np.rint(volume.map_reference_to_indices(place[None, :3])[0]).astype(int)
    assert volume.array[tuple(index)] == np.rint(map_of(source)[z, y, x])


def test_every_frame_names_all_its_sources_and_the_study_lists_them(enhanced: Dataset, source: SourceSeries) -> None:
    used = {frame.SOPInstanceUID for frames in source.frames for frame in frames}
    for frame, expected in zip(enhanced.PerFrameFunctionalGroupsSequence, source.frames, strict=True):
        items = frame.DerivationImageSequence[0].SourceImageSequence
        named = [(item.ReferencedSOPInstanceUID, item.get("ReferencedFrameNumber")) for item in items]
        assert named == [(one.SOPInstanceUID, one.frame_number) for one in expected]
    (study,) = enhanced.SourceImageEvidenceSequence
    listed = {
        item.ReferencedSOPInstanceUID for one in study.ReferencedSeriesSequence for item in one.ReferencedSOPSequence
    }
    assert study.StudyInstanceUID == source.template.StudyInstanceUID
    assert listed == used


def test_the_macros_of_an_enhanced_source_are_repeated_without_its_private_attributes(
    philips_enhanced: SourceSeries, run_description: RunDescription
) -> None:
    made = enhanced_susceptibility(map_of(philips_enhanced), philips_enhanced, run_description)
    shared = made.SharedFunctionalGroupsSequence[0]
    assert shared.MRTimingAndRelatedParametersSequence[0].FlipAngle == 10
    assert shared.MRImagingModifierSequence[0].TransmitterFrequency == 127.748512
    assert made.AcquisitionContrast == "T1"
    assert "MREchoSequence" not in shared
    assert not [element for element in made.iterall() if element.tag.is_private]


def test_a_macro_with_a_term_that_is_not_the_standard_s_is_left_out(
    data_dir: Path, simulated: SourceSeries, run_description: RunDescription
) -> None:
    template = pydicom.dcmread(data_dir / ENHANCED_HEADERS[0], stop_before_pixels=True)
    made = enhanced_susceptibility(map_of(simulated), replace(simulated, template=template), run_description)
    shared = made.SharedFunctionalGroupsSequence[0]
    assert "MRModifierSequence" not in shared
    assert "MRTimingAndRelatedParametersSequence" in shared


@pytest.mark.golden
@pytest.mark.parametrize("header", ENHANCED_HEADERS)
def test_other_scanners_headers_lead_to_an_object_without_error(
    header: str,
    data_dir: Path,
    simulated: SourceSeries,
    run_description: RunDescription,
    conformance_errors: Callable[[Dataset], list[str]],
) -> None:
    path = data_dir / header
    file = path if path.is_file() else min(path.iterdir())
    template = pydicom.dcmread(file, stop_before_pixels=True)
    made = enhanced_susceptibility(map_of(simulated), replace(simulated, template=template), run_description)
    validate(made)
    assert conformance_errors(made) == []


def test_equal_input_gives_equal_bytes_and_another_role_another_object(
    simulated: SourceSeries, run_description: RunDescription
) -> None:
    values = map_of(simulated)
    first, again = (to_bytes(enhanced_susceptibility(values, simulated, run_description)) for _ in range(2))
    assert first == again
    made = [enhanced_susceptibility(values, simulated, run_description, role) for role in MapRole]
    made += susceptibility_series(values, simulated, run_description)[:1]
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert len({one[keyword].value for one in made}) == len(made)
    assert made[1].SeriesDescription.startswith("QSM learned [ppb]")


def test_segmentation_and_parametric_map_can_refer_to_the_enhanced_object(
    enhanced: Dataset, source: SourceSeries, run_description: RunDescription
) -> None:
    values = (map_of(source) / 1000).astype(np.float32)
    lossless = parametric_map(values, [enhanced], source, run_description)
    validate(lossless)
    for number, frame in enumerate(lossless.PerFrameFunctionalGroupsSequence, start=1):
        first = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert (first.ReferencedSOPInstanceUID, first.ReferencedFrameNumber) == (enhanced.SOPInstanceUID, number)
    np.testing.assert_array_equal(np.frombuffer(lossless.FloatPixelData, "<f4"), values.ravel())
    regions = segmentation(*mask_and_labels(source), NAMES, [enhanced], source, run_description)
    validate(regions)
    assert regions.ReferencedSeriesSequence[0].SeriesInstanceUID == enhanced.SeriesInstanceUID


def test_holes_and_foreign_grids_are_refused(simulated: SourceSeries, run_description: RunDescription) -> None:
    values = map_of(simulated)
    with pytest.raises(InvalidObject, match="has shape"):
        enhanced_susceptibility(values[1:], simulated, run_description)
    values[0, 0, 0] = np.nan
    with pytest.raises(InvalidObject, match="NaN or infinity"):
        enhanced_susceptibility(values, simulated, run_description)


def test_clipped_voxels_are_counted_in_every_frame_s_derivation(
    simulated: SourceSeries, run_description: RunDescription
) -> None:
    values = map_of(simulated)
    values[0, 0, :2] = 50_000
    made = enhanced_susceptibility(values, simulated, run_description)
    for frame in made.PerFrameFunctionalGroupsSequence:
        assert "2 voxels were clipped to +/-32767 ppb." in frame.DerivationImageSequence[0].DerivationDescription


def test_dciodvfy_and_our_validation_find_no_error(
    enhanced: Dataset, conformance_errors: Callable[[Dataset], list[str]]
) -> None:
    validate(enhanced)
    assert conformance_errors(enhanced) == []
