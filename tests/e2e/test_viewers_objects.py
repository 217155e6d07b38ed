"""What a real viewer shows of the objects beside the map: companions, segments, reports, pages, parametric map.

OHIF is tested as it is, in the version that `make peers` installs; where it cannot show an object, that is a test too,
so that a newer viewer that can is noticed.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from skimage.draw import polygon2mask

from node.object_kinds import ObjectKind
from tests.e2e.browser import complaints
from tests.e2e.viewer import PATIENCE_S, Viewer
from tests.e2e.viewer_objects import MARKER_LPS, MARKER_PPB, NAMES, Shown, shown_objects
from tests.e2e.viewer_reports import identifier_of, measurement_groups, uid_of
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

COMPANIONS = {
    ObjectKind.CLASSICAL: ("QSM classical [ppb]", 400, 0),
    ObjectKind.LOCAL_FIELD: ("Field [Hz]", 60, 0),
    ObjectKind.R2STAR: ("R2* [1/s]", 100, 50),
    ObjectKind.SWI: ("SWI", 4096, 2048),
    ObjectKind.UNCERTAINTY: ("QSM +/- [ppb]", 100, 50),
    ObjectKind.COMPARISON: ("QSM difference [ppb]", 200, 0),
}
# OHIF 3.13 shows one hundred times the value of every Parametric Map.
OHIF_FACTOR = 100
GREY_TOLERANCE = 3


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """Return objects with square pixels: with others OHIF draws outlines in wrong places."""
    return shown_objects(tmp_path_factory.mktemp("shown"), (1.1, 1.1))


@pytest.fixture(scope="module")
def opened(viewer: Viewer, shown: Shown) -> Viewer:
    """Return OHIF with the study, for tests that put one series after the other into its viewport."""
    viewer.open(shown.study_uid)
    return viewer


@pytest.fixture
def page(viewer: Viewer, shown: Shown) -> Iterator[Viewer]:
    """Return OHIF with the map in its viewport, as freshly opened, and look afterwards for errors of the page."""
    viewer.open(shown.study_uid)
    viewer.show(shown.images[0])
    complaints(viewer.driver)
    yield viewer
    assert complaints(viewer.driver) == []


@pytest.mark.parametrize("kind", COMPANIONS, ids=str)
def test_a_companion_series_is_shown_with_its_name_window_and_values(
    kind: ObjectKind, opened: Viewer, shown: Shown, pictures: Path
) -> None:
    series = shown.of(kind)
    title, width, centre = COMPANIONS[kind]
    place = shown.place(shown.region_index(3))

    opened.show(series[0])
    opened.turn_to(place)
    opened.picture(pictures, f"ohif-companion-{kind}")

    text = opened.page_text()
    assert title in text
    shown_window = text.split()
    assert shown_window[shown_window.index("W:") + 1] == str(width)
    assert shown_window[shown_window.index("L:") + 1] == str(centre)
    np.testing.assert_array_equal(opened.pixels(), series[shown.region_index(3)[0]].pixel_array)


@pytest.mark.parametrize("kind", [ObjectKind.PRESENTATION, ObjectKind.KEY_OBJECTS], ids=str)
def test_what_ohif_cannot_show_is_listed_and_leaves_the_map_as_it_is(
    kind: ObjectKind, opened: Viewer, shown: Shown
) -> None:
    series = shown.of(kind)[0]
    opened.show(shown.images[0])
    before = opened.current_image()

    opened.open_thumbnail(series)

    assert str(series.SeriesDescription) in opened.page_text()
    assert opened.current_image() == before


def test_the_segments_lie_over_the_map_with_their_names(page: Viewer, shown: Shown, pictures: Path) -> None:
    page.open_thumbnail(shown.of(ObjectKind.SEGMENTATION)[0])
    page.press("Yes")
    eventually(page.segment_names, PATIENCE_S, "the segments")
    centre = shown.place(shown.region_index(3))
    page.turn_to(centre)
    eventually(lambda: is_coloured(page.grey_at(centre)), PATIENCE_S, "the segment's colour on the canvas")
    page.picture(pictures, "ohif-segmentation")

    names = page.segment_names()
    assert names == {1: "Brain", **{label + 1: name for label, name in NAMES.items()}}
    layers = np.asarray(page.segments_of_slice()).reshape(-1, *shown.mask.shape[1:])
    number = shown.region_index(3)[0]
    np.testing.assert_array_equal((layers == 1).any(0), shown.mask[number])
    for label in NAMES:
        np.testing.assert_array_equal((layers == label + 1).any(0), shown.labels[number] == label)


def test_the_parametric_map_lies_over_the_map_with_its_values_in_place(
    page: Viewer, shown: Shown, pictures: Path
) -> None:
    indices = [shown.region_index(label) for label in NAMES]
    centre = shown.place(shown.region_index(3))
    page.turn_to(centre)

    page.open_thumbnail(shown.of(ObjectKind.PARAMETRIC_MAP)[0])
    places = [*map(shown.place, indices), MARKER_LPS]
    values = eventually(lambda: page.overlay_values(places), PATIENCE_S, "the Parametric Map")
    eventually(lambda: is_coloured(page.grey_at(centre)), PATIENCE_S, "the overlay's colour on the canvas")
    page.picture(pictures, "ohif-parametric-map")

    expected = [*(float(shown.susceptibility_ppm[index]) for index in indices), MARKER_PPB / 1000]
    np.testing.assert_allclose(np.asarray(values) / OHIF_FACTOR, expected, atol=1e-6)


def test_the_planar_report_draws_every_region_with_its_number_and_unit(
    page: Viewer, shown: Shown, pictures: Path
) -> None:
    report = shown.of(ObjectKind.PLANAR_REPORT)[0]
    page.open_thumbnail(report)
    outlines = eventually(page.outlines, PATIENCE_S, "the report's outlines")
    page.turn_to(shown.place(shown.region_index(3)))
    eventually(lambda: any("[ppb]" in text for text in page.drawn_texts()), PATIENCE_S, "a number with its unit")
    page.picture(pictures, "ohif-planar-report")

    drawn = {identifier_of(group): outlines[uid_of(group)] for group in measurement_groups(report)}
    assert set(drawn) == {"Brain", *NAMES.values()}
    for label, name in NAMES.items():
        lines, corners = drawn[name]
        inside, number = voxels_inside(corners, shown)
        np.testing.assert_array_equal(inside, shown.labels[number] == label)
        mean = shown.stored_ppb[number][inside].mean()
        assert f"Magnetic Susceptibility: {mean:.2f} [ppb]" in lines


def test_ohif_shows_nothing_of_the_report_that_only_refers_to_segments(
    viewer: Viewer, shown: Shown, pictures: Path
) -> None:
    viewer.open(shown.study_uid)
    viewer.show(shown.images[0])

    viewer.open_thumbnail(shown.of(ObjectKind.REPORT)[0])
    eventually(lambda: viewer.current_image() is None, PATIENCE_S, "the report's empty viewport")
    viewer.picture(pictures, "ohif-segment-report")

    assert viewer.outlines() == {}
    assert "[ppb]" not in " ".join(viewer.drawn_texts())
    complaints(viewer.driver)


def test_the_summary_is_shown_as_its_pages(page: Viewer, shown: Shown, pictures: Path) -> None:
    summary = shown.of(ObjectKind.SUMMARY)[0]

    page.open_thumbnail(summary)
    content = eventually(page.shown_document, PATIENCE_S, "the summary's pages")
    eventually(page.shows_pages, PATIENCE_S, "a white page in the browser's reader")
    page.picture(pictures, "ohif-summary")

    # The element's length is even, so that a zero byte may follow the file.
    assert content.rstrip(b"\0") == bytes(summary.EncapsulatedDocument).rstrip(b"\0")
    assert content.startswith(b"%PDF-")


def is_coloured(colour: list[int]) -> bool:
    """Tell whether red, green and blue differ."""
    return max(colour) - min(colour) > GREY_TOLERANCE


def voxels_inside(corners: list[tuple[float, float, float]], shown: Shown) -> tuple[np.ndarray, int]:
    """Return which voxels of its slice an outline in the patient [mm] encloses, and the slice's number."""
    to_index = np.linalg.inv(shown.source.geometry.affine_lps)
    x, y, z, _ = to_index @ np.column_stack([corners, np.ones(len(corners))]).T
    (number,) = set(np.rint(z).astype(int).tolist())
    np.testing.assert_allclose(z, number, atol=0.01)
    return polygon2mask(shown.mask.shape[1:], np.column_stack([y, x])), number
