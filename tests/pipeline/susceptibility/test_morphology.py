"""Shapes on a grid with millimetres."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from pipeline.errors import UnusableInput
from pipeline.susceptibility import morphology as shapes

SIZE = (2.0, 1.0, 1.5)


def ball(radius: float, centre: tuple[float, float, float] = (30.0, 30.0, 30.0)) -> np.ndarray:
    """Return a ball [mm] on a grid of 60 mm."""
    axes = [np.arange(0, 60, step) for step in SIZE]
    places = np.meshgrid(*axes, indexing="ij")
    return sum((place - middle) ** 2 for place, middle in zip(places, centre, strict=True)) <= radius**2


def test_dilation_goes_the_same_distance_along_every_axis() -> None:
    grown = shapes.dilate(ball(8.0), 6.0, SIZE)
    assert not (ball(12.5) & ~grown).any()
    assert not (grown & ~ball(15.5)).any()


@pytest.mark.parametrize("radius", [0.0, 1.4, 2.0, 5.3, 9.0])
def test_a_dilation_reaches_every_voxel_within_the_radius_and_no_other(radius: float) -> None:
    points = np.random.default_rng(2).random((14, 30, 25)) < 0.004
    distance = ndimage.distance_transform_edt(~points, sampling=SIZE)
    assert np.array_equal(shapes.dilate(points, radius, SIZE), distance <= radius + 1e-6)


def test_a_large_ball_is_laid_by_the_distance_transform_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    row_by_row = shapes.dilate(ball(4.0), 7.0, SIZE)
    monkeypatch.setattr(shapes, "MOST_ROWS", 0)
    assert np.array_equal(shapes.dilate(ball(4.0), 7.0, SIZE), row_by_row)


def test_erosion_keeps_what_is_deeper_and_does_not_start_at_the_border_of_the_image() -> None:
    body = ball(15.0, (0, 30, 30))
    assert np.array_equal(shapes.erode(body, 3.0, SIZE), shapes.depth(body, SIZE) > 3.0)
    assert shapes.erode(body, 3.0, SIZE)[0].any()


@pytest.mark.parametrize("most_rows", [0, 200], ids=["by distances", "row by row"])
@pytest.mark.parametrize("rounding", [1e-6, 1e-10, -1e-10, -1e-6])
@pytest.mark.parametrize("size", [(4.0, 4.0, 4.0), (2.0, 2.0, 2.0), (4 / 3, 2 / 3, 2 / 3), (3.0, 1.0, 1.0)])
def test_rounding_of_a_voxel_size_moves_no_voxel(
    size: tuple[float, float, float], rounding: float, most_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "MOST_ROWS", most_rows)
    points = np.random.default_rng(5).random((12, 25, 25)) < 0.01
    rounded = (size[0] * (1 + rounding), size[1], size[2] * (1 + rounding / 2))
    for radius in (1.0, 2.0, 4.0, 6.0):
        assert np.array_equal(shapes.dilate(points, radius, rounded), shapes.dilate(points, radius, size))
        assert np.array_equal(shapes.erode(~points, radius, rounded), shapes.erode(~points, radius, size))


def test_a_region_without_a_voxel_grows_nowhere() -> None:
    nothing = np.zeros((6, 6, 6), dtype=bool)
    assert not shapes.dilate(nothing, 3.0, SIZE).any()


def test_opening_cuts_a_bridge_and_keeps_the_bodies() -> None:
    two = ball(10.0, (30, 15, 30)) | ball(10.0, (30, 45, 30))
    bridge = np.zeros_like(two)
    bridge[14:16, 15:45, 19:21] = True
    opened = shapes.open(two | bridge, 3.0, SIZE)
    assert not (opened & bridge & ~shapes.dilate(two, 2.0, SIZE)).any()
    assert (opened & two).sum() > 0.97 * two.sum()


def test_closing_fills_a_groove_and_nothing_else() -> None:
    groove = np.zeros_like(ball(1.0))
    groove[:, :30, 19:21] = True
    body = ball(15.0)
    closed = shapes.close(body & ~groove, 4.0, SIZE)
    assert (closed & body).sum() > 0.97 * body.sum()
    assert (closed & ~body).sum() == 0


def test_closing_at_the_border_of_the_image_adds_nothing_outside_the_body() -> None:
    half = ball(15.0, (0, 30, 30))
    assert (shapes.close(half, 4.0, SIZE) & ~half).sum() < 0.02 * half.sum()


def test_the_largest_part_is_kept() -> None:
    small, large = ball(5.0, (10, 10, 10)), ball(9.0, (40, 40, 40))
    assert np.array_equal(shapes.largest(small | large), large)


def test_holes_are_filled() -> None:
    assert np.array_equal(shapes.fill(ball(15.0) & ~ball(5.0)), ball(15.0))


def test_two_bodies_joined_by_a_neck_become_two_basins() -> None:
    one, other = ball(10.0, (30, 15, 30)), ball(8.0, (30, 40, 30))
    neck = np.zeros_like(one)
    neck[14:17, 15:40, 19:22] = True
    numbers = shapes.basins(shapes.depth(one | other | neck, SIZE), 1.5)
    first, second = numbers[15, 15, 20], numbers[15, 40, 20]
    assert first != second
    assert first > 0
    assert second > 0
    assert (numbers[one & ~neck] == first).mean() > 0.99
    assert (numbers[~(one | other | neck)] == 0).all()


def test_a_region_without_outside_is_infinitely_deep() -> None:
    assert np.isinf(shapes.depth(np.ones((4, 4, 4), dtype=bool), SIZE)).all()


def test_shrinking_averages_blocks_and_enlarging_gives_the_grid_back() -> None:
    volume = np.random.default_rng(0).random((7, 8, 9)).astype(np.float32)
    small = shapes.shrink(torch.from_numpy(volume), (2, 2, 3))
    assert small.shape == (4, 4, 3)
    assert small[1, 1, 1] == pytest.approx(volume[2:4, 2:4, 3:6].mean(), rel=1e-5)
    large = shapes.enlarge(small, (2, 2, 3), volume.shape)
    assert large.shape == volume.shape
    assert large[3, 2, 5] == small[1, 1, 1]


def test_an_empty_region_has_no_box() -> None:
    with pytest.raises(UnusableInput, match="empty"):
        shapes.bounding_box(np.zeros((4, 4, 4), dtype=bool))


def test_a_dark_image_has_no_head() -> None:
    with pytest.raises(UnusableInput, match="zero everywhere"):
        shapes.head(np.zeros((4, 4, 4), dtype=np.float32))
