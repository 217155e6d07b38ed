"""Networks and classical methods are judged on the same trials, however many processes compute."""

import time
from multiprocessing import active_children
from pathlib import Path

import pytest
import torch

from pipeline.errors import UnknownMethod
from pipeline.method import LEARNED_MAP_USED
from pipeline.networks.table import NETWORKS
from pipeline.networks.weights import store_weights
from pipeline.training import evaluation
from pipeline.training.calibration import CalibrationSize, calibrate
from pipeline.training.datasets.recipe import DataRecipe
from pipeline.training.datasets.stream import sample
from pipeline.training.evaluation import COVERED, FLAGGED, TWIN, UNGATED, Wanted, evaluate, judged
from pipeline.training.evaluation_axes import CENTRE, AxisPlan, Level
from pipeline.training.evaluation_cost import cost_table
from pipeline.training.evaluation_maps import example_maps
from pipeline.training.evaluation_results import AFTER, BEFORE, DEFAULT, METRICS, TUNED_WEIGHT, Result, scored
from pipeline.training.evaluation_trials import COMPOSITE, Amount, Plan, Trial, random_regions
from pipeline.training.evaluation_tuning import classical_map
from pipeline.training.evaluation_workers import computed

PLAN = Plan(COMPOSITE, "report", 0)


def small_trial(plan: object = PLAN, seed: int = 5) -> Trial:
    drawn = sample(DataRecipe(shape=(20, 20, 20)), seed, 0)
    labels, names = random_regions(drawn.mask, 0)
    arrays = (drawn.local_field, drawn.field_noise, drawn.mask, drawn.susceptibility, drawn.magnitude[None])
    return Trial(*arrays, drawn.grid, labels, names)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        store_weights("lodestone_net", NETWORKS["lodestone_net"].make().state_dict(), tmp_path)
    return tmp_path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "make_trial", small_trial)
    monkeypatch.setattr(evaluation, "classical_methods", lambda: ("tkd", "medi_0"))
    monkeypatch.setattr(evaluation, "tuned_multiple", lambda generator, name: 2.0)


def test_a_perfect_map_has_no_error_and_its_regions_lie_on_a_line() -> None:
    trial = small_trial()
    scores, regions = scored(trial, trial.susceptibility + 0.1)
    assert set(scores) == set(METRICS)
    assert scores["nrmse"] == pytest.approx(0, abs=1e-4)
    assert scores["xsim"] == pytest.approx(1)
    assert scores["region_slope"] == pytest.approx(1, abs=1e-4)
    assert len(regions) > 3


def test_classical_methods_stand_at_both_weights_and_networks_with_and_without_refinement(small, weights: Path) -> None:
    results = judged(Wanted(("lodestone_net", "xqsm"), weights_folder=weights), PLAN)
    assert [(result.method, result.variant) for result in results] == [
        ("tkd", DEFAULT),
        ("tkd", TUNED_WEIGHT),
        ("medi_0", DEFAULT),
        ("medi_0", TUNED_WEIGHT),
        ("lodestone_net", DEFAULT),
        (UNGATED, DEFAULT),
        (TWIN, DEFAULT),
        ("lodestone_net", BEFORE),
        ("lodestone_net", AFTER),
    ]
    tkd, tuned = results[:2]
    assert tuned.multiple == 2.0
    assert tkd.scores["nrmse"] != tuned.scores["nrmse"]
    assert results[8].scores["residual"] <= results[7].scores["residual"] * 1.001
    assert {result.trial for result in results} == {"composite 0"}


def test_our_own_network_is_judged_with_its_gates_and_without(small, weights: Path) -> None:
    size = CalibrationSize(edge=24, n_usual=24, n_threshold=4, n_trained=2, n_held_out=2, seeds=(), regions_per_map=4)
    calibrate("lodestone_net", weights, size)
    wanted = Wanted(("lodestone_net",), has_classical=False, weights_folder=weights)
    gated, ungated, twin = judged(wanted, PLAN)[:3]
    assert [result.method for result in (gated, ungated, twin)] == ["lodestone_net", UNGATED, TWIN]
    is_learned = gated.scores[LEARNED_MAP_USED]
    assert gated.scores["nrmse"] == pytest.approx((ungated if is_learned else twin).scores["nrmse"], rel=1e-3)
    assert 0 <= gated.scores[COVERED] <= 1
    assert FLAGGED in gated.scores
    assert LEARNED_MAP_USED not in ungated.scores


