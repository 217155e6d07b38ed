"""The map in real viewers: the right number, at the right place, in the right grey."""

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK

from dicom_io.write.enhanced_mr import enhanced_susceptibility
from node.object_kinds import ObjectKind
from tests.e2e.orthanc import Orthanc
from tests.e2e.orthanc_viewer import OrthancViewer
from tests.e2e.viewer import PATIENCE_S, Viewer
from tests.e2e.viewer_objects import MARKER_INDEX, MARKER_LPS, MARKER_PPB, NAMES, Shown, described_run, write_files
from tests.e2e.viewer_reports import identifier_of, measurement_groups, uid_of
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

N_SLICES = 18
# 0 ppb is the middle of the window from -200 to 200 ppb: half of 255, rounded either way.
MID_GREY = (127, 128)


@pytest.fixture(scope="module")
def stack(viewer: Viewer, shown: Shown) -> Viewer:
    """Return OHIF with the map's slices in its viewport."""
    viewer.open(shown.images[0].StudyInstanceUID)
    viewer.show(shown.images[0])
    return viewer


@pytest.fixture(scope="module")
def planes(stack: Viewer) -> Viewer:
    """Return OHIF with the map in three planes."""
    stack.show_three_planes()
    return stack


def test_every_voxel_of_every_slice_has_in_ohif_the_value_of_the_map(stack: Viewer, shown: Shown) -> None:
    for number, image in enumerate(shown.images):
        stack.turn_to(shown.place((number, 0, 0)))
        assert image.SOPInstanceUID in stack.current_image()
        np.testing.assert_array_equal(stack.pixels(), shown.stored_ppb[number])


@pytest.mark.parametrize("label", NAMES, ids=NAMES.get)
def test_a_rectangle_drawn_in_a_region_measures_in_ohif_what_the_map_holds(
    label: int, stack: Viewer, shown: Shown
) -> None:
    z, y, x = shown.region_index(label)
    # Corners off the borders between voxels, so that no rounding decides which voxels belong.
    corners = shown.place((z, y - 2.2, x - 2.2)), shown.place((z, y + 2.2, x + 2.2))
    stack.turn_to(shown.place((z, y, x)))
    stack.choose_tool("RectangleROI")
    stack.forget_measurements()

    stack.drag(*corners)
    found = eventually(lambda: stack.measured("RectangleROI"), PATIENCE_S, "the rectangle's measurement")

    held = shown.stored_ppb[z, y - 2 : y + 3, x - 2 : x + 3]
    assert next(one["value"] for one in found["statsArray"] if one["name"] == "count") == held.size
    assert (found["min"], found["max"]) == (held.min(), held.max())
    assert found["mean"] == pytest.approx(held.mean(), abs=1e-9)
    assert found["stdDev"] == pytest.approx(held.std(), abs=1e-9)
    stack.forget_measurements()


def test_zero_ppb_is_mid_grey_on_every_slice_in_ohif(stack: Viewer, shown: Shown) -> None:
    for number in range(N_SLICES):
        corner = shown.place((number, 3, 3))
        stack.turn_to(corner)
        assert stack.value_at(corner) == 0
        eventually(lambda at=corner: stack.grey_at(at)[0] in MID_GREY, PATIENCE_S, f"mid-grey on slice {number}")
    text = stack.page_text().split()
    assert text[text.index("W:") + 1] == "400"
    assert text[text.index("L:") + 1] == "0"


def test_the_marker_is_found_in_ohif_where_it_was_put_in_the_patient(
    stack: Viewer, shown: Shown, pictures: Path
) -> None:
    places = stack.places_of(MARKER_PPB)
    stack.picture(pictures, "ohif-map-marker")

    assert len(places) == 1
    np.testing.assert_allclose(places[0], MARKER_LPS, atol=1e-3)


@pytest.mark.parametrize("label", NAMES, ids=NAMES.get)
def test_the_number_under_the_cursor_in_ohif_is_the_voxels_of_the_map(
    label: int, planes: Viewer, shown: Shown, pictures: Path
) -> None:
    index = shown.region_index(label)
    planes.choose_tool("Probe")
    planes.forget_measurements()

    planes.cut_through(shown.place(index))
    planes.click(shown.place(index))
    text = eventually(planes.drawn_texts, PATIENCE_S, "the probe's text")
    planes.picture(pictures, f"ohif-probe-{NAMES[label].replace(' ', '-')}")

    # OHIF writes the voxel's index behind the number.
    x, y, z = index[::-1]
    number = text[0].replace(f"({x}, {y}, {z})", "").strip()
    assert float(number.split()[0]) == shown.stored_ppb[index]
    planes.forget_measurements()


