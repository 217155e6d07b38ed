"""Points keep their strength wherever they fall between voxels, and vanish off the grid."""

import pytest
import torch

from pipeline.grid import Grid
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.scatter import scatter, splat

GRID = Grid((20, 22, 24), (1.5, 1.0, 1.0))


def test_a_point_between_voxels_keeps_its_strength_and_its_place() -> None:
    place = torch.tensor([[3.1, -2.2, 4.7]])
    volume = splat(GRID, place, torch.tensor([0.4]))
    assert float(volume.sum()) == pytest.approx(0.4, rel=1e-5)
    index = torch.nonzero(volume)
    middle = (index * volume[volume != 0][:, None]).sum(0) / 0.4
    found = (middle - (torch.tensor(GRID.shape) - 1) / 2) * torch.tensor(GRID.voxel_size_mm)
    assert torch.allclose(found, place[0], atol=1e-3)


def test_a_point_off_the_grid_paints_nothing() -> None:
    places = torch.tensor([[40.0, 0.0, 0.0], [0.0, -30.0, 0.0]])
    assert not bool(splat(GRID, places, torch.ones(2)).any())


def test_a_scene_has_strong_points_on_weak_ground() -> None:
    for key in range(6):
        made = scatter(GRID, Chance(str(key), torch.device("cpu"))).susceptibility
        assert float(made.abs().max()) > 4 * float(made.abs().median())
        assert float(made.abs().max()) < 7.0
