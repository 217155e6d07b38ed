"""The planar report draws each region where it is and says what a reader would measure in the line."""

from copy import deepcopy
from dataclasses import replace
from io import BytesIO

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom import Dataset

from dicom_io.errors import InvalidObject
from dicom_io.series import SourceSeries
from dicom_io.write.mr_image import susceptibility_series
from dicom_io.write.part10 import to_bytes
from dicom_io.write.planar_report import planar_report
from dicom_io.write.provenance import RunDescription
from dicom_io.write.report import RegionValues
from dicom_io.write.validation import validate
from tests.dicom_io.write.conftest import QUALITY, map_of, mask_and_labels

BRAIN = RegionValues("Brain", 0.0, 80.0, 0.5, 1200.0, 1)
CAUDATE = RegionValues("left caudate", 41.23456789, 12.0, 40.5, 3.5, 2)
DENTATE = RegionValues("dentate R", 90.0, 20.0, 88.0, 0.5, 3)


@pytest.fixture
def made(simulated: SourceSeries, run_description: RunDescription):
    """Return the function that writes a planar report of the known mask, labels and map."""
    mask, labels = mask_and_labels(simulated)
    images = susceptibility_series(map_of(simulated), simulated, run_description)

    def make(values=(CAUDATE,), quality=None, sentences=(), labels=labels, images=images) -> Dataset:
        figures = quality or {}
        return planar_report(values, mask, labels, images, simulated, run_description, figures, sentences)

    make.images, make.labels = images, labels
    return make


PIXELS = "Pixels are 1 x 1.5 mm: OHIF 3.13 draws outlines on such images in the wrong place."


def groups_of(dataset: Dataset) -> list:
    """Read a report's measurement groups back."""
    read = highdicom.sr.Comprehensive3DSR.from_dataset(pydicom.dcmread(BytesIO(to_bytes(dataset))))
    return read.content.get_planar_roi_measurement_groups()


def evaluations_of(report: Dataset) -> list[Dataset]:
    """Return the texts behind the measurements."""
    return list(report.ContentSequence[-1].ContentSequence)


def sentences_of(report: Dataset) -> list[str]:
    """Return the texts about the map as a whole."""
    texts = evaluations_of(report)
    return [
        item.TextValue for item in texts if item.ConceptNameCodeSequence[0].CodeMeaning.startswith("What was found")
    ]


def values_of(group) -> dict[str, tuple[float, str]]:
    return {item.name.meaning: (item.value, item.unit.value) for item in group.get_measurements()}


def test_the_line_is_drawn_around_the_regions_pixels_on_its_image(made) -> None:
    (group,) = groups_of(made())
    assert group.roi.GraphicType == "POLYLINE"
    assert group.roi.value.tolist() == [[6, 6], [9, 6], [9, 9], [6, 9], [6, 6]]
    (image,) = group.roi.ContentSequence
    assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == made.images[2].SOPInstanceUID


def test_the_first_values_are_those_of_the_pixels_inside_and_the_whole_regions_mean_is_named_as_such(made) -> None:
    (group,) = groups_of(made())
    inside = np.frombuffer(made.images[2].PixelData, "<i2").reshape(32, 30)[6:9, 6:9]
    values = values_of(group)
    assert list(values) == [
        "Magnetic Susceptibility",
        "SD in the outline",
        "Area",
        "Mean of the whole region",
    ]
    assert values["Magnetic Susceptibility"] == (pytest.approx(inside.mean(), rel=1e-5), "[ppb]")
    assert values["SD in the outline"] == (pytest.approx(inside.std(), rel=1e-5), "[ppb]")
    assert values["Area"] == (9 * 1.0 * 1.5, "mm2")
    assert values["Mean of the whole region"] == (41.2346, "[ppb]")


def test_spread_median_and_volume_of_the_whole_region_are_said_in_a_sentence(made) -> None:
    whole = next(item for item in evaluations_of(made()) if "whole region" in item.TextValue)
    assert whole.ConceptNameCodeSequence[0].CodeMeaning == "Values of the whole region"
    assert whole.TextValue == ("left caudate, whole region: mean 41.2346, SD 12, median 40.5 [ppb], volume 3.5 ml.")


def test_a_group_names_its_region_and_side(made) -> None:
    (group,) = groups_of(made())
    assert group.tracking_identifier == "left caudate"
    assert group.finding_type.value == "11000004"
    assert group.finding_sites[0].laterality.meaning == "Left"


def test_the_brain_is_drawn_from_the_mask(made) -> None:
    (group,) = groups_of(made([BRAIN]))
    assert group.roi.value.tolist() == [[5, 5], [25, 5], [25, 25], [5, 25], [5, 5]]


