"""What only NDI promises: it is blind to whole turns, stops before streaks grow, and momentum saves steps."""

import functools
import math
from dataclasses import replace

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.method import StepContext
from pipeline.operators.dipole import Dipole
from pipeline.susceptibility.dipole_inversion.ndi import NDI, NdiSettings, nonlinear_descent
from tests.pipeline.susceptibility.dipole_inversion.heads import SmallHead, small_head

NO_STOP = NdiSettings(iterations=12, streak_limit=100.0, tolerance=0.0)


@functools.cache
def head() -> SmallHead:
    return small_head((36, 40, 38))


def mapped(artefacts: dict[str, torch.Tensor], settings: NdiSettings, told: list[float] | None = None) -> torch.Tensor:
    context = StepContext(head().grid, on_iteration=None if told is None else told.append)
    return NDI.apply(artefacts, context, settings)["susceptibility"]


def misfit(susceptibility: torch.Tensor) -> float:
    field = Dipole.on(head().grid, susceptibility)(susceptibility)
    left = (field - head().artefacts(torch.float64)["local_field"])[head().mask]
    return float((left - left.mean()).norm())


def test_whole_turns_of_the_phase_do_not_matter() -> None:
    artefacts = head().artefacts(torch.float64)
    turns = torch.randint(-2, 3, head().grid.shape, generator=torch.Generator().manual_seed(1)).double()
    jumping = artefacts["local_field"] + turns * (2 * math.pi / NO_STOP.radians_per_ppm) * head().mask
    plain = mapped(artefacts, NO_STOP)
    torch.testing.assert_close(mapped(artefacts | {"local_field": jumping}, NO_STOP), plain, atol=1e-9, rtol=0)


def test_momentum_fits_better_in_as_many_steps() -> None:
    artefacts = head().artefacts(torch.float64)
    fast = mapped(artefacts, NO_STOP)
    plain = mapped(artefacts, replace(NO_STOP, is_accelerated=False))
    assert misfit(fast) < 0.9 * misfit(plain) < 0.9 * misfit(torch.zeros_like(plain))


def test_it_stops_as_soon_as_the_cone_grows_too_loud() -> None:
    artefacts = head().artefacts()
    early: list[float] = []
    late: list[float] = []
    mapped(artefacts, replace(NO_STOP, streak_limit=0.0), early)
    mapped(artefacts, NO_STOP, late)
    assert len(early) < 6
    assert len(late) >= 12
    assert early[-1] == late[-1] == 1.0


def test_a_ridge_makes_the_map_smaller() -> None:
    artefacts = head().artefacts()
    assert float(mapped(artefacts, replace(NO_STOP, ridge=0.1)).norm()) < 0.9 * float(mapped(artefacts, NO_STOP).norm())


def test_a_voxel_declared_noisy_is_ignored() -> None:
    artefacts = head().artefacts()
    broken, noise = artefacts["local_field"].clone(), artefacts["field_noise"].clone()
    broken[18:21, 18:21, 18:21] += 0.2
    noise[18:21, 18:21, 18:21] = 1.0
    believed = mapped(artefacts | {"local_field": broken}, NO_STOP)
    ignored = mapped(artefacts | {"local_field": broken, "field_noise": noise}, NO_STOP)
    assert head().error_percent(ignored) < head().error_percent(believed) - 10


def test_a_field_on_another_grid_is_refused() -> None:
    artefacts = head().artefacts()
    with pytest.raises(UnusableInput, match="field has shape"):
        nonlinear_descent(artefacts["local_field"][1:], artefacts["mask"], head().grid, NO_STOP)
