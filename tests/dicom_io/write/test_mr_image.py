"""The susceptibility series: the number stored is the number meant, in the geometry of the source."""

from dataclasses import replace

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.pixels import apply_modality_lut
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage

from dicom_io.errors import InvalidObject
from dicom_io.series import SourceSeries
from dicom_io.write.mr_image import MapRole, susceptibility_series, to_stored_ppb
from dicom_io.write.provenance import RESEARCH_SENTENCE, RunDescription
from dicom_io.write.validation import validate
from tests.dicom_io.write.conftest import map_of


def test_stored_values_are_ppb_with_slope_one_and_one_window(
    source: SourceSeries, run_description: RunDescription
) -> None:
    expected = np.rint(map_of(source))
    for index, image in enumerate(susceptibility_series(map_of(source), source, run_description)):
        stored = np.frombuffer(image.PixelData, "<i2").reshape(image.Rows, image.Columns)
        np.testing.assert_array_equal(stored, expected[index])
        assert (image.RescaleSlope, image.RescaleIntercept, image.RescaleType) == (1, 0, "US")
        assert (image.WindowCenter, image.WindowWidth) == (0, 400)
        assert (image.BitsStored, image.HighBit, image.PixelRepresentation) == (16, 15, 1)


def test_the_modality_transform_changes_no_value(simulated: SourceSeries, run_description: RunDescription) -> None:
    image = susceptibility_series(map_of(simulated), simulated, run_description)[2]
    image.file_meta = pydicom.dataset.FileMetaDataset()
    image.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    np.testing.assert_array_equal(apply_modality_lut(image.pixel_array, image), image.pixel_array)


@pytest.mark.parametrize(
    "name", ["v_sharp_tv", "default as_source", "a recipe whose name is longer than any series' name"]
)
def test_a_further_map_of_one_series_has_uids_and_a_name_of_its_own(
    simulated: SourceSeries, run_description: RunDescription, name: str
) -> None:
    first = susceptibility_series(map_of(simulated), simulated, run_description)[0]
    further = susceptibility_series(map_of(simulated), simulated, replace(run_description, map_by=name))[0]
    assert first.SeriesInstanceUID != further.SeriesInstanceUID
    assert first.SOPInstanceUID != further.SOPInstanceUID
    assert first.SeriesDescription == "QSM [ppb] Lodestone 0.1.0 - RESEARCH USE ONLY"
    assert further.SeriesDescription.startswith(f"QSM [ppb] {name[:18]}")
    assert further.SeriesDescription.endswith(" Lodestone 0.1.0 - RESEARCH USE ONLY")
    assert len(further.SeriesDescription) <= 64
    validate(further)


def test_real_world_values_are_given_in_ppm_and_in_ppb(
    simulated: SourceSeries, run_description: RunDescription
) -> None:
    image = susceptibility_series(map_of(simulated), simulated, run_description)[0]
    in_ppm, in_ppb = image.RealWorldValueMappingSequence
    assert (in_ppm.RealWorldValueSlope, in_ppm.MeasurementUnitsCodeSequence[0].CodeValue) == (0.001, "ppm")
    assert (in_ppb.RealWorldValueSlope, in_ppb.MeasurementUnitsCodeSequence[0].CodeValue) == (1.0, "[ppb]")
    for item in (in_ppm, in_ppb):
        assert item["RealWorldValueFirstValueMapped"].VR == "SS"
        assert item.QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeValue == "126396"


def test_every_slice_lies_where_its_source_lies(philips_classic: SourceSeries, run_description: RunDescription) -> None:
    sources = philips_classic.geometry
    images = susceptibility_series(map_of(philips_classic), philips_classic, run_description)
    assert list(images[0].ImagePositionPatient) == list(sources.first_position)
    for index, image in enumerate(images):
        np.testing.assert_allclose(image.ImagePositionPatient, sources.position(index), atol=1e-9)
        assert list(image.ImageOrientationPatient) == [*sources.row_direction, *sources.column_direction]
        assert list(image.PixelSpacing) == list(sources.pixel_spacing)
        assert image.SpacingBetweenSlices == 3.0


def test_classic_and_enhanced_input_give_images_of_one_description(
    philips_classic: SourceSeries, philips_enhanced: SourceSeries, run_description: RunDescription
) -> None:
    classic, enhanced = (
        susceptibility_series(map_of(source), source, run_description)[10]
        for source in (philips_classic, philips_enhanced)
    )
    assert classic.PixelData == enhanced.PixelData
    np.testing.assert_allclose(classic.ImagePositionPatient, enhanced.ImagePositionPatient, atol=1e-6)
    for keyword in (
        "ScanningSequence",
        "SequenceVariant",
        "MRAcquisitionType",
        "RepetitionTime",
        "FlipAngle",
        "ImagedNucleus",
        "SliceThickness",
        "MagneticFieldStrength",
        "PatientPosition",
        "BodyPartExamined",
        "ImageOrientationPatient",
        "SeriesNumber",
    ):
        assert classic[keyword].value == enhanced[keyword].value, keyword
    assert float(classic.ImagingFrequency) == pytest.approx(float(enhanced.ImagingFrequency), abs=1e-5)


def test_every_frame_used_for_a_slice_is_named_as_its_source(
    philips_classic: SourceSeries, philips_enhanced: SourceSeries, run_description: RunDescription
) -> None:
    image = susceptibility_series(map_of(philips_classic), philips_classic, run_description)[4]
    assert {item.ReferencedSOPInstanceUID for item in image.SourceImageSequence} == {
        frame.SOPInstanceUID for frame in philips_classic.frames[4]
    }
    assert len(image.SourceImageSequence) == 4
    image = susceptibility_series(map_of(philips_enhanced), philips_enhanced, run_description)[4]
    (item,) = image.SourceImageSequence
    assert item.ReferencedSOPClassUID == EnhancedMRImageStorage
    assert sorted(item.ReferencedFrameNumber) == sorted(frame.frame_number for frame in philips_enhanced.frames[4])