def test_the_brain_comes_last_because_a_viewer_opens_at_the_first_outline(made) -> None:
    groups = groups_of(made([BRAIN, CAUDATE, DENTATE]))
    assert [group.tracking_identifier for group in groups] == ["left caudate", "dentate R", "Brain"]


def test_quality_figures_are_texts_so_that_every_group_has_a_line(made) -> None:
    report = made([CAUDATE], QUALITY, ("The field is noisy.",))
    (group,) = groups_of(report)
    assert group.roi is not None
    said = [(item.ConceptNameCodeSequence[0].CodeMeaning, item.TextValue) for item in evaluations_of(report)[1:]]
    assert said == [
        ("Field noise median", "3.25 [ppb]"),
        ("Mask volume", "1200.5 ml"),
        ("N echoes used", "3"),
        ("R2star median", "20 /s"),
        ("What was found about the map", "The field is noisy."),
        ("What was found about the map", PIXELS),
    ]


def test_pieces_left_out_and_holes_are_said(made) -> None:
    labels = made.labels.copy()
    labels[2, 20:22, 20] = 3
    labels[2, 7, 7] = 0
    report = made(labels=labels, sentences=("The field is noisy.",))
    said = sentences_of(report)
    assert said == [
        "The field is noisy.",
        PIXELS,
        "left caudate, slice 3: the outline surrounds the largest of 2 pieces; pixels left out: 2.",
        "left caudate, slice 3: the outline encloses pixels that are not of the region (1); its values include them.",
    ]


def test_square_pixels_need_no_warning(made) -> None:
    square = deepcopy(made.images)
    for image in square:
        image.PixelSpacing = [1.0, 1.0]
    assert PIXELS in sentences_of(made())
    assert sentences_of(made(images=square, sentences=("The field is noisy.",))) == ["The field is noisy."]


def test_a_line_too_long_to_be_written_is_left_out_and_said(made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicom_io.write.planar_report._MOST_POINTS", 5)
    labels = made.labels.copy()
    labels[2:4, 8, 8] = 0
    report = made([CAUDATE, DENTATE], labels=labels)
    assert [group.tracking_identifier for group in groups_of(report)] == ["dentate R"]
    said = sentences_of(report)
    assert said == [PIXELS, "left caudate is not drawn: its outline is too long for this kind of report."]


def test_a_frame_of_an_enhanced_image_is_named_by_its_number(made) -> None:
    enhanced = deepcopy(made.images[0])
    enhanced.NumberOfFrames = len(made.images)
    enhanced.PixelData = b"".join(image.PixelData for image in made.images)
    (group,), (single,) = groups_of(made(images=[enhanced])), groups_of(made())
    reference = group.roi.ContentSequence[0].ReferencedSOPSequence[0]
    assert (reference.ReferencedSOPInstanceUID, reference.ReferencedFrameNumber) == (enhanced.SOPInstanceUID, 3)
    assert values_of(group) == values_of(single)


def test_a_segment_that_no_label_has_is_refused(made) -> None:
    with pytest.raises(InvalidObject, match="Segment 9"):
        made([replace(CAUDATE, segment_number=9)])


def test_labels_of_another_grid_are_refused(made) -> None:
    with pytest.raises(InvalidObject, match="grid"):
        made(labels=made.labels[:, 1:])


def test_without_regions_the_brain_is_drawn(made) -> None:
    (group,) = groups_of(made([], QUALITY))
    assert group.tracking_identifier == "Brain"
    assert group.roi.value.tolist() == [[5, 5], [25, 5], [25, 25], [5, 25], [5, 5]]
    stored = np.stack([np.frombuffer(image.PixelData, "<i2").reshape(32, 30) for image in made.images])
    assert values_of(group)["Mean of the whole region"][0] == pytest.approx(stored[1:-1, 5:25, 5:25].mean(), rel=1e-5)


def test_an_empty_mask_without_regions_is_refused(
    made, simulated: SourceSeries, run_description: RunDescription
) -> None:
    empty = np.zeros(simulated.geometry.shape, bool)
    with pytest.raises(InvalidObject, match="mask is empty"):
        planar_report([], empty, None, made.images, simulated, run_description, QUALITY)


def test_equal_content_makes_equal_bytes_and_another_line_another_report(made) -> None:
    labels = made.labels.copy()
    labels[2, 6, 9] = 3
    first, same, other = made(), made(), made(labels=labels)
    assert to_bytes(first) == to_bytes(same)
    assert first.SOPInstanceUID != other.SOPInstanceUID


def test_it_satisfies_the_standard_and_lies_in_a_series_of_its_own(made) -> None:
    report = made([BRAIN, CAUDATE, DENTATE], QUALITY, ("One sentence.",))
    validate(report)
    assert report.SeriesNumber == 31_005
    assert report.PreliminaryFlag == "PRELIMINARY"
