"""`lodestone inspect` says what is in a folder, what would be done with it, and why not, without naming the patient."""

import json
import sys
from pathlib import Path

import pytest
from pydicom import Dataset

from node.cli import main
from tests.node import scans

PATIENT = "Doe^Jane"
STROKE = """
[[peers]]
name = "STROKE"
ae_title = "STROKE"
host = "127.0.0.1"
port = 104

[[rules]]
name = "stroke"
priority = "urgent"
destinations = ["STROKE"]
[rules.when]
EchoTime = { count_at_least = 2 }
"""
SEVEN_TESLA = """
[[rules]]
name = "7 T"
[rules.when]
MagneticFieldStrength = { at_least = 6.5 }
"""


def run(*words: str) -> int:
    kept, sys.argv = sys.argv, ["lodestone", "inspect", *words]
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        sys.argv = kept
    return 0


def named(images: list[Dataset]) -> list[Dataset]:
    for image in images:
        image.PatientName, image.PatientID, image.PatientBirthDate = PATIENT, "SECRET-7", "19700101"
    return images


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a series that can be mapped, and text files beside it."""
    folder = tmp_path_factory.mktemp("study")
    scans.write(folder / "qsm", named(scans.instances()))
    (folder / "notes.txt").write_text("nothing to read")
    return folder


def inspected(folder: Path, capsys: pytest.CaptureFixture, *more: str) -> list[dict]:
    assert run(str(folder), "--json", *more) == 0
    return json.loads(capsys.readouterr().out)["series"]


def test_a_series_that_can_be_mapped_is_told_in_full(study: Path, capsys: pytest.CaptureFixture) -> None:
    (one,) = inspected(study, capsys)
    assert (one["outcome"], one["recipe"], one["priority"]) == ("mapped", "default", "routine")
    assert one["parts"] == {"magnitude": 32, "phase": 32}
    assert one["echo_times_ms"] == [1000 * time for time in scans.ECHO_TIMES_S]
    assert one["grid"]["matrix"] == [32, 32, 16]
    assert one["grid"]["voxel_size_mm"] == [2, 2, 2]
    assert (one["grid"]["plane"], one["grid"]["b0_direction"]) == ("axial", [0, 0, 1])
    assert any("16 slices" in advice for advice in one["advice"])


def test_the_printed_page_says_the_same_and_nothing_of_the_patient(study: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(str(study)) == 0
    captured = capsys.readouterr()
    for words in (
        "can be mapped",
        "2 at 6, 18 ms",
        "32 × 32 × 16 voxels of 2 × 2 × 2 mm, which cover 64 × 64 × 32 mm",
        "axial, not tilted",
        "map by recipe default",
        "Map here: lodestone process",
    ):
        assert words in captured.out
    assert "nobody" not in captured.out
    for secret in ("Doe", "Jane", "SECRET", "1970"):
        assert secret not in captured.out + captured.err
    assert "looking through the files" in captured.err


def test_the_sites_rules_decide_where_they_are_given(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "stroke.toml").write_text(STROKE)
    (tmp_path / "seven.toml").write_text(SEVEN_TESLA)
    (one,) = inspected(study, capsys, "-c", str(tmp_path / "stroke.toml"))
    assert (one["rule"], one["priority"], one["destinations"]) == ("stroke", "urgent", ["STROKE"])
    (one,) = inspected(study, capsys, "-c", str(tmp_path / "seven.toml"))
    assert (one["outcome"], one["reason_class"], one["rule"]) == ("ignored", "NoRuleMatches", "")
    assert "'7 T' asks for another MagneticFieldStrength" in one["reason"]


def test_magnitude_alone_is_refused_with_what_to_change_at_the_scanner(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    magnitude, _ = scans.split(scans.instances())
    scans.write(tmp_path / "study", magnitude)
    (one,) = inspected(tmp_path / "study", capsys)
    assert (one["outcome"], one["reason_class"]) == ("refused", "PhaseMissing")
    assert one["missing"] == ["no phase image has arrived"]
    assert "phase images" in one["advice"][0]
    assert one["grid"]["matrix"] == [32, 32, 16]


def test_a_missing_slice_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    scans.write(tmp_path / "study", scans.instances()[:-1])
    (one,) = inspected(tmp_path / "study", capsys)
    assert one["reason_class"] == "IncompleteSeries"
    assert any("slice" in gap for gap in one["missing"])


def test_what_is_left_aside_is_told_without_a_remedy(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    images = scans.instances()
    for image in images:
        image.ScanningSequence = "SE"
        del image.SeriesDescription
    scans.write(tmp_path / "study", images)
    (one,) = inspected(tmp_path / "study", capsys)
    assert one["outcome"] == "ignored"
    assert one["reason"].endswith("which refocuses the phase of the field.")
    assert one["series"].endswith("(no description)")


def test_one_file_is_told_by_itself(study: Path, capsys: pytest.CaptureFixture) -> None:
    (one,) = inspected(sorted((study / "qsm").iterdir())[0], capsys)
    assert (one["n_files"], one["reason_class"]) == (1, "PhaseMissing")
    assert run(str(study / "notes.txt")) == 1
    assert "notes.txt is no DICOM file" in " ".join(capsys.readouterr().err.split())


def test_an_unreadable_object_is_called_by_its_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "broken.dcm").write_bytes(bytes(128) + b"DICM\x02\0\0\0")
    assert inspected(tmp_path, capsys)[0]["series"] == "broken.dcm (unreadable object)"


def test_repetitions_in_one_series_are_listed_apart(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    images = [*named(scans.instances()), *named(scans.instances(taken=scans.scan(seed=1)))]
    for number, image in enumerate(images):
        repetition = 1 + number // (len(images) // 2)
        image.TemporalPositionIdentifier = repetition
        image.SOPInstanceUID = f"{image.SOPInstanceUID[:60]}.{repetition}"
    scans.write(tmp_path, images)
    found = inspected(tmp_path, capsys)
    assert [one["outcome"] for one in found] == ["mapped", "mapped"]
    assert [one["series"].rpartition(", ")[2] for one in found] == ["repetition 1 of 2", "repetition 2 of 2"]
    assert [one["n_files"] for one in found] == [len(images) // 2] * 2


def test_an_acquisition_of_several_series_is_called_by_all_their_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    magnitude, phase = scans.split(named(scans.instances()))
    for number, half in ((8, magnitude), (9, phase)):
        for image in half:
            image.SeriesNumber, image.SeriesDescription = number, "gre"
    scans.write(tmp_path, [*magnitude, *phase])
    assert [one["series"] for one in inspected(tmp_path, capsys)] == ["8–9 gre"]


def test_the_magnitude_of_a_field_map_sequence_is_not_told_to_switch_on_phase(
    data_dir: Path, capsys: pytest.CaptureFixture
) -> None:
    (one,) = inspected(data_dir / "siemens_prisma_ve11c_fieldmap_phantom" / "2_magnitude", capsys)
    assert one["reason_class"] == "PhaseMissing"
    assert "field-map sequence" in one["advice"][0]


def test_a_folder_without_dicom_files_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "notes.txt").write_text("nothing to read")
    assert run(str(tmp_path)) == 1
    assert "no DICOM file" in capsys.readouterr().err
