"""The report says each region's numbers with their unit, and refuses to say what is no number."""

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO

import highdicom
import pydicom
import pytest
from pydicom import Dataset

from dicom_io.errors import InvalidObject
from dicom_io.series import SourceSeries
from dicom_io.write.mr_image import susceptibility_series
from dicom_io.write.part10 import to_bytes
from dicom_io.write.provenance import RunDescription, plain_text
from dicom_io.write.report import RegionValues, TrustValues, measurement_report
from dicom_io.write.segmentation import segmentation
from tests.dicom_io.write.conftest import NAMES, QUALITY, map_of, mask_and_labels

CAUDATE = RegionValues("left caudate", 41.23456789, 12.0, 40.5, 3.5, 2)


@pytest.fixture
def images_and_regions(simulated: SourceSeries, run_description: RunDescription) -> tuple[list[Dataset], Dataset]:
    images = susceptibility_series(map_of(simulated), simulated, run_description)
    return images, segmentation(*mask_and_labels(simulated), NAMES, images, simulated, run_description)


@pytest.fixture
def report(images_and_regions: tuple[list[Dataset], Dataset], simulated: SourceSeries, run_description: RunDescription):
    def make(values: Sequence[RegionValues], quality: dict[str, float] | None = None) -> Dataset:
        images, regions = images_and_regions
        return measurement_report(values, regions, images, simulated, run_description, quality or {})

    return make


def groups_of(dataset: Dataset) -> list:
    """Read a report's measurement groups back."""
    read = highdicom.sr.Comprehensive3DSR.from_dataset(pydicom.dcmread(BytesIO(to_bytes(dataset))))
    return read.content.get_volumetric_roi_measurement_groups()


def test_mean_spread_median_and_volume_come_back_with_their_units(report) -> None:
    (group,) = groups_of(report([CAUDATE]))
    values = [(item.name.meaning, item.value, item.unit.value) for item in group.get_measurements()]
    assert values == [
        ("Magnetic Susceptibility", 41.2346, "[ppb]"),
        ("Magnetic Susceptibility", 12.0, "[ppb]"),
        ("Magnetic Susceptibility", 40.5, "[ppb]"),
        ("Volume", 3.5, "ml"),
    ]


def test_a_group_names_its_region_side_segment_and_series(report, images_and_regions) -> None:
    images, regions = images_and_regions
    (group,) = groups_of(report([CAUDATE]))
    assert group.finding_type.value == "11000004"
    assert group.finding_sites[0].laterality.meaning == "Left"
    reference = group.referenced_segment
    assert reference.referenced_sop_instance_uid == regions.SOPInstanceUID
    assert reference.referenced_segment_numbers == 2 or list(reference.referenced_segment_numbers) == [2]
    text = report([CAUDATE]).to_json()
    assert images[0].SeriesInstanceUID in text


