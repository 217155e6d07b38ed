"""The built-in recipes keep the acceptance limits on a scan of the simulated head."""

from dataclasses import replace

import pytest

from pipeline.recipe import builtin_recipe
from pipeline.run import run
from pipeline.simulation.phantom import adult_head
from pipeline.simulation.scanner import DEMONSTRATION, SimulatedScan, acquire
from pipeline.studies.accuracy import score


@pytest.fixture(scope="module")
def tilted_scan() -> SimulatedScan:
    return acquire(adult_head(), replace(DEMONSTRATION, rotation_deg=(15.0, 0.0, 0.0), seed=11))


@pytest.mark.slow
def test_the_default_recipe_keeps_every_limit_on_a_tilted_scan(tilted_scan: SimulatedScan) -> None:
    maps, quality = run(tilted_scan.acquisition, builtin_recipe("default"))
    result = score(tilted_scan, maps.susceptibility, maps.mask)
    assert result.shortcomings() == []
    assert result.outside_share < 0.2
    assert quality.figures["n_echoes_used"] == 5


@pytest.mark.slow
def test_the_two_step_recipe_measures_the_nuclei_it_covers(tilted_scan: SimulatedScan) -> None:
    maps, _ = run(tilted_scan.acquisition, builtin_recipe("v_sharp_tv"))
    result = score(tilted_scan, maps.susceptibility, maps.mask)
    deep = [region for region in result.regions if region.is_judged and "dentate" not in region.name]
    assert len(deep) >= 10
    assert max(abs(region.error_ppb) for region in deep) < 25
    assert result.detrended_nrmse_percent < 60
