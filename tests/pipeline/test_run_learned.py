"""A learned recipe refuses early without its weights, and its map comes with its twin, findings and digests."""

from functools import partial
from pathlib import Path

import pytest
import torch

import pipeline.run
from pipeline.errors import WeightsAltered, WeightsMissing, WeightsUnknown
from pipeline.maps import CLASSICAL_SUSCEPTIBILITY, CONE_PART, SUSCEPTIBILITY_SPREAD
from pipeline.method import LEARNED_MAP_USED, Finding, Method, NoSettings
from pipeline.methods import STEPS
from pipeline.networks.table import NETWORKS
from pipeline.networks.weights import store_weights, verified_digest, weights_digest
from pipeline.recipe import Recipe, builtin_recipe, builtin_recipe_text, parse_recipe
from pipeline.run import run
from pipeline.simulation.phantom import adult_head
from pipeline.simulation.scanner import SMALL, acquire

NAME = "lodestone_net"
SHIFT_PPM = 0.03
RECIPE = parse_recipe(builtin_recipe_text("learned").replace('method = "robust"', 'method = "v_sharp"'))


def folder_with_weights(tmp_path: Path) -> Path:
    torch.manual_seed(5)
    store_weights(NAME, NETWORKS[NAME].make().state_dict(), tmp_path)
    return tmp_path


def refused(monkeypatch: pytest.MonkeyPatch, folder: Path, recipe: Recipe = RECIPE) -> str:
    told: list[str] = []
    monkeypatch.setattr(pipeline.run, "verified_digest", partial(verified_digest, folder=folder))
    with pytest.raises((WeightsUnknown, WeightsMissing, WeightsAltered)) as refusal:
        run(acquire(adult_head(), SMALL).acquisition, recipe, lambda step, _: told.append(step))
    assert told == []
    return f"{type(refusal.value).__name__}: {refusal.value}"


def test_without_its_weights_a_recipe_is_refused_before_any_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert refused(monkeypatch, tmp_path).startswith("WeightsUnknown: ")
    folder = folder_with_weights(tmp_path)
    path = folder / f"{NAME}.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0\0")
    sentence = refused(monkeypatch, folder)
    assert sentence.startswith("WeightsAltered: ")
    assert "git checkout -- " in sentence
    path.unlink()
    assert refused(monkeypatch, folder).startswith("WeightsMissing: ")


def test_the_learned_recipe_is_the_default_one_in_two_steps() -> None:
    learned, default = builtin_recipe("learned"), builtin_recipe("default")
    assert learned.networks == (NAME,)
    assert default.networks == ()
    shared = [step for step in default.steps if step != "total_field_inversion"]
    assert [learned.steps[step] for step in shared] == [default.steps[step] for step in shared]
    assert learned.steps["background_field_removal"].method == "robust"


def test_twin_findings_and_digests_come_with_the_map(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def invert(artefacts, context, settings):
        made = STEPS["dipole_inversion"]["tkd"].run(artefacts, context, STEPS["dipole_inversion"]["tkd"].settings())
        found, mask = made["susceptibility"], artefacts["mask"]
        context.on_finding(Finding("noise", "The map explains the field.", {LEARNED_MAP_USED: 1.0}, is_warning=False))
        context.on_finding(Finding("cone", "Much of the map was never measured.", {"cone_share": 0.4}))
        return {
            "susceptibility": found,
            CLASSICAL_SUSCEPTIBILITY: torch.where(mask, found + SHIFT_PPM, 0.0),
            SUSCEPTIBILITY_SPREAD: torch.where(mask, 0.01, 0.0),
            CONE_PART: 0.3 * found,
        }

    outputs = ("susceptibility", CLASSICAL_SUSCEPTIBILITY, SUSCEPTIBILITY_SPREAD, CONE_PART)
    stub = Method(NAME, "2026", invert, NoSettings, ("local_field", "mask"), outputs, learned=True)
    monkeypatch.setitem(STEPS["dipole_inversion"], NAME, stub)
    folder = folder_with_weights(tmp_path)
    monkeypatch.setattr(pipeline.run, "verified_digest", partial(verified_digest, folder=folder))
    maps, quality = run(acquire(adult_head(), SMALL).acquisition, RECIPE)
    twin = maps.companions[CLASSICAL_SUSCEPTIBILITY]
    # Both maps have their zero at the mean of the brain, so a constant between them is gone.
    assert torch.allclose(twin, maps.susceptibility, atol=1e-6)
    assert not twin[~maps.mask].any()
    assert {SUSCEPTIBILITY_SPREAD, CONE_PART} <= set(maps.companions)
    assert quality.weights == {NAME: weights_digest(NAME, folder)}
    assert quality.susceptibility_source == "learned"
    assert quality.figures["cone_share"] == 0.4
    assert "Much of the map was never measured." in quality.warnings
    assert [finding.name for finding in quality.findings] == ["noise", "cone"]
