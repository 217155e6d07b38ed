"""Solids are laid where they are said to be, whole, whatever way the painter's space is turned or bent."""

import math

import pytest
import torch

from pipeline.grid import Grid
from pipeline.training.datasets.canvas import Canvas, Solid
from pipeline.training.datasets.chance import Chance, rotation_about
from pipeline.training.datasets.fields import smooth_field

GRID = Grid((30, 32, 28), (1.5, 1.0, 1.2))


def chance() -> Chance:
    return Chance("canvas", torch.device("cpu"))


@pytest.mark.parametrize(
    ("kind", "volume_mm3"),
    [("ellipsoid", 4 / 3 * math.pi * 5 * 7 * 4), ("box", 8 * 5 * 7 * 4), ("cylinder", 10 * math.pi * 7 * 4)],
)
def test_a_solid_fills_its_own_volume_and_lies_about_its_centre(kind: str, volume_mm3: float) -> None:
    canvas = Canvas(GRID, chance())
    turn = rotation_about(torch.tensor([0.6, 0.8, 0.0]), 0.7)
    canvas.lay_solid(Solid(kind, (2.0, -1.0, 1.5), (5.0, 7.0, 4.0), turn), 1.0)
    laid = canvas.susceptibility
    assert float(laid.sum()) * 1.5 * 1.0 * 1.2 == pytest.approx(volume_mm3, rel=0.05)
    centre = (canvas.points * laid).flatten(1).sum(1) / laid.sum()
    assert torch.allclose(centre, torch.tensor([2.0, -1.0, 1.5]), atol=0.1)


@pytest.mark.parametrize("is_bent", [False, True])
def test_the_box_around_a_solid_cuts_nothing_off(is_bent: bool) -> None:
    canvas = Canvas(GRID, chance(), rotation_about(torch.tensor([0.0, 0.6, 0.8]), 0.5), (3.0, -2.0, 1.0))
    if is_bent:
        for axis in range(3):
            canvas.points[axis] += 2.0 * smooth_field(GRID, 30.0, chance())
        canvas.slack_mm = 6.0
    for place in ((3.0, -2.0, 1.0), (14.0, 9.0, -8.0), (-12.0, 4.0, 9.0)):
        solid = Solid("ellipsoid", place, (6.0, 3.0, 2.0), rotation_about(torch.tensor([0.0, 0.0, 1.0]), 0.4))
        everywhere = (solid.distance(canvas.points) < canvas.edge_mm / 2).float()
        box = canvas.box_around(solid, canvas.edge_mm)
        inside_box = torch.zeros_like(everywhere)
        if box is not None:
            inside_box[box] = everywhere[box]
        assert torch.equal(inside_box, everywhere)


def test_a_solid_off_the_grid_paints_nothing() -> None:
    canvas = Canvas(GRID, chance())
    canvas.lay_solid(Solid("box", (80.0, 0.0, 0.0), (3.0, 3.0, 3.0)), 1.0)
    assert not bool(canvas.susceptibility.any())


def test_a_signal_that_is_not_given_stays_what_it_was() -> None:
    canvas = Canvas(GRID, chance())
    canvas.lay(torch.ones(GRID.shape), 0.3)
    assert bool((canvas.signal == 1).all())
    assert torch.allclose(canvas.susceptibility, torch.full(GRID.shape, 0.3))
