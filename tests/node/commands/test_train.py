"""`lodestone train` trains, stops with a checkpoint, goes on, exports, and refuses what it cannot do."""

import json
import signal
import sys
from pathlib import Path

import pytest
import torch
from matplotlib.image import imread

from node.cli import main
from node.commands.train import CURVES, Stop, TrainingDisplay
from node.commands.train_figure import draw_curves
from pipeline.networks.weights import load_network
from pipeline.training.checkpoints import FILE

TINY = ("--batch", "1", "--patch", "16", "--workers", "0", "--validation-samples", "1", "--device", "cpu")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["lodestone", "train", *map(str, words)])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_a_training_stopped_by_a_signal_goes_on_and_is_exported(tmp_path: Path, monkeypatch, capsys) -> None:
    told = TrainingDisplay.step

    def signalled(display: TrainingDisplay, step: int, progress: float, loss: float) -> None:
        told(display, step, progress, loss)
        if step == 2:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(TrainingDisplay, "step", signalled)
    words = ("lodestone_net", *TINY, "--out", tmp_path, "--steps", 4, "--json")
    assert run(monkeypatch, *words, "--export", "--weights", tmp_path / "w") == 130
    stopped = json.loads(capsys.readouterr().out)
    assert (stopped["reason"], stopped["steps"], "weights" in stopped) == ("interrupted", 2, False)
    assert (tmp_path / FILE).is_file()

    assert run(monkeypatch, *words, "--resume", "--export", "--weights", tmp_path / "w") == 0
    ended = json.loads(capsys.readouterr().out)
    assert (ended["reason"], ended["steps"], ended["undertrained"]) == ("steps", 4, True)
    assert imread(tmp_path / CURVES).ndim == 3
    assert load_network("lodestone_net", folder=tmp_path / "w").first.weight.shape[0] > 1
    assert "undertrained" in Path(ended["card"]).read_text()


def test_a_second_training_into_the_same_folder_is_refused(tmp_path: Path, monkeypatch, capsys) -> None:
    words = ("lodestone_net", *TINY, "--out", tmp_path, "--steps", 1)
    assert run(monkeypatch, *words) == 0
    assert "1 steps" in capsys.readouterr().out
    assert run(monkeypatch, *words) == 1
    assert "Add --resume" in capsys.readouterr().err


def test_an_unknown_network_is_refused_with_the_nearest(monkeypatch, capsys) -> None:
    assert run(monkeypatch, "xqms") == 1
    assert "did you mean 'xqsm'?" in capsys.readouterr().err


def test_the_preview_is_drawn_without_training(tmp_path: Path, monkeypatch, capsys) -> None:
    path = tmp_path / "new" / "samples.png"
    assert run(monkeypatch, "xqsm", "--patch", 16, "--preview", path) == 0
    assert imread(path).std() > 0.05
    assert list(tmp_path.iterdir()) == [tmp_path / "new"]


def test_a_second_signal_finds_the_former_handler() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        with Stop() as stop:
            assert not stop.is_wanted()
            signal.raise_signal(signal.SIGINT)
            assert stop.is_wanted()
            assert not heard
            signal.raise_signal(signal.SIGINT)
            assert heard == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_curves_without_a_start_map_and_without_any_row_are_drawn(tmp_path: Path) -> None:
    row = {"step": 1.0, "nrmse": 40.0, "typical_nrmse": 38.0, "loss": 0.5, "rate": 1e-3}
    for history in ([], [row], [row, {**row, "step": 2.0, "start_nrmse": 44.0}]):
        draw_curves("xqsm", history, tmp_path / "curves.png")
        assert imread(tmp_path / "curves.png").shape[0] > 100
        assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]
