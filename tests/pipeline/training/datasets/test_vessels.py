"""Veins fill the volume that their radii say, thinner or wider than a voxel."""

import math

import pytest
import torch

from pipeline.grid import Grid
from pipeline.training.datasets.vessels import tube_share

GRID = Grid((24, 40, 26), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("radius", [0.3, 0.6, 1.5])
def test_a_straight_vein_fills_its_cross_section(radius: float) -> None:
    knots = torch.stack([torch.tensor([0.3, -15.0 + 1.5 * step, 0.2]) for step in range(21)])
    share = tube_share(GRID, knots[:-1], knots[1:], torch.full((20,), radius))
    middle = share[:, 12:28].sum() / 16
    assert float(middle) == pytest.approx(math.pi * radius**2, rel=0.15)
    assert float(share.max()) <= 1.0


def test_a_vein_that_leaves_the_volume_does_not_come_back_on_the_other_side() -> None:
    knots = torch.stack([torch.tensor([0.0, 14.0 + 1.5 * step, 0.0]) for step in range(12)])
    share = tube_share(GRID, knots[:-1], knots[1:], torch.full((11,), 1.0))
    assert not bool(share[:, :20].any())
    assert bool(share[:, 34:].any())
