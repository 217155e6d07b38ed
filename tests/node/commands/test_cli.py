"""The command line teaches, and fails with one sentence and the right exit code."""

import json
import sys
from pathlib import Path

import pytest

from dicom_io.write.scanners.table import FLAVOURS
from node.cli import app, main
from node.errors import ChildDied
from pipeline.methods import STEPS
from pipeline.networks.cards import NO_WEIGHTS, training_state

COMMANDS = [command.name or command.callback.__name__.rstrip("_") for command in app.registered_commands]


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lodestone", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_commands_help_teaches_by_an_example(command: str, monkeypatch, capsys) -> None:
    assert run(monkeypatch, command, "--help") == 0
    assert f"lodestone {command}" in " ".join(capsys.readouterr().out.split())


def test_no_word_at_all_shows_the_help(monkeypatch, capsys) -> None:
    run(monkeypatch)
    captured = capsys.readouterr()
    assert "lodestone demo" in captured.out + captured.err


@pytest.mark.parametrize(
    "words",
    [
        ("proces",),
        ("init",),
        ("process",),
        ("process", "--phase", "a.nii"),
        ("process", ".", "--phase", "a.nii", "--magnitude", "b.nii"),
        ("process", "--echo-times-s", "--json"),
        ("process", "nowhere"),
        ("init", "site", "--port", "99999"),
        ("step", "dipole_inversion", "--b0-direction", "0", "1"),
        ("demo", "--scanner", "phillips"),
    ],
)
def test_wrong_usage_ends_with_two(words: tuple[str, ...], monkeypatch, capsys) -> None:
    assert run(monkeypatch, *words) == 2


def test_the_demonstration_lists_the_scanners_that_it_can_play(monkeypatch, capsys) -> None:
    assert run(monkeypatch, "demo", "--scanner", "list") == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in FLAVOURS)
    assert run(monkeypatch, "demo", "--scanner", "list", "--json") == 0
    names = [scanner["name"] for scanner in json.loads(capsys.readouterr().out)["scanners"]]
    assert names[1:] == list(FLAVOURS)


def test_a_permanent_failure_ends_with_one_and_a_sentence(tmp_path: Path, monkeypatch, capsys) -> None:
    assert run(monkeypatch, "list", "-c", str(tmp_path / "node.toml"), "--json") == 1

    captured = capsys.readouterr()
    error = json.loads(captured.out)["error"]
    assert (error["class"], error["exit_code"]) == ("InvalidSettings", 1)
    assert captured.err.startswith("InvalidSettings: ")


def test_a_transient_failure_ends_with_seventy_five(tmp_path: Path, monkeypatch, capsys) -> None:
    def fail(*_: object) -> None:
        raise ChildDied("The mapping process was killed.")

    monkeypatch.setattr("node.commands.record.list_series", fail)

    assert run(monkeypatch, "list", "-c", str(tmp_path / "node.toml")) == 75
    assert "The mapping process was killed." in capsys.readouterr().err


def test_a_folder_without_dicom_is_said_so(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "notes.txt").write_text("nothing")

    assert run(monkeypatch, "process", str(tmp_path), "--out", str(tmp_path / "out")) == 1
    assert "no DICOM file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_init_tells_what_is_left_to_do(tmp_path: Path, monkeypatch, capsys) -> None:
    assert run(monkeypatch, "init", str(tmp_path / "site")) == 0

    captured = capsys.readouterr()
    assert "lodestone check" in captured.out
    assert "Nobody may send yet" in captured.err


@pytest.mark.parametrize("words", [("methods",), ("methods", "dipole_inversion"), ("recipes",), ("recipes", "default")])
def test_what_there_is_to_choose_from_is_printed_as_json_too(words: tuple[str, ...], monkeypatch, capsys) -> None:
    assert run(monkeypatch, *words) == 0
    assert capsys.readouterr().out
    assert run(monkeypatch, *words, "--json") == 0
    assert json.loads(capsys.readouterr().out)


def test_the_list_of_methods_tells_everything_about_each(monkeypatch, capsys) -> None:
    assert run(monkeypatch, "methods", "--json") == 0

    known = json.loads(capsys.readouterr().out)
    keys = {"step", "name", "citation", "learned", "devices", "parameters"}
    assert all(keys <= entry.keys() for entry in known)
    (tkd,) = (entry for entry in known if (entry["step"], entry["name"]) == ("dipole_inversion", "tkd"))
    (threshold,) = (parameter for parameter in tkd["parameters"] if parameter["name"] == "threshold")
    assert (threshold["default"], threshold["minimum"], threshold["maximum"]) == (0.15, 0.01, 0.6)
    assert threshold["unit"]
    assert threshold["help"]
    for entry in known:
        assert (entry["training"] is not None) == entry["learned"], entry["name"]
        # What is not said to be trained has no digest, and what has one says how far it is trained.
        assert not entry["learned"] or bool(entry["training"]["sha256"]) == (entry["training"]["state"] != NO_WEIGHTS)


def test_each_network_says_in_the_lists_how_far_it_is_trained(monkeypatch, capsys) -> None:
    assert run(monkeypatch, "methods", "dipole_inversion") == 0
    told = " ".join(capsys.readouterr().out.split())
    for name in STEPS["dipole_inversion"]:
        state = training_state(name).state
        assert not STEPS["dipole_inversion"][name].learned or f"learned {state}" in told
    # Its file would be too large to be kept, so this network never has weights.
    assert "learned no weights; train it: lodestone train qsmnet --export" in told
    assert run(monkeypatch, "recipes") == 0
    assert "Network lodestone_net: " in " ".join(capsys.readouterr().out.split())


def test_a_printed_recipe_is_a_recipe(tmp_path: Path, monkeypatch, capsys) -> None:
    assert run(monkeypatch, "recipes", "default") == 0
    path = tmp_path / "mine.toml"
    path.write_text(capsys.readouterr().out)

    assert run(monkeypatch, "recipes", str(path), "--json") == 0
    mine = json.loads(capsys.readouterr().out)
    assert run(monkeypatch, "recipes", "default", "--json") == 0
    assert mine == json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("methods", "dipole"), "did you mean 'dipole_inversion'"),
        (("recipes", "defualt"), "did you mean 'default'"),
        (("step", "dipole_invertion"), "did you mean 'dipole_inversion'"),
        (("step", "dipole_inversion", "--method", "tkdd"), "did you mean 'tkd'"),
        (("step", "dipole_inversion", "--method", "tkd", "--set", "treshold=1"), "did you mean 'threshold'"),
        (("step", "dipole_inversion", "--method", "tkd"), "--local-field --mask"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_nearest(words: tuple[str, ...], told: str, monkeypatch, capsys) -> None:
    assert run(monkeypatch, *words) == 1
    assert told in capsys.readouterr().err
