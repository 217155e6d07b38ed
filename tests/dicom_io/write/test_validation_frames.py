"""Each defect of the functional groups is found, in the Enhanced MR map and in the Parametric Map."""

from copy import deepcopy

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

SHARED = ("PixelMeasuresSequence", "PlaneOrientationSequence", "FrameAnatomySequence", "FrameVOILUTSequence")
PER_FRAME = ("FrameContentSequence", "PlanePositionSequence", "DerivationImageSequence")


@pytest.fixture(params=["enhanced", "parametric map"])
def made(request: pytest.FixtureRequest, simulated: SourceSeries, run_description: RunDescription) -> Dataset:
    values = map_of(simulated)
    if request.param == "enhanced":
        return enhanced_susceptibility(values, simulated, run_description)
    images = susceptibility_series(values, simulated, run_description)
    return parametric_map((values / 1000).astype(np.float32), images, simulated, run_description)


def test_what_we_make_is_valid(made: Dataset) -> None:
    validate(made)


@pytest.mark.parametrize("macro", [*SHARED, "PixelValueTransformationSequence"])
def test_a_missing_shared_macro_is_found(made: Dataset, macro: str) -> None:
    delattr(made.SharedFunctionalGroupsSequence[0], macro)
    with pytest.raises(InvalidObject, match=f"{macro} is neither shared nor in every frame"):
        validate(made)


@pytest.mark.parametrize("macro", PER_FRAME)
def test_a_macro_missing_in_one_frame_is_found(made: Dataset, macro: str) -> None:
    delattr(made.PerFrameFunctionalGroupsSequence[2], macro)
    with pytest.raises(InvalidObject, match=f"{macro} is neither shared nor in every frame"):
        validate(made)


def test_an_empty_macro_is_none(made: Dataset) -> None:
    made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = []
    with pytest.raises(InvalidObject, match="PixelMeasuresSequence is neither shared nor in every frame"):
        validate(made)


def test_the_frame_type_is_required_by_its_own_name(made: Dataset) -> None:
    shared = made.SharedFunctionalGroupsSequence[0]
    name = next(element.keyword for element in shared if element.keyword.endswith("FrameTypeSequence"))
    delattr(shared, name)
    with pytest.raises(InvalidObject, match=f"{name} is neither"):
        validate(made)


def test_an_attribute_missing_inside_a_macro_is_found(made: Dataset) -> None:
    del made.SharedFunctionalGroupsSequence[0].FrameAnatomySequence[0].FrameLaterality
    with pytest.raises(InvalidObject, match=r"FrameAnatomySequence\[1\]\.FrameLaterality \(type 1"):
        validate(made)


def test_a_frame_that_is_not_described_is_found(made: Dataset) -> None:
    made.PerFrameFunctionalGroupsSequence = list(made.PerFrameFunctionalGroupsSequence)[:-1]
    with pytest.raises(InvalidObject, match="describes 5 frames where NumberOfFrames is 6"):
        validate(made)


def test_a_macro_that_is_shared_and_in_a_frame_is_found(made: Dataset) -> None:
    shared = made.SharedFunctionalGroupsSequence[0]
    made.PerFrameFunctionalGroupsSequence[1].PixelMeasuresSequence = deepcopy(shared.PixelMeasuresSequence)
    with pytest.raises(InvalidObject, match="PixelMeasuresSequence is shared and in a frame"):
        validate(made)


def test_shared_frame_content_is_found(made: Dataset) -> None:
    frames = made.PerFrameFunctionalGroupsSequence
    made.SharedFunctionalGroupsSequence[0].FrameContentSequence = frames[0].FrameContentSequence
    for frame in frames:
        del frame.FrameContentSequence
    with pytest.raises(InvalidObject, match="FrameContentSequence is shared, though every frame has its own"):
        validate(made)


def test_an_index_for_every_dimension_is_wanted(made: Dataset) -> None:
    made.PerFrameFunctionalGroupsSequence[3].FrameContentSequence[0].DimensionIndexValues = [1, 2, 3]
    with pytest.raises(InvalidObject, match=r"\[4\]\.FrameContentSequence\[1\]\.DimensionIndexValues has 3 values"):
        validate(made)


def test_a_place_without_its_stack_is_found(simulated: SourceSeries, run_description: RunDescription) -> None:
    made = enhanced_susceptibility(map_of(simulated), simulated, run_description)
    del made.PerFrameFunctionalGroupsSequence[0].FrameContentSequence[0].StackID
    with pytest.raises(InvalidObject, match="only one of StackID and InStackPositionNumber"):
        validate(made)
