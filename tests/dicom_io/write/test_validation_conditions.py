"""Each condition that decides how a value is read or shown is checked, and no text is quoted."""

from collections.abc import Callable

import numpy as np
import pytest
from pydicom import Dataset

from dicom_io.errors import InvalidObject
from dicom_io.series import SourceSeries
from dicom_io.write.enhanced_mr import enhanced_susceptibility
from dicom_io.write.mr_image import susceptibility_series
from dicom_io.write.parametric_map import parametric_map
from dicom_io.write.provenance import RunDescription
from dicom_io.write.validation import validate
from tests.dicom_io.write.conftest import map_of


@pytest.fixture
def image(simulated: SourceSeries, run_description: RunDescription) -> Dataset:
    return susceptibility_series(map_of(simulated), simulated, run_description)[0]


@pytest.fixture
def enhanced(simulated: SourceSeries, run_description: RunDescription) -> Dataset:
    return enhanced_susceptibility(map_of(simulated), simulated, run_description)


@pytest.fixture
def lossless(simulated: SourceSeries, run_description: RunDescription) -> Dataset:
    values = map_of(simulated)
    images = susceptibility_series(values, simulated, run_description)
    return parametric_map((values / 1000).astype(np.float32), images, simulated, run_description)


def refusal(dataset: Dataset) -> str:
    with pytest.raises(InvalidObject) as raised:
        validate(dataset)
    return str(raised.value)


def without(keyword: str) -> Callable[[Dataset], None]:
    return lambda dataset: delattr(dataset, keyword)


def with_value(keyword: str, value: object) -> Callable[[Dataset], None]:
    return lambda dataset: setattr(dataset, keyword, value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without("RescaleIntercept"), "RescaleSlope and RescaleType without the rest"),
        (without("WindowWidth"), "only one of WindowCenter and WindowWidth"),
        (with_value("WindowCenter", [0, 1]), "different number of WindowCenter and WindowWidth"),
        (with_value("WindowWidth", "0.4"), "WindowWidth that its VOILUTFunction does not allow"),
        (without("PatientPosition"), "PatientPosition is absent"),
        (without("PixelData"), "0 kinds of pixel data"),
        (with_value("PhotometricInterpretation", "MONOCHROME1"), "PhotometricInterpretation is not MONOCHROME2"),
        (with_value("HighBit", 14), "HighBit is not one less than BitsStored"),
    ],
)
def test_a_condition_of_the_classic_image(image: Dataset, change: Callable[[Dataset], None], expected: str) -> None:
    change(image)
    assert expected in refusal(image)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without("RealWorldValueFirstValueMapped"), "names no range of values mapped"),
        (without("RealWorldValueSlope"), "has neither slope and intercept nor a table"),
    ],
)
def test_a_condition_of_the_mapping_wherever_it_stands(
    image: Dataset, enhanced: Dataset, change: Callable[[Dataset], None], expected: str
) -> None:
    change(image.RealWorldValueMappingSequence[1])
    assert f"RealWorldValueMappingSequence[2].{expected}" in refusal(image)
    change(enhanced.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0])
    assert f"SharedFunctionalGroupsSequence[1].RealWorldValueMappingSequence[1].{expected}" in refusal(enhanced)


def test_a_code_without_value_or_scheme_is_found(image: Dataset) -> None:
    del image.DerivationCodeSequence[0].CodeValue
    assert "DerivationCodeSequence[1].has not exactly one of CodeValue" in refusal(image)
    image.DerivationCodeSequence[0].CodeValue = "QSM"
    image.DerivationCodeSequence[0].CodingSchemeDesignator = ""
    assert "DerivationCodeSequence[1].has a code without CodingSchemeDesignator" in refusal(image)


def test_text_beyond_the_character_set_is_named_but_not_quoted(image: Dataset) -> None:
    image.SpecificCharacterSet = "ISO_IR 144"
    image.InstitutionName = "Поликлиника"
    validate(image)
    image.InstitutionName = "東京"
    sentence = refusal(image)
    assert "InstitutionName has characters that SpecificCharacterSet does not hold" in sentence
    assert "東" not in sentence


def test_latin_letters_without_a_character_set_are_passed_on(image: Dataset) -> None:
    del image.SpecificCharacterSet
    image.InstitutionName = "Hôpital"
    validate(image)
    image.InstitutionName = "Больница"
    assert "InstitutionName" in refusal(image)


@pytest.mark.parametrize(
    "keyword",
    [
        "AcquisitionContrast",
        "ApplicableSafetyStandardAgency",
        "ComplexImageComponent",
        "ContentQualification",
        "PresentationLUTShape",
    ],
)
def test_what_an_enhanced_image_must_state(enhanced: Dataset, keyword: str) -> None:
    delattr(enhanced, keyword)
    assert f"{keyword} is absent" in refusal(enhanced)


def test_an_enhanced_image_s_type_has_four_values_and_is_that_of_its_frames(enhanced: Dataset) -> None:
    enhanced.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "QSM", "LEARNED"]
    sentence = refusal(enhanced)
    assert "ImageType has not exactly four values" in sentence
    assert "ImageType differs from the FrameType of all frames" in sentence


def test_sources_that_the_study_does_not_list_are_found(enhanced: Dataset) -> None:
    del enhanced.SourceImageEvidenceSequence
    assert "SourceImageEvidenceSequence is absent, though frames name their sources" in refusal(enhanced)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (with_value("FloatPixelData", b"\0" * 8), "FloatPixelData has 8 bytes"),
        (with_value("BitsAllocated", 16), "BitsAllocated is not 32"),
        (with_value("BitsStored", 32), "BitsStored has no meaning for FloatPixelData"),
        (without("FloatPixelData"), "0 kinds of pixel data"),
        (without("Rows"), "Rows is absent"),
    ],
)
def test_a_condition_of_the_parametric_map(lossless: Dataset, change: Callable[[Dataset], None], expected: str) -> None:
    change(lossless)
    assert expected in refusal(lossless)


def test_a_hole_in_a_parametric_map_is_found(lossless: Dataset) -> None:
    values = np.frombuffer(lossless.FloatPixelData, "<f4").copy()
    values[17] = np.nan
    lossless.FloatPixelData = values.tobytes()
    assert "FloatPixelData has NaN or infinity" in refusal(lossless)


def test_a_window_narrower_than_one_needs_an_exact_function(lossless: Dataset) -> None:
    window = lossless.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence[0]
    window.VOILUTFunction = "LINEAR"
    assert "FrameVOILUTSequence[1].has a WindowWidth that its VOILUTFunction does not allow" in refusal(lossless)
