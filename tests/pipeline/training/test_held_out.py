"""Held-out samples judge every method alike, and on what no field can tell they are silent."""

import pytest
import torch

from pipeline.networks.table import NETWORKS
from pipeline.susceptibility.dipole_inversion.weighted_tv import WeightedTvSettings, weighted_total_variation
from pipeline.training.datasets.recipe import HELD_OUT, DataRecipe
from pipeline.training.examples import Example
from pipeline.training.held_out import Scores, classical_scores, held_out_examples, network_maps, scores
from pipeline.training.precision import autocast_for
from pipeline.training.trainer import wanted_of

RECIPE = DataRecipe(shape=(16, 16, 16))
SINGLE = autocast_for(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return held_out_examples(RECIPE, 2, needs_start=True)


def test_the_samples_are_of_generators_that_no_network_trains_on(examples: list[Example]) -> None:
    assert {one.sample.generator for one in examples} <= set(HELD_OUT)
    assert not set(HELD_OUT) & {name for name, _ in RECIPE.generators}


def test_the_truth_plus_a_constant_has_no_error_and_half_of_it_half_the_slope(examples: list[Example]) -> None:
    truth = [one.sample.susceptibility for one in examples]
    exact = scores([volume + 0.1 for volume in truth], examples)
    assert exact.mean_nrmse == pytest.approx(0.0, abs=1e-3)
    assert exact.mean_slope == pytest.approx(1.0, abs=1e-5)
    half = scores([volume / 2 for volume in truth], examples)
    assert (half.mean_nrmse, half.typical_nrmse, half.mean_slope) == pytest.approx((50.0, 50.0, 0.5), rel=1e-4)


def test_the_typical_error_is_the_geometric_mean() -> None:
    found = Scores((10.0, 40.0), (1.0, 1.0))
    assert (found.mean_nrmse, found.typical_nrmse) == pytest.approx((25.0, 20.0))
    assert found.share_better_than(Scores((11.0, 39.0), (1.0, 1.0))) == 0.5


def test_classical_methods_score_as_they_do_on_the_sample_itself(examples: list[Example]) -> None:
    settings = WeightedTvSettings()
    maps = []
    for drawn in (one.sample for one in examples):
        images = drawn.magnitude, drawn.field_noise
        maps.append(weighted_total_variation(drawn.local_field, drawn.mask, drawn.grid, settings, *images))
    found = classical_scores(examples, ["weighted_tv"])["weighted_tv"]
    assert found.nrmse == pytest.approx(scores(maps, examples).nrmse, rel=1e-3)


def test_judging_a_network_leaves_it_in_training_and_without_gradients(examples: list[Example]) -> None:
    spec = NETWORKS["lodestone_net"]
    network = spec.make().train()
    maps = network_maps(spec, network, examples, SINGLE)
    assert network.training
    assert all(value.grad is None for value in network.parameters())
    # Untrained, it leaves the start map as it is.
    for found, one in zip(maps, examples, strict=True):
        assert one.start is not None
        torch.testing.assert_close(found, one.start[-1])


def test_an_untouched_start_map_has_a_mean_absolute_error_of_one(examples: list[Example]) -> None:
    wanted = wanted_of(examples)
    error = torch.stack([one.start[-1] for one in examples if one.start is not None]) - wanted.susceptibility
    for found, unit, mask in zip(error, wanted.unit.flatten(), wanted.mask.bool(), strict=True):
        inside = found[mask]
        assert float((inside - inside.mean()).abs().mean() / unit) == pytest.approx(1.0, rel=1e-4)


def test_without_a_start_map_the_unit_is_that_of_the_training_material(examples: list[Example]) -> None:
    units = wanted_of([Example(one.sample) for one in examples]).unit
    assert units.flatten().tolist() == pytest.approx([0.045, 0.045])
