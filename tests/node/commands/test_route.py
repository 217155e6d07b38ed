"""`lodestone route` explains in words which rule takes a series and why the others do not."""

import json
import sys
from pathlib import Path

import pytest

from node.cli import main
from tests.node import scans

RULES = """
[[peers]]
name = "PACS"
ae_title = "PACS"
host = "127.0.0.1"
port = 104

[[rules]]
name = "7 T"
[rules.when]
MagneticFieldStrength = { at_least = 6.5 }
EchoTime = { count_at_least = 2 }
PatientName = { matches = "Research" }

[[rules]]
name = "ward"
priority = "urgent"
destinations = ["PACS"]
[rules.when]
MagneticFieldStrength = { equals = 3 }

[[rules]]
name = "rest"
destinations = ["PACS"]
"""


def run(*words: str) -> int:
    kept, sys.argv = sys.argv, ["lodestone", "route", *words]
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        sys.argv = kept
    return 0


@pytest.fixture
def site(tmp_path: Path) -> tuple[Path, list[Path]]:
    """Return node.toml, and the files of a scan."""
    (tmp_path / "node.toml").write_text(RULES)
    images = scans.instances()
    for image in images:
        image.PatientName = "Doe^Jane"
    return tmp_path / "node.toml", scans.write(tmp_path / "scan", images)


def test_every_condition_is_explained_with_the_value_it_met(site, capsys: pytest.CaptureFixture) -> None:
    config, paths = site
    assert run(*map(str, paths), "-c", str(config)) == 0
    told = capsys.readouterr().out
    assert "7 T: does not want it: 2 of 3 conditions not fulfilled" in told
    assert "fails: MagneticFieldStrength is 3; it must be at least 6.5" in told
    assert "holds: EchoTime is 6, 18; it must be at least 2 values" in told
    assert "holds: MagneticFieldStrength is 3; it must be 3" in told
    assert "rest: wants it (it asks for nothing), but an earlier rule has decided" in told
    assert "→ Rule 'ward': recipe default, urgent, encoding classic, sent to PACS." in told


def test_what_names_the_patient_is_not_shown(site, capsys: pytest.CaptureFixture) -> None:
    config, paths = site
    assert run(str(paths[0]), "-c", str(config)) == 0
    told = capsys.readouterr().out
    assert "PatientName is there (not shown" in told
    assert "Doe" not in told


def test_the_same_is_told_as_json(site, capsys: pytest.CaptureFixture) -> None:
    config, paths = site
    assert run(str(paths[0].parent), "-c", str(config), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    (series,) = told["series"]
    assert (told["match"], series["n_files"], series["choice"]["rules"]) == ("first", len(paths), ["ward"])
    assert [rule["wants"] for rule in series["rules"]] == [False, True, True]


def test_with_all_rules_one_map_goes_everywhere_and_none_decides_alone(site, capsys: pytest.CaptureFixture) -> None:
    config, paths = site
    config.write_text('[routing]\nmatch = "all"\n' + RULES)
    assert run(*map(str, paths), "-c", str(config)) == 0
    told = capsys.readouterr().out
    assert "earlier rule" not in told
    assert "Rule 'ward + rest': recipe default, urgent" in told


def test_two_recipes_are_told_as_two_maps(site, capsys: pytest.CaptureFixture) -> None:
    config, paths = site
    study = '[[rules]]\nname = "study"\nrecipe = "v_sharp_tv"\n'
    config.write_text('[routing]\nmatch = "all"\n' + RULES + study)
    assert run(*map(str, paths), "-c", str(config)) == 0
    told = capsys.readouterr().out
    assert "→ Rule 'ward + rest': recipe default, urgent, encoding classic, sent to PACS." in told
    assert "→ Rule 'study': recipe v_sharp_tv, routine, encoding classic, sent to nobody" in told
    assert run(*map(str, paths), "-c", str(config), "--json") == 0
    (series,) = json.loads(capsys.readouterr().out)["series"]
    assert [series["choice"]["recipe"], *(one["recipe"] for one in series["further"])] == ["default", "v_sharp_tv"]


def test_a_report_is_said_to_be_ignored_on_purpose(site, data_dir: Path, capsys: pytest.CaptureFixture) -> None:
    config, _ = site
    folder = data_dir / "siemens_prisma_xa30_enhanced_fieldmap"
    assert run(str(folder), "-c", str(config)) == 0
    told = capsys.readouterr().out
    assert "Not mapped. Ignored on purpose, because it holds no MR images" in told
    assert "Not mapped. Ignored on purpose, because no rule wants it" not in told


def test_a_file_that_is_no_dicom_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "notes.txt").write_text("nothing to read")
    assert run(str(tmp_path / "notes.txt")) == 1
    assert "notes.txt" in capsys.readouterr().err
