"""Every network of the table is a method: with its weights it maps, refined as asked; without them it says so."""

import functools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline.errors import InvalidRecipe, WeightsUnknown
from pipeline.method import Method, StepContext, resolve_settings
from pipeline.networks.table import NETWORKS
from pipeline.networks.weights import is_trained
from pipeline.susceptibility.dipole_inversion.learned import network_methods
from pipeline.susceptibility.dipole_inversion.learned.data_term import DataTerm
from pipeline.susceptibility.dipole_inversion.learned.network_methods import (
    NETWORK_METHODS,
    REFINEMENTS,
    NetworkSettings,
    network_map,
)
from tests.pipeline.susceptibility.dipole_inversion.learned.small_networks import head, random_network, start_maps

BY_NAME = {method.name: method for method in NETWORK_METHODS}
QUICK = NetworkSettings(iterations=3, margin=4, rate=5e-3)


@functools.cache
def artefacts() -> dict[str, Tensor]:
    return {**head().artefacts(), "start": start_maps()}


def mapped(name: str, settings: NetworkSettings, told: list[float] | None = None, **changed: Tensor) -> Tensor:
    context = StepContext(head().grid, on_iteration=None if told is None else told.append)
    return network_map(NETWORKS[name], random_network(name), artefacts() | changed, context, settings)


def misfit(susceptibility: Tensor) -> float:
    given = artefacts()
    term = DataTerm.of(given["local_field"], given["mask"], head().grid, given["field_noise"])
    return term.ratio(term.residual(term.framed(susceptibility)))


def test_every_network_is_a_learned_method_of_its_source() -> None:
    assert list(BY_NAME) == list(dict.fromkeys(BY_NAME))
    assert set(BY_NAME) == set(NETWORKS) - {"lodestone_net"}
    for name, method in BY_NAME.items():
        assert method.learned
        assert method.citation == NETWORKS[name].citation
        assert ("start" in method.optional_inputs) == NETWORKS[name].needs_start


@pytest.mark.parametrize("name", ["lodestone_net", "unet_df"])
@pytest.mark.parametrize("refinement", ["df_qsm", "dll2", "fine"])
def test_every_refinement_lowers_the_misfit_of_a_network(name: str, refinement: str) -> None:
    plain = mapped(name, QUICK)
    told: list[float] = []
    refined = mapped(name, replace(QUICK, refinement=refinement), told)
    assert misfit(refined) < misfit(plain)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)


def test_a_missing_start_map_is_made_by_the_default_inversion() -> None:
    given = {name: values for name, values in artefacts().items() if name != "start"}
    context = StepContext(head().grid)
    spec, network = NETWORKS["lodestone_net"], random_network("lodestone_net")
    made = network_map(spec, network, given, context, QUICK)
    without_edges = network_map(spec, network, {**given, "magnitude": 0 * given["magnitude"] + 1}, context, QUICK)
    assert head().error_percent(made) < 60
    assert not torch.equal(made, without_edges)


def test_the_paper_s_rule_can_be_chosen() -> None:
    ours, paper = (mapped("unet_df", replace(QUICK, refinement="df_qsm", rule=rule)) for rule in ("noise", "paper"))
    # On so small a head the gradient is below the paper's threshold from the start.
    assert torch.equal(paper, mapped("unet_df", QUICK))
    assert not torch.equal(ours, paper)


@pytest.mark.parametrize(
    "method", [method for method in NETWORK_METHODS if not is_trained(method.name)], ids=lambda method: method.name
)
def test_a_network_that_nobody_trained_is_refused_with_the_command(method: Method) -> None:
    with pytest.raises(WeightsUnknown, match=f"lodestone train {method.name} --export"):
        method.apply(artefacts(), StepContext(head().grid), method.settings())


def test_the_method_maps_with_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def stored(name: str, *, device: torch.device) -> torch.nn.Module:
        asked.append((name, device.type))
        return random_network(name)

    monkeypatch.setattr(network_methods, "load_network", stored)
    made = BY_NAME["unet_df"].apply(artefacts(), StepContext(head().grid), QUICK)
    assert asked == [("unet_df", "cpu")]
    assert torch.equal(made["susceptibility"], mapped("unet_df", QUICK))


def test_settings_are_checked_by_name() -> None:
    method = BY_NAME["unet_df"]
    assert method.settings().refinement == "df_qsm"
    assert BY_NAME["xqsm"].settings().refinement == "none"
    assert {resolve_settings(method, {"refinement": kind}, "recipe").refinement for kind in REFINEMENTS} == {
        *REFINEMENTS
    }
    with pytest.raises(InvalidRecipe, match="one of none, df_qsm"):
        resolve_settings(method, {"refinement": "df-qsm"}, "recipe")
