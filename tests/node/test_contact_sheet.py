"""The contact sheet shows the head upright, right on the left, whatever the orientation of the volume."""

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from node.contact_sheet import contact_sheet, to_standing_patient

TITLE = "Lodestone test"


def head() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return map, magnitude and mask with axes head, back, left."""
    mask = np.zeros((20, 24, 22), bool)
    mask[3:17, 4:20, 4:18] = True
    susceptibility = np.where(mask, 0.05, 0.0)
    susceptibility[8:12, 8:12, 12:16] = 0.2
    return susceptibility, np.where(mask, 100.0, 5.0), mask


def affine_for(order: tuple[int, ...], signs: tuple[int, ...]) -> np.ndarray:
    """Return the affine of an array whose axis `a` runs along patient axis head, back, left number `order[a]`."""
    spacing = (2.0, 1.0, 1.5)
    affine = np.eye(4)
    for array_axis, (patient_axis, sign) in enumerate(zip(order, signs, strict=True)):
        column = np.zeros(3)
        column[2 - patient_axis] = sign * spacing[patient_axis]
        affine[:3, 2 - array_axis] = column
    return affine


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
def test_every_orientation_is_turned_upright(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    upright = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    stored = np.transpose(upright, order)
    stored = np.flip(stored, tuple(axis for axis, sign in enumerate(signs) if sign < 0))
    turned, spacing = to_standing_patient(stored, affine_for(order, signs))
    np.testing.assert_array_equal(turned, upright)
    assert spacing == (2.0, 1.0, 1.5)


def test_an_oblique_volume_is_shown_in_its_own_planes() -> None:
    angle = np.deg2rad(20)
    affine = np.eye(4)
    affine[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    array = np.random.default_rng(0).random((3, 4, 5))
    turned, spacing = to_standing_patient(array, affine)
    np.testing.assert_array_equal(turned, array)
    np.testing.assert_allclose(spacing, (1, 1, 1))


def test_the_same_run_draws_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first.png", "second.png"):
        contact_sheet(tmp_path / name, *head(), affine_for((0, 1, 2), (1, 1, 1)), TITLE)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


def test_bright_iron_is_bright_and_on_the_right_of_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    contact_sheet(path, *head(), affine_for((0, 1, 2), (1, 1, 1)), TITLE)
    picture = imread(path)[..., :3]
    first_row = picture[: picture.shape[0] // 4]
    white = np.argwhere(first_row.min(axis=-1) > 0.99)
    third_cell = white[(white[:, 1] > 0.33 * picture.shape[1]) & (white[:, 1] < 0.46 * picture.shape[1])]
    assert len(third_cell) > 100
    assert np.median(third_cell[:, 1]) > 0.40 * picture.shape[1]


def test_an_empty_mask_still_gives_a_picture(tmp_path: Path) -> None:
    susceptibility, magnitude, mask = head()
    path = tmp_path / "sheet.png"
    contact_sheet(path, susceptibility, magnitude, np.zeros_like(mask), affine_for((0, 1, 2), (1, 1, 1)), TITLE)
    assert imread(path).shape[1] > 500


def test_a_mask_that_fills_the_volume_needs_no_outline(tmp_path: Path) -> None:
    susceptibility, magnitude, mask = head()
    path = tmp_path / "sheet.png"
    contact_sheet(path, susceptibility, magnitude, np.ones_like(mask), affine_for((0, 1, 2), (1, 1, 1)), TITLE)
    assert path.stat().st_size > 1000


def test_volumes_of_different_shape_are_refused(tmp_path: Path) -> None:
    susceptibility, magnitude, mask = head()
    with pytest.raises(ValueError, match="shapes differ"):
        contact_sheet(tmp_path / "x.png", susceptibility[1:], magnitude, mask, np.eye(4), TITLE)


def test_beside_a_network_s_map_its_twin_and_their_difference_are_two_rows_more(tmp_path: Path) -> None:
    susceptibility, magnitude, mask = head()
    affine = affine_for((0, 1, 2), (1, 1, 1))
    contact_sheet(tmp_path / "alone.png", susceptibility, magnitude, mask, affine, TITLE)
    contact_sheet(tmp_path / "both.png", susceptibility, magnitude, mask, affine, TITLE, susceptibility - 0.2 * mask)
    alone, both = (imread(tmp_path / f"{name}.png")[..., :3] for name in ("alone", "both"))
    assert both.shape[0] > 1.3 * alone.shape[0]
    # The difference, 0.2 ppm everywhere in the brain, is white; the brain of the map itself is not.
    third_row = both[int(0.36 * both.shape[0]) : int(0.5 * both.shape[0])]
    assert (third_row.min(axis=-1) > 0.99).mean() > 0.1
    with pytest.raises(ValueError, match="shapes differ"):
        contact_sheet(tmp_path / "no.png", susceptibility, magnitude, mask, affine, TITLE, magnitude[1:])
