"""Layers vary across their direction and not along them, unless space is bent."""

import torch

from pipeline.grid import Grid
from pipeline.training.datasets.canvas import Canvas
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.laminae import _layered, _table, laminae

GRID = Grid((20, 22, 24), (1.5, 1.0, 1.0))


def chance(key: object) -> Chance:
    return Chance(str(key), torch.device("cpu"))


def test_a_straight_layer_is_the_same_all_along() -> None:
    for key in range(8):
        canvas = Canvas(GRID, chance(key))
        layered = _layered(canvas.points[1].contiguous(), canvas, chance(key))
        along = layered.std(dim=(0, 2))
        across = layered.mean(dim=(0, 2)).std()
        assert float(along.max()) < 1e-4
        assert float(across) > 1e-3


def test_tables_have_the_length_that_was_asked_for_and_are_finite() -> None:
    for key in range(30):
        table = _table(157, chance(key))
        assert table.shape == (157,)
        assert bool(table.isfinite().all())


def test_a_scene_stays_within_the_bounds_of_tissue() -> None:
    for key in range(8):
        scene = laminae(GRID, chance(key))
        assert float(scene.susceptibility.abs().max()) < 1.5
        assert float(scene.signal.min()) >= 0.2 - 1e-6
