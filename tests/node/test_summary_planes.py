"""The three planes go through the regions, and lie as a radiologist looks at them."""

import numpy as np
import pytest

from node.summary_planes import Planes, Row, brightest, draw_planes, upright_planes

SHAPE = (20, 24, 22)
MAP = (Row("map", "susceptibility", (-200.0, 200.0), "ppb"),)


def head() -> tuple[np.ndarray, np.ndarray]:
    """Return a mask and labels, axes head, back, left; label 5 lies high, in front and on the left."""
    mask = np.zeros(SHAPE, bool)
    mask[3:17, 4:20, 4:18] = True
    labels = np.zeros(SHAPE, np.int32)
    labels[13:16, 6:9, 14:17] = 5
    return mask, labels


def planes(labels: np.ndarray | None, volume: np.ndarray | None = None) -> Planes:
    mask, _ = head()
    shown = np.zeros(SHAPE) if volume is None else volume
    return upright_planes({"map": shown}, mask, labels, np.diag([1.0, 1.0, 2.0, 1.0]))


def test_the_slices_go_through_the_regions() -> None:
    turned = planes(head()[1])
    assert all((np.take(turned.labels, turned.cut[axis], axis=axis) == 5).any() for axis in range(3))


def test_without_regions_they_go_through_the_middle_of_the_brain() -> None:
    turned = planes(None)
    middle = [round(float(place)) for place in np.argwhere(turned.mask).mean(axis=0)]
    assert list(turned.cut) == middle


def test_regions_outside_the_brain_do_not_draw_the_slices_away() -> None:
    stray = np.zeros(SHAPE, np.int32)
    stray[0, 0, 0] = 3
    assert planes(stray).cut == planes(None).cut


def test_an_empty_mask_still_gives_a_picture() -> None:
    empty = np.zeros(SHAPE, bool)
    turned = upright_planes({"map": np.zeros(SHAPE)}, empty, None, np.eye(4))
    assert draw_planes(turned, MAP, 180.0).width > 1000


def test_the_left_of_the_patient_is_on_the_right_of_the_axial_picture() -> None:
    mask, labels = head()
    drawn = np.asarray(draw_planes(planes(labels, np.where(labels > 0, 300.0, 0.0)), MAP, 180.0)).min(axis=-1)
    axial = _first_picture(drawn)
    grey = np.argwhere((axial > 100) & (axial < 160))
    white = np.argwhere((axial > 250) & _inside(axial))
    assert len(white) > 500
    assert np.median(white[:, 1]) > np.median(grey[:, 1])
    assert np.median(white[:, 0]) < np.median(grey[:, 0])
    assert mask[labels > 0].all()


def _first_picture(drawn: np.ndarray) -> np.ndarray:
    """Cut out what lies between the row's name and the white gap before the second picture."""
    filled = np.flatnonzero((drawn < 250).mean(axis=0) > 0.3)
    end = filled[0] + np.flatnonzero(np.diff(filled) > 1)[0] + 1
    return drawn[:, filled[0] : end]


def _inside(picture: np.ndarray) -> np.ndarray:
    """Return the pixels that have grey to all four sides: white inside the slice, not beside it."""
    grey = (picture > 100) & (picture < 160)
    left, right = np.maximum.accumulate(grey, axis=1), np.maximum.accumulate(grey[:, ::-1], axis=1)[:, ::-1]
    above, below = np.maximum.accumulate(grey, axis=0), np.maximum.accumulate(grey[::-1], axis=0)[::-1]
    return left & right & above & below


def test_equal_volumes_give_equal_pixels() -> None:
    first, second = (np.asarray(draw_planes(planes(head()[1]), MAP, 180.0)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_volumes_of_different_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        planes(np.zeros((2, 2, 2), np.int32))


def test_white_in_the_magnitude_is_what_few_voxels_of_the_brain_reach() -> None:
    mask = np.ones((10, 10, 10), bool)
    assert brightest(np.arange(1000.0).reshape(10, 10, 10), mask) == pytest.approx(994.0, abs=1)
    assert brightest(np.zeros((10, 10, 10)), mask) == 1.0
    assert brightest(np.ones((10, 10, 10)), ~mask) == 1.0