def test_the_marker_is_at_its_place_in_the_volume_that_ohif_builds(planes: Viewer) -> None:
    assert planes.volume_value_at(MARKER_LPS) == MARKER_PPB


def test_orthancs_viewer_shows_the_maps_values_and_the_marker(
    viewer: Viewer, archive: Orthanc, shown: Shown, pictures: Path
) -> None:
    page = OrthancViewer(viewer.driver, archive)
    images = page.open(shown.images[0].SeriesInstanceUID)
    assert len(images) == N_SLICES
    page.turn_wheel(MARKER_INDEX[0])
    eventually(lambda: page.current_image() == images[MARKER_INDEX[0]], PATIENCE_S, "the marker's slice")
    page.picture(pictures, "orthanc-map-marker")

    np.testing.assert_array_equal(page.pixels(), shown.stored_ppb[MARKER_INDEX[0]])
    assert page.grey(48, 4) in MID_GREY
    assert page.grey(*MARKER_INDEX[1:]) > 200
    tags = archive.call(f"/instances/{page.current_image()}/simplified-tags")
    np.testing.assert_allclose(place_in(tags, *np.argwhere(page.pixels() == MARKER_PPB)[0]), MARKER_LPS, atol=1e-3)


def test_simpleitk_finds_the_marker_in_the_files_that_the_archive_returns(
    archive: Orthanc, shown: Shown, tmp_path: Path
) -> None:
    held = [pydicom.dcmread(io.BytesIO(archive.file(one))) for one in archive.instances(shown.images[0].SOPClassUID)]
    series = [one for one in held if one.SeriesInstanceUID == shown.images[0].SeriesInstanceUID]
    write_files(series, tmp_path)
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path), shown.images[0].SeriesInstanceUID)

    image = SimpleITK.ReadImage(names)

    values = SimpleITK.GetArrayFromImage(image)
    np.testing.assert_array_equal(values, shown.stored_ppb)
    index = tuple(int(number) for number in np.argwhere(values == MARKER_PPB)[0][::-1])
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(index), MARKER_LPS, atol=1e-3)


def test_an_enhanced_map_shows_the_same_values_in_the_same_places(
    viewer: Viewer, archive: Orthanc, shown: Shown, tmp_path: Path, pictures: Path
) -> None:
    enhanced = enhanced_susceptibility(1000.0 * shown.susceptibility_ppm, shown.source, described_run("enhanced"))
    archive.upload(write_files([enhanced], tmp_path))
    viewer.open(shown.study_uid)
    viewer.show(enhanced)

    for number in (0, MARKER_INDEX[0], N_SLICES - 1):
        viewer.turn_to(shown.place((number, 0, 0)))
        np.testing.assert_array_equal(viewer.pixels(), shown.stored_ppb[number])
    places = viewer.places_of(MARKER_PPB)
    viewer.picture(pictures, "ohif-enhanced-marker")
    assert len(places) == 1
    np.testing.assert_allclose(places[0], MARKER_LPS, atol=1e-3)


def test_ohif_misplaces_outlines_only_where_pixels_are_not_square(viewer: Viewer, shown: Shown, pictures: Path) -> None:
    """OHIF 3.13 takes the spacing of rows for that of columns; a newer one that does not is to be noticed."""
    report = shown.of(ObjectKind.PLANAR_REPORT)[0]
    viewer.open(shown.study_uid)
    viewer.show(shown.images[0])
    viewer.open_thumbnail(report)
    outlines = eventually(viewer.outlines, PATIENCE_S, "the report's outlines")
    viewer.turn_to(shown.place(shown.region_index(3)))
    viewer.picture(pictures, "ohif-planar-report-not-square")

    group = next(one for one in measurement_groups(report) if identifier_of(one) == NAMES[3])
    _, corners = outlines[uid_of(group)]
    column, row, _ = (np.linalg.inv(shown.source.geometry.affine_lps) @ [*np.mean(corners, axis=0), 1.0])[:3]
    _, true_row, true_column = shown.region_index(3)
    ratio = shown.source.geometry.pixel_spacing[0] / shown.source.geometry.pixel_spacing[1]
    assert column == pytest.approx(true_column * ratio, abs=0.5)
    assert row == pytest.approx(true_row / ratio, abs=0.5)


def place_in(tags: dict[str, str], row: int, column: int) -> np.ndarray:
    """Return where a pixel lies in the patient [mm] by the attributes of its image (PS3.3 C.7.6.2.1.1)."""
    origin, orientation, spacing = (
        np.asarray(tags[name].split("\\"), float)
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    )
    return origin + orientation[:3] * spacing[1] * column + orientation[3:] * spacing[0] * row
