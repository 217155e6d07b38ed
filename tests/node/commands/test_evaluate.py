"""`lodestone evaluate` prints tables, writes them with pictures, says what has no weights, and refuses wrong names."""

import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from matplotlib.image import imread

from node.cli import main
from node.commands import evaluate_run
from pipeline.networks.table import NETWORKS
from pipeline.networks.weights import store_weights
from pipeline.studies.table import EvaluationTable
from pipeline.susceptibility.dipole_inversion.learned.trust_calibration import load_calibration
from pipeline.training import evaluation, evaluation_maps
from pipeline.training.calibration import CalibrationSize, calibrate
from pipeline.training.datasets.recipe import DataRecipe
from pipeline.training.datasets.stream import sample
from pipeline.training.evaluation_axes import CENTRE, AxisPlan, Level
from pipeline.training.evaluation_trials import COMPOSITE, Amount, Plan, Trial, random_regions

ALONE = ("--threads", "1")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        store_weights("lodestone_net", NETWORKS["lodestone_net"].make().state_dict(), folder)
    return folder


def small_trial(plan: Plan) -> Trial:
    drawn = sample(DataRecipe(shape=(16, 16, 16)), 5, plan.index)
    labels, names = random_regions(drawn.mask, 0)
    arrays = (drawn.local_field, drawn.field_noise, drawn.mask, drawn.susceptibility, drawn.magnitude[None])
    return Trial(*arrays, drawn.grid, labels, names)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let trials be few and tiny; making real ones is tested elsewhere."""
    amount = Amount(patches=2, scans={}, axis_patches=1, axis_heads=0)
    monkeypatch.setattr(evaluate_run, "QUICK", amount)
    monkeypatch.setattr(evaluation, "make_trial", small_trial)
    monkeypatch.setattr(evaluation_maps, "make_trial", small_trial)
    monkeypatch.setattr(evaluation, "classical_methods", lambda: ("tkd", "l2"))
    monkeypatch.setattr(evaluation, "AXIS_METHODS", ("tkd",))
    monkeypatch.setattr("pipeline.training.evaluation_cost.SMALL", (16, 16, 16))

    def levels(plan: AxisPlan) -> Iterator[tuple[Level, Trial]]:
        trial = small_trial(Plan(COMPOSITE, "report", plan.index))
        yield CENTRE, trial
        yield Level(tilt_deg=40.0), replace(trial, grid=replace(trial.grid, b0_direction=(0.6, 0.8, 0.0)))

    monkeypatch.setattr(evaluation, "axis_trials", levels)


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["lodestone", "evaluate", *map(str, words)])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_tables_are_printed_and_written_with_pictures(
    small, weights: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    words = ("lodestone_net", "lpcnn", "--quick", "--weights", weights, "--out", tmp_path, *ALONE)
    assert run(monkeypatch, *words) == 0
    printed = capsys.readouterr().out
    for heading in (
        "composite: mean over samples",
        "over that of the best tuned",
        "tilt, patches",
        "What must be reached",
    ):
        assert heading in printed
    assert "lpcnn: no weights; train it with `lodestone train lpcnn --export`." in printed
    assert (tmp_path / "tables.txt").read_text() in printed
    assert imread(tmp_path / "composite.png").ndim == 3
    assert imread(tmp_path / "maps-composite.png").ndim == 3
    rows = list(csv.DictReader((tmp_path / "01-composite.csv").read_text().splitlines()))
    assert {row["method"] for row in rows} >= {"tkd", "l2", "classical twin", "lodestone_net", "lpcnn"}
    document = json.loads((tmp_path / "evaluation.json").read_text())
    assert document["seeds"] == "report"
    assert {result["trial"] for result in document["results"]} >= {"composite 0", "composite 1"}
    assert not list(tmp_path.glob("*.part*"))


def test_json_goes_alone_to_standard_output(small, weights: Path, monkeypatch, capsys) -> None:
    words = ("lodestone_net", "--quick", "--no-classical", "--weights", weights, "--json", *ALONE)
    assert run(monkeypatch, *words) == 0
    tables = {table["title"]: table for table in json.loads(capsys.readouterr().out)["tables"]}
    rows = tables["composite: mean over samples [95 % interval]"]["rows"]
    assert {row[0] for row in rows} == {"lodestone_net", "lodestone_net without gates", "classical twin"}
    assert rows[0][3]["value"] > 0


def test_calibration_is_stored_beside_the_weights_and_told(weights: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    for path in weights.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    size = CalibrationSize(edge=24, n_usual=24, n_threshold=4, n_trained=2, n_held_out=2, seeds=(), regions_per_map=4)

    def quickly(name: str, folder: Path, on_progress):
        return calibrate(name, folder, size, 1, on_progress)

    monkeypatch.setattr(evaluate_run, "calibrate", quickly)
    assert run(monkeypatch, "lodestone_net", "--calibrate", "--weights", tmp_path, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["sha256"] == load_calibration("lodestone_net", tmp_path).sha256
    assert run(monkeypatch, "xqsm", "--calibrate", "--weights", tmp_path) == 2
    assert "xqsm has no gates" in capsys.readouterr().err


def test_nobody_is_evaluated_where_no_network_is_named(monkeypatch, capsys) -> None:
    assert run(monkeypatch) == 2
    assert "lodestone_net" in capsys.readouterr().err


def test_a_wrong_name_is_refused_with_the_nearest_right_one(monkeypatch, capsys) -> None:
    assert run(monkeypatch, "lodestone_met", "--quick") == 1
    assert "lodestone_net" in capsys.readouterr().err


def test_wrong_seeds_are_refused(monkeypatch, capsys) -> None:
    assert run(monkeypatch, "lodestone_net", "--seeds", "training") == 2
    assert "report or tuning" in capsys.readouterr().err


def test_altered_weights_are_refused_with_the_command_that_restores_them(
    small, weights: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    for path in weights.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes() + (b"" if path.suffix == ".toml" else b"x"))
    assert run(monkeypatch, "lodestone_net", "--quick", "--no-classical", "--weights", tmp_path, *ALONE) == 1
    assert "lodestone train lodestone_net --export" in capsys.readouterr().err


def test_tuning_prints_the_weights_that_it_found(monkeypatch, capsys) -> None:
    table = EvaluationTable("Best multiples", ("method", "composite"), (("tkd", 1.5),))
    monkeypatch.setattr(evaluate_run, "tuning_tables", lambda n_workers, advance: [table])
    assert run(monkeypatch, "--tune", *ALONE) == 0
    assert table.text() in capsys.readouterr().out


def test_claims_and_structures_stand_alone_or_behind_the_tables(monkeypatch, capsys, tmp_path: Path) -> None:
    asked: list[Path] = []

    def tables_of(title: str):
        def made(folder: Path, *sizes: object, on_progress, **amounts: object) -> list[EvaluationTable]:
            asked.append(folder)
            on_progress(1.0)
            return [EvaluationTable(title, ("figure",), ((1.0,),))]

        return made

    monkeypatch.setattr(evaluate_run, "claims", tables_of("A claim"))
    monkeypatch.setattr(evaluate_run, "removed_structure_tables", tables_of("Lost veins"))
    assert run(monkeypatch, "--claims", "--structures", "--quick", "--weights", tmp_path) == 0
    printed = capsys.readouterr().out
    assert "A claim" in printed
    assert "Lost veins" in printed
    assert asked == [tmp_path, tmp_path]
