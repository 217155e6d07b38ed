"""Curves keep a field finite and change its histogram; what they join stays within the bounds of tissue."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.levels import _CURVES, levels

GRID = Grid((20, 22, 24), (1.5, 1.0, 1.0))


def chance(key: object) -> Chance:
    return Chance(str(key), torch.device("cpu"))


@pytest.mark.parametrize("curve", _CURVES)
def test_a_curve_maps_the_same_value_to_the_same_value(curve: Callable[[Tensor, Chance], Tensor]) -> None:
    values = torch.linspace(-4.0, 4.0, 81)
    curved = curve(values.clone(), chance(1))
    alone = curve(values[40:41].clone(), chance(1))
    assert bool(curved.isfinite().all())
    assert float(alone) == pytest.approx(float(curved[40]), abs=1e-6)
    assert float(curved.std()) > 1e-3


def test_scenes_differ_in_the_shape_of_their_histogram_and_stay_in_bounds() -> None:
    kurtosis = []
    for key in range(16):
        made = levels(GRID, chance(key)).susceptibility
        assert float(made.abs().max()) <= 1.5
        deviations = (made - made.mean()) / made.std()
        kurtosis.append(float(deviations.pow(4).mean()))
    assert min(kurtosis) < 2.6
    assert max(kurtosis) > 5.0