def test_a_map_of_all_echoes_claims_no_echo_time(source: SourceSeries, run_description: RunDescription) -> None:
    image = susceptibility_series(map_of(source), source, run_description)[0]
    assert image.SOPClassUID == MRImageStorage
    assert image["EchoTime"].is_empty
    assert "EchoNumbers" not in image
    assert list(image.ImageType[:2]) == ["DERIVED", "PRIMARY"]


def test_the_research_flag_stands_where_every_viewer_shows_it(
    simulated: SourceSeries, run_description: RunDescription
) -> None:
    image = susceptibility_series(map_of(simulated), simulated, run_description)[0]
    assert "RESEARCH USE ONLY" in image.SeriesDescription
    assert image.ImageComments == RESEARCH_SENTENCE


def test_rounding_is_to_the_nearest_ppb_and_clipping_is_counted_and_told(
    simulated: SourceSeries, run_description: RunDescription
) -> None:
    stored, clipped = to_stored_ppb(np.array([0.49, -0.51, 32767.2, 32768.0, -40000.0]))
    assert stored.tolist() == [0, -1, 32767, 32767, -32767]
    assert clipped == 2
    susceptibility = np.zeros(simulated.geometry.shape)
    susceptibility[0, 0, :3] = 1e6
    image = susceptibility_series(susceptibility, simulated, run_description)[0]
    assert "3 voxels were clipped" in image.DerivationDescription


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_map_with_holes_is_refused(simulated: SourceSeries, run_description: RunDescription, value: float) -> None:
    susceptibility = map_of(simulated)
    susceptibility[1, 2, 3] = value
    with pytest.raises(InvalidObject, match="NaN or infinity"):
        susceptibility_series(susceptibility, simulated, run_description)


def test_a_map_of_another_shape_is_refused(simulated: SourceSeries, run_description: RunDescription) -> None:
    with pytest.raises(InvalidObject, match="shape"):
        susceptibility_series(map_of(simulated)[1:], simulated, run_description)


def test_one_changed_voxel_recipe_or_input_makes_another_series(
    simulated: SourceSeries, run_description: RunDescription
) -> None:
    susceptibility = map_of(simulated)
    changed = susceptibility.copy()
    changed[0, 0, 0] += 2
    made = [
        susceptibility_series(susceptibility, simulated, run_description),
        susceptibility_series(changed, simulated, run_description),
        susceptibility_series(susceptibility, simulated, replace(run_description, recipe_digest="c" * 64)),
        susceptibility_series(susceptibility, simulated, replace(run_description, input_digest="c" * 64)),
    ]
    assert len({images[0].SeriesInstanceUID for images in made}) == 4
    assert len({image.SOPInstanceUID for images in made for image in images}) == 4 * len(made[0])


def test_the_network_s_map_and_its_classical_twin_are_two_series_that_say_which_they_are(
    simulated: SourceSeries, learned_run: RunDescription
) -> None:
    susceptibility = map_of(simulated)
    plain, learned, instead, twin = (
        susceptibility_series(susceptibility, simulated, learned_run, role)[0]
        for role in (MapRole.ONLY, MapRole.LEARNED, MapRole.CLASSICAL, MapRole.TWIN)
    )
    assert len({image.SeriesInstanceUID for image in (plain, learned, instead, twin)}) == 4
    assert len({image.SOPInstanceUID for image in (plain, learned, instead, twin)}) == 4
    words = [image.SeriesDescription.split(" Lodestone")[0] for image in (plain, learned, instead, twin)]
    assert words == ["QSM [ppb]", "QSM learned [ppb]", "QSM classical [ppb]", "QSM classical [ppb]"]
    assert learned.SeriesDescription.endswith("RESEARCH USE ONLY")
    assert list(plain.ImageType) == ["DERIVED", "PRIMARY", "OTHER", "QSM"]
    assert [image.ImageType[-1] for image in (learned, instead, twin)] == ["LEARNED", "CLASSICAL", "CLASSICAL"]
    assert plain.SeriesNumber == learned.SeriesNumber == instead.SeriesNumber != twin.SeriesNumber
    assert learned.ImageComments.endswith("This is the map of the network lodestone_net.")


def test_a_source_without_patient_position_gets_an_empty_one(
    simulated: SourceSeries, run_description: RunDescription
) -> None:
    template = Dataset()
    template.update(simulated.template)
    del template.PatientPosition
    image = susceptibility_series(map_of(simulated), replace(simulated, template=template), run_description)[0]
    assert image["PatientPosition"].is_empty
    validate(image)


def test_a_map_of_a_magnitude_compressed_with_loss_stays_lossy(
    simulated: SourceSeries, run_description: RunDescription
) -> None:
    template = Dataset()
    template.update(simulated.template)
    template.LossyImageCompression, template.LossyImageCompressionRatio = "01", "8"
    template.LossyImageCompressionMethod = "ISO_15444_1"
    lossy, plain = (
        susceptibility_series(map_of(source), source, run_description)[0]
        for source in (replace(simulated, template=template), simulated)
    )
    assert (plain.LossyImageCompression, "LossyImageCompressionRatio" in plain) == ("00", False)
    assert (lossy.LossyImageCompression, lossy.LossyImageCompressionRatio) == ("01", 8)
    assert lossy.LossyImageCompressionMethod == "ISO_15444_1"
    validate(lossy)
