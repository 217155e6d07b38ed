"""`lodestone bench` prints its tables, writes its picture and refuses a wrong name with the right one."""

import json
import sys
from pathlib import Path

import pytest

from node.cli import main
from node.commands import bench_accuracy, bench_speed
from node.commands.bench_progress import figure, without_nan
from pipeline.simulation.scanner import Protocol
from pipeline.studies.cases import ECHO_TIMES_S, make_case

TINY = Protocol((30, 40, 34), (5.0, 5.0, 5.0), ECHO_TIMES_S, snr=80.0, finest_mm=2.5)


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lodestone", "bench", *words])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.fixture(scope="module")
def tiny_case():
    return make_case("piecewise_smooth", 3, "tiny", TINY)


@pytest.fixture
def tiny_scans(tiny_case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every head and scan be the tiny one; building heads is tested elsewhere."""
    monkeypatch.setattr(bench_accuracy, "make_case", lambda *asked: tiny_case)


def test_accuracy_prints_mean_and_worst_of_each_chosen_method(tiny_scans, monkeypatch, capsys) -> None:
    words = ("accuracy", "--quick", "--family", "piecewise_smooth", "--threads", "1")
    assert run(monkeypatch, *words, "--step", "referencing", "--step", "dipole_inversion", "--method", "tkd") == 0
    text = capsys.readouterr().out
    assert "dipole inversion" in text
    assert "tkd" in text
    assert "mean (worst)" in text
    assert "whole_brain" not in text
    assert "1 scan of heads of the report seeds" in text


def test_accuracy_as_json_is_json_alone_without_numbers_that_json_lacks(tiny_scans, monkeypatch, capsys) -> None:
    words = ("accuracy", "--quick", "--family", "piecewise_smooth", "--seeds", "tuning", "--json", "--threads", "1")
    assert run(monkeypatch, *words, "--method", "tkd") == 0
    document = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert document["seeds"] == "tuning"
    (summary,) = document["summary"]
    assert (summary["step"], summary["method"], summary["n_cases"]) == ("dipole_inversion", "tkd", 1)
    assert summary["mean"]["nrmse"] > 0
    assert summary["mean"]["calcification_moment_error"] is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--step", "dipole_inversio"), "did you mean 'dipole_inversion'"),
        (("--method", "tdk"), "did you mean 'tkd'"),
        (("--family", "texturd"), "did you mean 'textured'"),
        (("--step", "referencing", "--method", "tkd"), "None of the steps"),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest_right_one(words, sentence: str, monkeypatch, capsys) -> None:
    assert run(monkeypatch, "accuracy", "--quick", *words) == 1
    assert sentence in capsys.readouterr().err


def test_unknown_seeds_are_a_mistake_of_usage(monkeypatch, capsys) -> None:
    assert run(monkeypatch, "accuracy", "--seeds", "lucky") == 2


def test_speed_prints_pairs_and_memory_and_draws_the_growth(tiny_case, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(bench_speed, "timing_case", lambda protocol: tiny_case)
    picture = tmp_path / "plots" / "growth.png"
    words = ("speed", "--quick", "--no-gpu", "--threads", "1", "--scaling", str(picture))
    assert run(monkeypatch, *words, "--step", "dipole_inversion", "--method", "tkd") == 0
    text = capsys.readouterr().out
    assert "FFT pairs" in text
    assert "tkd" in text
    assert "seconds per iteration" in text
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_numbers_are_shown_in_the_digits_that_matter() -> None:
    assert [figure(value) for value in (1234.5, 56.78, 0.12345, float("nan"))] == ["1234", "56.8", "0.123", "–"]
    assert without_nan({"a": [float("nan"), (1.0, float("inf"))]}) == {"a": [None, [1.0, None]]}
