"""An outline surrounds exactly the pixels whose values are reported with it."""

from itertools import pairwise

import numpy as np
import pytest

from dicom_io.write.outlines import outline_of


def in_one_slice(picture: str) -> np.ndarray:
    """Read a slice drawn with # for the region, and put it into a volume."""
    rows = [line.strip() for line in picture.strip().splitlines()]
    return np.array([[[character == "#" for character in row] for row in rows]])


def area_of(points: np.ndarray) -> float:
    """Return the area that a closed line encloses, positive where it runs clockwise on the screen."""
    (x, y), (next_x, next_y) = points[:-1].T, points[1:].T
    return 0.5 * float(np.sum(x * next_y - next_x * y))


def encloses(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Tell for every pixel whether its centre lies inside, by counting the edges to its right."""
    rows, columns = np.indices(shape) + 0.5
    inside = np.zeros(shape, bool)
    for (x, y), (next_x, next_y) in pairwise(points):
        if y != next_y:
            inside ^= ((y > rows) != (next_y > rows)) & (columns < x + (rows - y) * (next_x - x) / (next_y - y))
    return inside


def test_the_line_runs_along_the_pixels_edges_and_closes() -> None:
    outline = outline_of(in_one_slice("....\n.##.\n.##.\n...."))
    assert outline is not None
    assert outline.points.tolist() == [[1, 1], [3, 1], [3, 3], [1, 3], [1, 1]]


def test_only_corners_are_kept() -> None:
    outline = outline_of(in_one_slice("###\n#..\n#.."))
    assert outline is not None
    assert outline.points.tolist() == [[0, 0], [3, 0], [3, 1], [1, 1], [1, 3], [0, 3], [0, 0]]


@pytest.mark.parametrize("seed", range(12))
def test_any_region_is_enclosed_exactly(seed: int) -> None:
    random = np.random.default_rng(seed)
    region = random.random((3, 24, 31)) < random.uniform(0.2, 0.8)
    outline = outline_of(region)
    assert outline is not None
    assert area_of(outline.points) == outline.inside.sum()
    np.testing.assert_array_equal(encloses(outline.points, outline.inside.shape), outline.inside)
    corners = [tuple(point) for point in outline.points[:-1]]
    assert len(set(corners)) == len(corners), "the line touches itself"
    shown = region[outline.slice_index] & outline.inside
    assert shown.sum() + outline.n_left_out == region[outline.slice_index].sum() == region.sum(axis=(1, 2)).max()
    assert outline.inside.sum() - shown.sum() == outline.n_holes


def test_the_largest_slice_is_drawn_and_of_equal_ones_the_first() -> None:
    region = np.zeros((5, 6, 6), bool)
    region[1, 0, :3] = region[2, 1, :4] = region[4, 2, :4] = True
    outline = outline_of(region)
    assert outline is not None
    assert outline.slice_index == 2


def test_pixels_that_touch_at_a_corner_are_pieces_of_which_the_largest_is_drawn() -> None:
    outline = outline_of(in_one_slice("##...\n##...\n..###\n..###"))
    assert outline is not None
    assert (outline.n_pieces, outline.n_left_out, outline.n_holes) == (2, 4, 0)
    assert outline.points.tolist() == [[2, 2], [5, 2], [5, 4], [2, 4], [2, 2]]


def test_an_island_in_a_hole_is_enclosed_and_not_left_out() -> None:
    outline = outline_of(in_one_slice("#####\n#...#\n#.#.#\n#...#\n#####"))
    assert outline is not None
    assert (outline.n_pieces, outline.n_left_out, outline.n_holes) == (2, 0, 8)


def test_a_hole_is_enclosed_and_counted() -> None:
    outline = outline_of(in_one_slice("####\n#..#\n####"))
    assert outline is not None
    assert (outline.n_pieces, outline.n_holes) == (1, 2)
    assert outline.inside.all()


def test_a_bay_that_closes_at_a_corner_only_is_no_place_where_the_line_touches_itself() -> None:
    outline = outline_of(in_one_slice("###\n#.#\n##."))
    assert outline is not None
    assert outline.n_holes == 1
    corners = [tuple(point) for point in outline.points[:-1]]
    assert len(set(corners)) == len(corners)


def test_a_region_without_a_voxel_has_no_outline() -> None:
    assert outline_of(np.zeros((2, 3, 3), bool)) is None
