"""A macro of the source is repeated whole or not at all."""

from copy import deepcopy

import pytest
from pydicom import Dataset

from dicom_io.series import SourceSeries
from dicom_io.write.acquisition_macros import acquisition_contrast, acquisition_macros, describe_instance

WHOLE = {
    "MRTimingAndRelatedParametersSequence",
    "MRFOVGeometrySequence",
    "MRModifierSequence",
    "MRImagingModifierSequence",
    "MRAveragesSequence",
}


@pytest.fixture
def header(philips_enhanced: SourceSeries) -> Dataset:
    return deepcopy(philips_enhanced.template)


def macro(header: Dataset, keyword: str) -> Dataset:
    return header.SharedFunctionalGroupsSequence[0][keyword].value[0]


def repeated(header: Dataset) -> set[str]:
    return {element.keyword for element in acquisition_macros(header)}


def test_whole_macros_are_repeated(header: Dataset) -> None:
    assert repeated(header) == WHOLE


@pytest.mark.parametrize(
    ("keyword", "attribute"),
    [
        ("MRModifierSequence", "FlowCompensationDirection"),
        ("MRModifierSequence", "PartialFourier"),
        ("MRTimingAndRelatedParametersSequence", "SpecificAbsorptionRateSequence"),
        ("MRFOVGeometrySequence", "PercentSampling"),
        ("MRImagingModifierSequence", "TransmitterFrequency"),
    ],
)
def test_a_macro_without_one_of_its_attributes_is_left_out(header: Dataset, keyword: str, attribute: str) -> None:
    delattr(macro(header, keyword), attribute)
    assert repeated(header) == WHOLE - {keyword}


def test_what_a_value_asks_for_must_be_there(header: Dataset) -> None:
    modifier = macro(header, "MRModifierSequence")
    modifier.ParallelAcquisition = "YES"
    assert "MRModifierSequence" not in repeated(header)
    modifier.ParallelAcquisitionTechnique = "SENSE"
    for factor in ("InPlane", "OutOfPlane", "SecondInPlane"):
        setattr(modifier, f"ParallelReductionFactor{factor}", 2.0)
    assert "MRModifierSequence" in repeated(header)
    modifier.ParallelAcquisitionTechnique = "SMS"
    assert "MRModifierSequence" not in repeated(header)


def test_macros_of_the_first_frame_serve_where_none_are_shared(header: Dataset) -> None:
    shared, first = header.SharedFunctionalGroupsSequence[0], header.PerFrameFunctionalGroupsSequence[0]
    first.MRAveragesSequence = shared.MRAveragesSequence
    del shared.MRAveragesSequence
    assert repeated(header) == WHOLE


def test_a_classic_header_gives_no_macros(philips_classic: SourceSeries) -> None:
    assert repeated(philips_classic.template) == set()


@pytest.mark.parametrize(("stated", "written"), [("T2_STAR", "T2_STAR"), ("MIXED", "UNKNOWN"), ("", "UNKNOWN")])
def test_a_contrast_that_is_no_frame_s_is_unknown(stated: str, written: str) -> None:
    header = Dataset()
    header.AcquisitionContrast = stated
    assert acquisition_contrast(header) == written


def test_the_safety_standard_is_the_scanner_s_or_said_to_be_unknown(
    header: Dataset, philips_classic: SourceSeries
) -> None:
    enhanced, classic = Dataset(), Dataset()
    describe_instance(enhanced, header)
    describe_instance(classic, philips_classic.template)
    assert (enhanced.ApplicableSafetyStandardAgency, classic.ApplicableSafetyStandardAgency) == ("IEC", "UNKNOWN")
    assert (enhanced.ResonantNucleus, classic.ResonantNucleus) == ("1H", "1H")
