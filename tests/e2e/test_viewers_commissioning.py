"""The commissioning series in OHIF: an installer who measures in the squares reads the numbers of the printed page."""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from dicom_io.write.commissioning import SHAPE, SQUARES, Square
from node.commissioning import Kit, make_kit
from tests.e2e.orthanc import DICOMWEB, Orthanc, running_orthanc
from tests.e2e.viewer import PATIENCE_S, Viewer
from tests.e2e.viewer_objects import Place, write_files
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

MIDDLE = SHAPE[0] // 2


@pytest.fixture(scope="module")
def kit() -> Kit:
    """Return the kit that `lodestone commission` sends."""
    return make_kit("viewers", date(2026, 11, 21), "LODESTONE")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], str], kit: Kit) -> Iterator[Orthanc]:
    """Open an Orthanc that holds the kit."""
    folder = tmp_path_factory.mktemp("archive")
    (folder / "objects").mkdir()
    objects = [one for made in kit.objects.values() for one in made]
    with running_orthanc(folder / "pacs", program("Orthanc"), "ARCHIVE", [DICOMWEB]) as orthanc:
        orthanc.upload(write_files(objects, folder / "objects"))
        yield orthanc


@pytest.fixture(scope="module")
def opened(viewer: Viewer, kit: Kit, pictures: Path) -> Viewer:
    """Return OHIF with the middle slice of the series."""
    viewer.open(kit.study_uid)
    viewer.show(kit.images[0])
    viewer.turn_to((0.0, 0.0, float(kit.images[MIDDLE].ImagePositionPatient[2])))
    viewer.picture(pictures, "ohif-commissioning")
    return viewer


@pytest.mark.parametrize("square", SQUARES, ids=lambda square: square.name)
def test_a_rectangle_drawn_in_a_square_measures_its_stated_number(square: Square, opened: Viewer, kit: Kit) -> None:
    opened.choose_tool("RectangleROI")
    opened.forget_measurements()

    opened.drag(*corners_inside(square, kit))
    found = eventually(lambda: opened.measured("RectangleROI"), PATIENCE_S, "the rectangle's measurement")

    assert (found["min"], found["mean"], found["max"]) == (square.value_ppb, square.value_ppb, square.value_ppb)
    opened.forget_measurements()


def test_the_squares_lie_on_their_stated_sides_of_the_patient(opened: Viewer, kit: Kit) -> None:
    height = float(kit.images[MIDDLE].ImagePositionPatient[2])
    for square in SQUARES:
        x, y = square.centre_mm
        # In patient coordinates x grows to the left and y to the back (PS3.3 C.7.6.2.1.1).
        assert (x > 0) == (square.side == "left")
        assert (y > 0) == (square.end == "posterior")
        assert opened.value_at((x, y, height)) == square.value_ppb


def corners_inside(square: Square, kit: Kit) -> tuple[Place, Place]:
    """Return two corners [mm] well inside a square of the middle slice."""
    x, y = square.centre_mm
    height = float(kit.images[MIDDLE].ImagePositionPatient[2])
    reach = 8.0 * float(kit.images[MIDDLE].PixelSpacing[0])
    return (x - reach, y - reach, height), (x + reach, y + reach, height)
