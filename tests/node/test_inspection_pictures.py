"""The pictures of `lodestone inspect`: every part and echo, upright, with letters, a bar and no patient."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.image import imread

from dicom_io.geometry import Geometry
from dicom_io.read.reader import find_acquisitions
from dicom_io.series import Part
from node import inspection_pictures
from node.inspection_pictures import volumes_as_stored, write_picture
from tests.node import scans
from tests.node.commands.test_inspect import run

GRID = Geometry((1, 0, 0), (0, 1, 0), (0, 0, 0), (0, 0, 2), (1, 1), (10, 40, 30), "1.2")


def blocks(n_echoes: int = 3) -> dict[Part, dict[float, np.ndarray]]:
    """Return a magnitude that is bright in the left front, and a phase."""
    magnitude = np.zeros(GRID.shape, dtype=np.float32)
    magnitude[:, :20, 15:] = 100
    times = [5.0 * (echo + 1) for echo in range(n_echoes)]
    return {Part.MAGNITUDE: dict.fromkeys(times, magnitude), Part.PHASE: dict.fromkeys(times, 0.03 * magnitude - 2)}


def titles(monkeypatch: pytest.MonkeyPatch, path: Path, volumes: dict, geometry: Geometry) -> list[str]:
    """Return the titles of the drawn cells."""
    told: list[str] = []
    show = inspection_pictures._show

    def listen(axes: Axes, cell: Any, limits: tuple[float, float]) -> None:
        told.append(cell.title)
        show(axes, cell, limits)

    monkeypatch.setattr(inspection_pictures, "_show", listen)
    write_picture(path, volumes, geometry, "7 gre")
    return told


def test_a_row_shows_each_echo_and_the_first_from_two_other_sides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = titles(monkeypatch, tmp_path / "a.png", blocks(), GRID)
    one_row = ["axial, 5 ms", "axial, 10 ms", "axial, 15 ms", "coronal, 5 ms", "sagittal, 5 ms"]
    assert told == 2 * one_row


def test_many_echoes_are_thinned_out_and_a_few_slices_are_not_shown_from_the_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thin = {part: {time: volume[:3] for time, volume in images.items()} for part, images in blocks(12).items()}
    told = titles(monkeypatch, tmp_path / "a.png", thin, replace(GRID, shape=(3, 40, 30)))
    assert len(told) == 2 * inspection_pictures.MOST_ECHOES
    assert (told[0], told[7]) == ("axial, 5 ms", "axial, 60 ms")
    assert all(title.startswith("axial") for title in told)


@pytest.mark.parametrize("is_turned", [False, True], ids=["axial rows to the left", "axial rows to the right"])
def test_the_left_front_is_shown_right_above_however_it_was_acquired(tmp_path: Path, is_turned: bool) -> None:
    volumes, grid = {Part.MAGNITUDE: {5.0: blocks()[Part.MAGNITUDE][5.0]}}, GRID
    if is_turned:
        volumes = {Part.MAGNITUDE: {5.0: volumes[Part.MAGNITUDE][5.0][:, ::-1, ::-1]}}
        grid = replace(GRID, row_direction=(-1, 0, 0), column_direction=(0, -1, 0), first_position=(29, 39, 0))
    write_picture(tmp_path / "a.png", volumes, grid, "")
    picture = imread(tmp_path / "a.png")[..., :3]
    white = np.argwhere((picture > 0.99).all(axis=-1))
    white = white[white[:, 1] < picture.shape[1] // 3]
    rows, columns = np.nonzero((picture[:, : picture.shape[1] // 3] < 0.01).all(axis=-1))
    assert white[:, 0].mean() < rows.mean()
    assert white[:, 1].mean() > columns.mean()


def test_equal_series_give_equal_pictures(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_picture(tmp_path / name, blocks(), GRID, "7 gre")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_refused_images_are_shown_as_stored_with_black_for_a_missing_slice(tmp_path: Path) -> None:
    images = scans.instances()
    scans.write(tmp_path, images[:5] + images[6:])
    (found,) = find_acquisitions(tmp_path)
    volumes = volumes_as_stored(found.paths, found.frames)
    n_black = sum(not plane.any() for images in volumes.values() for volume in images.values() for plane in volume)
    assert set(volumes) == {Part.MAGNITUDE, Part.PHASE}
    assert n_black == 1


def test_the_command_writes_numbered_pictures_and_names_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scans.write(tmp_path / "study" / "good", scans.instances())
    assert run(str(tmp_path / "study"), "--json", "--pictures", str(tmp_path / "pictures")) == 0
    (one,) = json.loads(capsys.readouterr().out)["series"]
    assert one["picture"] == "01.png"
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["01.png"]
