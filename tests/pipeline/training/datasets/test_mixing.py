"""Two scenes become their sum, or one takes a region of the other."""

import torch

from pipeline.grid import Grid
from pipeline.training.datasets.canvas import Scene
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.mixing import mixed

GRID = Grid((20, 22, 24), (1.5, 1.0, 1.0))


def scene(ppm: float) -> Scene:
    return Scene(torch.full(GRID.shape, ppm), torch.full(GRID.shape, 1.0 - ppm), torch.full(GRID.shape, -1.0))


def test_scenes_are_added_or_share_the_space_in_about_as_many_draws() -> None:
    ways = {"added": 0, "shared": 0}
    for key in range(40):
        made = mixed(scene(0.0), scene(0.1), GRID, Chance(str(key), torch.device("cpu")))
        chi = made.susceptibility
        assert 0.0 <= float(chi.min()) <= float(chi.max()) <= 0.1 + 1e-6
        if float(made.signal.min()) == 1.0:
            ways["added"] += 1
            assert float(chi.max() - chi.min()) < 1e-6
        else:
            ways["shared"] += 1
            # The signal changes where the susceptibility does.
            assert torch.allclose(made.signal, 1.0 - chi, atol=1e-5)
    assert min(ways.values()) > 10


def test_a_region_leaves_something_of_both_scenes_in_most_draws() -> None:
    both = 0
    for key in range(40):
        chi = mixed(scene(0.0), scene(0.1), GRID, Chance(str(key), torch.device("cpu"))).susceptibility
        both += bool((chi < 0.01).any() and (chi > 0.09).any())
    assert both > 10
