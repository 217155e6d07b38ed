"""Leaves come in every size up to a bound, hide what lies below, and their bodies are closed."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.training.datasets.canvas import Canvas
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.leaves import _facets, _lump, _pinched, leaves, power_law

GRID = Grid((20, 22, 24), (1.5, 1.0, 1.0))


def chance(key: object) -> Chance:
    return Chance(str(key), torch.device("cpu"))


@pytest.mark.parametrize(("exponent", "share_below"), [(0.0, 1 / 3), (1.0, 0.5), (3.0, 0.8)])
def test_sizes_fall_as_the_power_that_was_asked_for(exponent: float, share_below: float) -> None:
    draws = chance(exponent)
    drawn = torch.tensor([power_law(1.0, 4.0, exponent, draws) for _ in range(3000)])
    assert bool(((drawn >= 1.0) & (drawn <= 4.0)).all())
    assert float((drawn < 2.0).float().mean()) == pytest.approx(share_below, abs=0.03)


@pytest.mark.parametrize("body", [_lump, _facets, _pinched])
def test_a_body_holds_its_middle_and_ends_within_its_hull(body: Callable[[Tensor, Chance], Tensor]) -> None:
    rays = torch.nn.functional.normalize(torch.randn((3, 500), generator=torch.Generator().manual_seed(2)), dim=0)
    for key in range(10):
        assert bool((body(torch.zeros(3, 1), chance(key)) < 0).all())
        # The hull of a pinched body that is nearly a box is an ellipsoid, which may take a corner off.
        beyond = 1.8 if body is _pinched else 1.5
        assert bool((body(beyond * rays, chance(key)) > 0).all())


def test_a_lump_is_no_ball() -> None:
    rays = torch.nn.functional.normalize(torch.randn((3, 500), generator=torch.Generator().manual_seed(2)), dim=0)
    assert float(_lump(rays, chance("lump")).std()) > 0.01


def test_leaves_hide_the_ground_and_one_another() -> None:
    for key in range(3):
        scene = leaves(GRID, chance(key))
        bare = Canvas(GRID, chance(key)).signal
        covered = (scene.signal != bare).float().mean()
        assert float(covered) > 0.05
        assert float(scene.susceptibility.std()) > 0.003