def test_without_a_calibration_the_gated_map_is_refused_with_the_command_that_makes_it(small, weights: Path) -> None:
    wanted = Wanted(("lodestone_net",), has_classical=False, weights_folder=weights)
    gated, ungated = judged(wanted, PLAN)[:2]
    assert "lodestone evaluate lodestone_net --calibrate" in gated.remark
    assert ungated.scores


def test_a_refusal_is_a_remark_and_not_an_end(small, weights: Path) -> None:
    refused = [result for result in judged(Wanted((), weights_folder=weights), PLAN) if result.method == "medi_0"]
    assert all(result.remark and not result.scores for result in refused)


def test_a_slow_network_is_computed_on_every_nth_trial_only(small, weights: Path, monkeypatch) -> None:
    monkeypatch.setattr(evaluation, "SLOW_NETWORKS", frozenset({"lodestone_net"}))
    wanted = Wanted(("lodestone_net",), has_classical=False, amount=Amount(slow_every=2), weights_folder=weights)
    found = [len(judged(wanted, Plan(COMPOSITE, "report", index))) for index in (0, 1)]
    assert found == [5, 0]


def test_levels_of_an_axis_are_told_apart(small, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = (CENTRE, Level(tilt_deg=40.0))
    monkeypatch.setattr(evaluation, "axis_trials", lambda plan: ((level, small_trial()) for level in levels))
    monkeypatch.setattr(evaluation, "AXIS_METHODS", ("tkd",))
    results = judged(Wanted((), weights_folder=weights), AxisPlan(COMPOSITE, "report", 1000))
    assert [(result.method, result.level) for result in results] == [("tkd", level) for level in levels]


def test_results_stand_in_the_order_of_the_trials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(evaluation, "judged", lambda wanted, piece: [Result("m", DEFAULT, piece.generator, piece.name)])
    told: list[str] = []
    amount = Amount(patches=2, scans={}, axis_patches=1, axis_heads=0)
    results = evaluate(Wanted((), amount=amount, weights_folder=tmp_path), 1, told.append)
    assert [result.trial for result in results] == ["composite 0", "composite 1", *told[:1]]
    assert sorted(told) == sorted(result.trial for result in results)


def test_processes_make_the_same_of_every_piece_as_this_one() -> None:
    # A builtin, which a new process knows without loading this file.
    alone = dict(computed(abs, [-1, 2, -3], 1))
    assert dict(computed(abs, [-1, 2, -3], 2)) == alone == {0: 1, 1: 2, 2: 3}


def test_who_stops_the_program_waits_for_no_piece_of_work() -> None:
    began = time.monotonic()
    pieces = computed(time.sleep, [0.0, 600.0], 2)
    assert next(pieces) == (0, None)
    with pytest.raises(KeyboardInterrupt):
        pieces.throw(KeyboardInterrupt())
    while active_children():
        assert time.monotonic() - began < 300
    assert time.monotonic() - began < 300


def test_an_unknown_network_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownMethod, match="lodestone_net"):
        Wanted(("lodestone_met",))


def test_example_maps_hold_the_truth_and_every_method(monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    monkeypatch.setattr("pipeline.training.evaluation_maps.make_trial", small_trial)
    examples = example_maps(Wanted(("lodestone_net",), weights_folder=weights), PLAN, ("tkd",), ("lodestone_net",))
    trial = small_trial()
    assert len(examples.maps) == 2
    assert all(found.shape == examples.truth.shape == (20, 20) for found in examples.maps.values())
    tkd = next(found for name, found in examples.maps.items() if name.startswith("tkd"))
    assert torch.isfinite(tkd).all()
    assert float(examples.truth.abs().sum()) == pytest.approx(
        float((trial.susceptibility * trial.mask).abs().sum((1, 2)).max()), rel=0.5
    )
    assert classical_map(trial, "tkd").shape == trial.mask.shape


def test_costs_count_parameters_and_time_a_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.training.evaluation_cost.SMALL", (16, 16, 16))
    row = cost_table(("lpcnn",), has_large=False).rows[0]
    assert row[:4] == ("lpcnn", 0.446, "0.47", 0.9)
    assert isinstance(row[4], float)
    assert row[4] > 0
    assert row[5] is None
