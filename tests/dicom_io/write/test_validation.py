"""Each kind of defect is found and named; none of the patient's values is quoted."""

from collections.abc import Callable, Iterator

import pytest
from pydicom import DataElement, Dataset

from dicom_io.errors import InvalidObject
from dicom_io.series import SourceSeries
from dicom_io.write.validation import validate


@pytest.fixture
def objects(simulated: SourceSeries, make_all: Callable[[SourceSeries], list[Dataset]]) -> list[Dataset]:
    return make_all(simulated)


@pytest.fixture
def image(objects: list[Dataset]) -> Dataset:
    return objects[0]


def content_items(dataset: Dataset) -> Iterator[Dataset]:
    for item in dataset.get("ContentSequence") or []:
        yield item
        yield from content_items(item)


def test_an_absent_type_1_attribute_is_named_with_its_module(image: Dataset) -> None:
    del image.ScanningSequence
    with pytest.raises(InvalidObject, match=r"ScanningSequence \(type 1, module mr-image\) is absent"):
        validate(image)


def test_an_empty_type_1_attribute_is_not_enough(image: Dataset) -> None:
    image.SOPInstanceUID = ""
    with pytest.raises(InvalidObject, match=r"SOPInstanceUID \(type 1, module sop-common\) is empty"):
        validate(image)


def test_a_type_2_attribute_may_be_empty_but_not_absent(image: Dataset) -> None:
    image.PatientID = ""
    validate(image)
    del image.PatientID
    with pytest.raises(InvalidObject, match=r"PatientID \(type 2, module patient\) is absent"):
        validate(image)


def test_sequences_are_searched_to_the_bottom(image: Dataset) -> None:
    item = Dataset()
    item.update(image.SourceImageSequence[1])
    del item.ReferencedSOPInstanceUID
    image.SourceImageSequence = [image.SourceImageSequence[0], item]
    with pytest.raises(InvalidObject, match=r"SourceImageSequence\[2\]\.ReferencedSOPInstanceUID"):
        validate(image)


def test_a_number_without_value_deep_in_a_report_is_found(objects: list[Dataset]) -> None:
    report = objects[-1]
    number = next(item for item in content_items(report) if item.ValueType == "NUM")
    del number.MeasuredValueSequence
    with pytest.raises(InvalidObject, match="MeasuredValueSequence"):
        validate(report)


def test_a_frame_without_position_in_a_segmentation_is_found(objects: list[Dataset]) -> None:
    regions = objects[-2]
    del regions.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence
    with pytest.raises(InvalidObject, match="PlanePositionSequence is neither shared nor in every frame"):
        validate(regions)


def test_a_malformed_value_is_named_but_not_quoted(image: Dataset) -> None:
    image["PatientBirthDate"] = DataElement("PatientBirthDate", "DA", "1.4.1980", validation_mode=0)
    with pytest.raises(InvalidObject, match="PatientBirthDate is no valid DA") as raised:
        validate(image)
    assert "1980" not in str(raised.value)


def test_a_wrong_vr_and_a_wrong_number_of_values_are_found(image: Dataset) -> None:
    image["Rows"] = DataElement("Rows", "UL", 32)
    with pytest.raises(InvalidObject, match="Rows has VR UL"):
        validate(image)
    image["Rows"] = DataElement("Rows", "US", 32)
    image.PixelSpacing = ["1", "1", "1"]
    with pytest.raises(InvalidObject, match="PixelSpacing has 3 values"):
        validate(image)


def test_pixels_that_are_too_few_are_found(image: Dataset) -> None:
    image.PixelData = image.PixelData[:-2]
    with pytest.raises(InvalidObject, match="PixelData has 1918 bytes where Rows, Columns and frames need 1920"):
        validate(image)


def test_private_tags_have_no_place_in_an_object_of_ours(image: Dataset) -> None:
    image.add_new(0x00090010, "LO", "A VENDOR")
    with pytest.raises(InvalidObject, match="not in the dictionary"):
        validate(image)


def test_an_object_of_no_known_class_is_refused() -> None:
    with pytest.raises(InvalidObject, match="SOPClassUID"):
        validate(Dataset())


def test_all_defects_are_told_at_once(image: Dataset) -> None:
    del image.ScanningSequence
    del image.PatientID
    with pytest.raises(InvalidObject, match=r"PatientID.*ScanningSequence"):
        validate(image)


def test_an_identifier_too_long_for_its_vr_is_passed_on(image: Dataset) -> None:
    image["AccessionNumber"] = DataElement("AccessionNumber", "SH", "A" * 20, validation_mode=0)
    validate(image)
