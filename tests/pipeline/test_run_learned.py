"""A learned recipe refuses early without its weights, and its map comes with its twin, findings and digests."""

from pathlib import Path

import pytest
import torch

from pipeline.errors import WeightsAltered, WeightsMissing, WeightsUnknown
from pipeline.maps import CLASSICAL_SUSCEPTIBILITY, CONE_PART, SUSCEPTIBILITY_SPREAD
from pipeline.method import Finding
from pipeline.recipe import Recipe, builtin_recipe, builtin_recipe_text, parse_recipe
from pipeline.run import run
from pipeline.simulation.phantom import adult_head
from pipeline.simulation.scanner import SMALL, acquire
from tests.pipeline.learned_stub import FAILED, FELL_BACK, NAME, PASSED, folder_with_weights, use_stub, use_weights_of

RECIPE = parse_recipe(builtin_recipe_text("learned").replace('method = "robust"', 'method = "v_sharp"'))


def refused(monkeypatch: pytest.MonkeyPatch, folder: Path, recipe: Recipe = RECIPE) -> str:
    told: list[str] = []
    use_weights_of(monkeypatch, folder)
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


def test_weights_without_their_calibration_are_refused_before_any_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sentence = refused(monkeypatch, folder_with_weights(tmp_path))
    assert sentence.startswith("WeightsMissing: ")
    assert f"lodestone evaluate {NAME} --calibrate" in sentence


def test_the_learned_recipe_is_the_default_one_in_two_steps() -> None:
    learned, default = builtin_recipe("learned"), builtin_recipe("default")
    assert learned.networks == (NAME,)
    assert default.networks == ()
    shared = [step for step in default.steps if step != "total_field_inversion"]
    assert [learned.steps[step] for step in shared] == [default.steps[step] for step in shared]
    assert learned.steps["background_field_removal"].method == "robust"


def test_twin_findings_and_digests_come_with_the_map(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    warning = Finding("cone", "Much of the map was never measured.", {"cone_share": 0.4})
    digest = use_stub(monkeypatch, tmp_path, PASSED, warning)
    maps, quality = run(acquire(adult_head(), SMALL).acquisition, RECIPE)
    twin = maps.companions[CLASSICAL_SUSCEPTIBILITY]
    # Both maps have their zero at the mean of the brain, so a constant between them is gone.
    assert torch.allclose(twin, 0.9 * maps.susceptibility, atol=1e-6)
    assert not twin[~maps.mask].any()
    assert {SUSCEPTIBILITY_SPREAD, CONE_PART} <= set(maps.companions)
    assert quality.weights == {NAME: digest}
    assert quality.susceptibility_source == "learned"
    assert quality.figures["cone_share"] == 0.4
    assert warning.sentence in quality.warnings
    assert [finding.name for finding in quality.findings] == ["noise", "cone"]


def test_a_failed_check_leaves_the_classical_map_and_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_stub(monkeypatch, tmp_path, FAILED, FELL_BACK)
    maps, quality = run(acquire(adult_head(), SMALL).acquisition, RECIPE)
    assert quality.susceptibility_source == "classical"
    assert FAILED.sentence in quality.warnings
    assert torch.equal(maps.susceptibility, maps.companions[CLASSICAL_SUSCEPTIBILITY])


def test_a_network_that_says_nothing_of_its_map_is_called_unchecked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_stub(monkeypatch, tmp_path)
    _, quality = run(acquire(adult_head(), SMALL).acquisition, RECIPE)
    assert quality.susceptibility_source == "learned"
    assert any("no check of it was made" in sentence for sentence in quality.warnings)
