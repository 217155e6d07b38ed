"""The presentation state asks every image for the window and the shape that the images themselves ask for."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import Dataset

from dicom_io.errors import InvalidObject
from dicom_io.series import SourceSeries
from dicom_io.write.mr_image import MapRole, susceptibility_series
from dicom_io.write.part10 import to_bytes
from dicom_io.write.presentation import presentation_state
from dicom_io.write.provenance import RunDescription
from dicom_io.write.validation import validate
from tests.dicom_io.write.conftest import map_of


@pytest.fixture
def images(simulated: SourceSeries, run_description: RunDescription) -> list[Dataset]:
    return susceptibility_series(map_of(simulated), simulated, run_description)


@pytest.fixture
def state(images: list[Dataset], simulated: SourceSeries, run_description: RunDescription) -> Dataset:
    return presentation_state(images, simulated, run_description)


def test_the_window_is_that_of_the_images_and_holds_for_all_of_them(state: Dataset, images: list[Dataset]) -> None:
    (window,) = state.SoftcopyVOILUTSequence
    assert (window.WindowCenter, window.WindowWidth) == (images[0].WindowCenter, images[0].WindowWidth) == (0, 400)
    assert window.WindowCenterWidthExplanation == "-200 to 200 ppb"
    assert "ReferencedImageSequence" not in window
    assert (state.RescaleSlope, state.RescaleIntercept, state.PresentationLUTShape) == (1, 0, "IDENTITY")


def test_every_image_of_the_series_is_referred_to(state: Dataset, images: list[Dataset]) -> None:
    (series,) = state.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == images[0].SeriesInstanceUID
    referred = [item.ReferencedSOPInstanceUID for item in series.ReferencedImageSequence]
    assert referred == [image.SOPInstanceUID for image in images]


def test_pixels_that_are_not_square_keep_their_shape(state: Dataset, images: list[Dataset]) -> None:
    (area,) = state.DisplayedAreaSelectionSequence
    assert area.PresentationPixelSpacing == [1.0, 1.5] == images[0].PixelSpacing
    assert "PresentationPixelAspectRatio" not in area
    assert (area.DisplayedAreaTopLeftHandCorner, area.DisplayedAreaBottomRightHandCorner) == ([1, 1], [30, 32])


def test_it_satisfies_the_standard_whatever_the_source(
    source: SourceSeries,
    run_description: RunDescription,
    conformance_errors: Callable[[Dataset], list[str]],
) -> None:
    images = susceptibility_series(map_of(source), source, run_description)
    state = presentation_state(images, source, run_description)
    validate(state)
    assert conformance_errors(state) == []


def test_dcmtk_finds_the_presentation_state_consistent(
    state: Dataset, program: Callable[[str], str], tmp_path: Path
) -> None:
    path = tmp_path / "state.dcm"
    path.write_bytes(to_bytes(state))
    command = [program("dcmpschk"), "-v", str(path)]
    judged = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "Test passed." in judged.stderr
    assert "E:" not in judged.stderr


def test_equal_images_make_equal_bytes(
    state: Dataset, images: list[Dataset], simulated: SourceSeries, run_description: RunDescription
) -> None:
    assert to_bytes(presentation_state(images, simulated, run_description)) == to_bytes(state)
    twins = susceptibility_series(map_of(simulated), simulated, run_description, MapRole.TWIN)
    assert presentation_state(twins, simulated, run_description).SOPInstanceUID != state.SOPInstanceUID


def test_images_of_several_series_or_none_are_refused(
    images: list[Dataset], simulated: SourceSeries, run_description: RunDescription
) -> None:
    twins = susceptibility_series(map_of(simulated), simulated, run_description, MapRole.TWIN)
    for wrong in ([], [*images, *twins]):
        with pytest.raises(InvalidObject, match="one series"):
            presentation_state(wrong, simulated, run_description)