def test_images_and_segmentation_are_listed_as_evidence(report, images_and_regions) -> None:
    images, regions = images_and_regions
    listed = {
        item.ReferencedSOPInstanceUID
        for study in report([CAUDATE]).CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert listed == {regions.SOPInstanceUID, *(image.SOPInstanceUID for image in images)}


def test_nobody_has_signed_a_report_of_a_machine(report) -> None:
    made = report([CAUDATE])
    assert (made.CompletionFlag, made.VerificationFlag, made.PreliminaryFlag) == (
        "COMPLETE",
        "UNVERIFIED",
        "PRELIMINARY",
    )
    assert "RESEARCH USE ONLY" in made.SeriesDescription


def test_quality_figures_carry_the_unit_their_name_ends_in_and_belong_to_the_brain_segment(report) -> None:
    (group,) = groups_of(report([], QUALITY))
    values = {item.name.meaning: (item.value, item.unit.value) for item in group.get_measurements()}
    assert values == {
        "Field noise median": (3.25, "[ppb]"),
        "Mask volume": (1200.5, "ml"),
        "N echoes used": (3.0, "1"),
        "R2star median": (20.0, "/s"),
    }
    assert group.tracking_identifier == "Quality of the map"
    assert list(group.referenced_segment.referenced_segment_numbers) == [1]


def test_software_recipe_weights_and_input_are_named_with_their_digests(
    images_and_regions: tuple[list[Dataset], Dataset], simulated: SourceSeries, learned_run: RunDescription
) -> None:
    images, regions = images_and_regions
    made = measurement_report([CAUDATE], regions, images, simulated, learned_run, {})
    read = pydicom.dcmread(BytesIO(to_bytes(made)))
    (measurements,) = [item for item in read.ContentSequence if item.get("ContinuityOfContent") == "CONTINUOUS"]
    said = [
        (item.ConceptNameCodeSequence[0].CodeMeaning, item.TextValue)
        for item in measurements.ContentSequence
        if item.ValueType == "TEXT"
    ]
    assert said == [
        ("Algorithm Name", "Lodestone quantitative susceptibility mapping"),
        ("Algorithm Version", "0.1.0"),
        ("Algorithm Parameters", "Code revision 1234abc"),
        ("Algorithm Parameters", f"Recipe learned, SHA-256 {'a' * 64}"),
        ("Algorithm Parameters", f"Weights lodestone_net, SHA-256 {'c' * 64}"),
        ("Algorithm Parameters", f"Input SHA-256 {'b' * 64}"),
        ("Algorithm Parameters", "Reference: whole brain mean"),
        ("Algorithm Parameters", f"Method: {plain_text(learned_run.method_sentence, 1024)}"),
    ]


def test_a_report_of_nothing_is_refused(report) -> None:
    with pytest.raises(InvalidObject, match="empty"):
        report([])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_refused(report, value: float) -> None:
    with pytest.raises(InvalidObject, match="Magnetic Susceptibility"):
        report([replace(CAUDATE, mean=value)])


def test_another_number_makes_another_report_and_equal_numbers_the_same(report) -> None:
    first, same, other = report([CAUDATE]), report([replace(CAUDATE)]), report([replace(CAUDATE, sd=12.5)])
    assert to_bytes(first) == to_bytes(same)
    assert first.SOPInstanceUID != other.SOPInstanceUID


def test_the_classical_value_its_difference_the_interval_and_the_cone_share_follow_a_learned_mean(report) -> None:
    trust = TrustValues(classical_mean=38.0, half_width=4.5, cone_share=0.12)
    (group,) = groups_of(report([replace(CAUDATE, mean=41.0, trust=trust)]))
    values = {item.name.meaning: (item.value, item.unit.value) for item in group.get_measurements()[4:]}
    assert values == {
        "Magnetic susceptibility by the classical inversion": (38.0, "[ppb]"),
        "Difference from the classical inversion": (3.0, "[ppb]"),
        "Half width of the 90 percent interval of the mean": (4.5, "[ppb]"),
        "Share of the contrast that the field hardly shows": (0.12, "1"),
    }
    (without,) = groups_of(report([replace(CAUDATE, trust=TrustValues(38.0))]))
    assert len(without.get_measurements()) == 6
    assert report([CAUDATE]).SOPInstanceUID != report([replace(CAUDATE, trust=trust)]).SOPInstanceUID


def test_sentences_about_the_map_stand_behind_the_measurements(
    images_and_regions: tuple[list[Dataset], Dataset], simulated: SourceSeries, run_description: RunDescription
) -> None:
    images, regions = images_and_regions
    sentences = ("This map is the classical one: voxels of 4.0 mm were never trained.", "The field is noisy.")
    made = measurement_report([CAUDATE], regions, images, simulated, run_description, QUALITY, sentences)
    read = pydicom.dcmread(BytesIO(to_bytes(made)))
    names = [item.ConceptNameCodeSequence[0].CodeMeaning for item in read.ContentSequence]
    assert names[-2:] == ["Imaging Measurements", "Qualitative Evaluations"]
    assert tuple(item.TextValue for item in read.ContentSequence[-1].ContentSequence) == sentences
    other = measurement_report([CAUDATE], regions, images, simulated, run_description, QUALITY, sentences[:1])
    assert other.SOPInstanceUID != made.SOPInstanceUID
