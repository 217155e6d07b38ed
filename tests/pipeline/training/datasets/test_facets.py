"""Planes split space into parts of unequal size; softening moves no susceptibility away from an edge by two voxels."""

import torch

from pipeline.grid import Grid
from pipeline.training.datasets.canvas import Canvas
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.facets import _split, facets, softened

GRID = Grid((20, 22, 24), (1.5, 1.0, 1.0))


def chance(key: object) -> Chance:
    return Chance(str(key), torch.device("cpu"))


def test_every_split_makes_more_parts_and_walls_lie_between_them() -> None:
    for key in range(5):
        canvas = Canvas(GRID, chance(key), chance(key).rotation())
        part, to_wall = _split(canvas, 5, chance(key))
        counts = torch.bincount(part.flatten(), minlength=32)
        assert len(counts) == 32
        assert int((counts > 0).sum()) >= 8
        assert int(counts.max()) < 0.7 * part.numel()
        changes = part[:, :, 1:] != part[:, :, :-1]
        # Between two voxels of different parts there is a plane, no farther from the nearer one than half their step.
        nearest = torch.minimum(to_wall[:, :, 1:], to_wall[:, :, :-1])
        assert float(nearest[changes].max()) <= 0.5 * GRID.voxel_size_mm[2] + 1e-4


def test_softening_spreads_a_point_over_its_neighbours_and_keeps_its_sum() -> None:
    point = torch.zeros(7, 7, 7)
    point[3, 3, 3] = 1.0
    soft = softened(point)
    assert float(soft.sum()) == 1.0
    assert float(soft[3, 3, 3]) == 0.125
    assert int((soft > 0).sum()) == 27
    assert torch.allclose(softened(torch.ones(5, 6, 7)), torch.ones(5, 6, 7))
    assert float(point.sum()) == float(point[3, 3, 3]) == 1.0


def test_a_scene_has_edges_and_stays_within_the_bounds_of_tissue() -> None:
    for key in range(6):
        scene = facets(GRID, chance(key))
        assert float(scene.susceptibility.std()) > 1e-3
        assert float(scene.susceptibility.abs().max()) < 2.5
