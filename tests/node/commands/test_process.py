"""`lodestone process` maps a small scan as DICOM and as NIfTI, and writes everything it says it writes."""

import json
import sys
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from node.cli import main
from node.nifti import sha256_of, write_volume
from tests.node import scans

MAPS = {"susceptibility", "total_field", "local_field", "field_noise", "r2star", "t2star", "mask"}


def run(*words: str) -> int:
    kept, sys.argv = sys.argv, ["lodestone", *words, "--threads", "1"]
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        sys.argv = kept
    return 0


@pytest.fixture(scope="module")
def scan_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the ball as a scanner's DICOM files and, beside them, as NIfTI files."""
    folder = tmp_path_factory.mktemp("scan")
    taken = scans.scan()
    scans.write(folder / "dicom", scans.instances(taken=taken))
    write_volume(folder / "phase.nii.gz", taken.phase, taken.geometry.affine_ras, "phase [rad]")
    write_volume(folder / "magnitude.nii.gz", taken.magnitude, taken.geometry.affine_ras, "magnitude")
    labels = np.zeros(scans.SHAPE)
    labels[6:10, 14:18, 14:18] = 1
    write_volume(folder / "labels.nii.gz", labels, taken.geometry.affine_ras, "labels")
    (folder / "names.json").write_text('{"1": "core"}')
    return folder


@pytest.fixture(scope="module")
def from_dicom(scan_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what `process` made of the DICOM files, with a label map."""
    out = tmp_path_factory.mktemp("dicom") / "out"
    labels = ["--label-map", str(scan_folder / "labels.nii.gz"), "--label-names", str(scan_folder / "names.json")]
    assert run("process", str(scan_folder / "dicom"), "--out", str(out), *labels) == 0
    return out


@pytest.fixture(scope="module")
def from_nifti(scan_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what `process` made of the NIfTI files."""
    out = tmp_path_factory.mktemp("nifti") / "out"
    files = ["--phase", str(scan_folder / "phase.nii.gz"), "--magnitude", str(scan_folder / "magnitude.nii.gz")]
    times = [str(time) for time in scans.ECHO_TIMES_S]
    assert run("process", *files, "--echo-times-s", *times, "--b0-tesla", "3", "--out", str(out)) == 0
    return out


def summary_of(out: Path) -> dict:
    return json.loads((out / "summary.json").read_text())


def values(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj)


def test_every_map_is_written_on_the_sources_grid(from_dicom: Path) -> None:
    assert {path.name.removesuffix(".nii.gz") for path in from_dicom.glob("*.nii.gz")} == MAPS
    for name in MAPS:
        image = nibabel.load(from_dicom / f"{name}.nii.gz")
        assert image.shape == scans.SHAPE[::-1]
        np.testing.assert_allclose(image.affine, scans.geometry().affine_ras, atol=1e-5)
    assert (from_dicom / "contact_sheet.png").stat().st_size > 10_000


def test_the_dicom_map_holds_the_nifti_map_in_ppb(from_dicom: Path) -> None:
    slices = [pydicom.dcmread(path) for path in sorted((from_dicom / "dicom").glob("susceptibility-*.dcm"))]
    slices.sort(key=lambda one: float(one.ImagePositionPatient[2]))

    stored = np.stack([one.pixel_array for one in slices])

    np.testing.assert_array_equal(stored, np.rint(1000.0 * values(from_dicom / "susceptibility.nii.gz").T))


def test_the_summary_lists_every_file_with_its_digest(from_dicom: Path) -> None:
    summary = summary_of(from_dicom)
    listed = {entry["path"]: entry["sha256"] for entry in summary["files"]}

    there = {str(path.relative_to(from_dicom)) for path in from_dicom.rglob("*") if path.is_file()}
    assert set(listed) == there - {"summary.json"}
    assert all(sha256_of(from_dicom / name) == digest for name, digest in listed.items())


def test_the_summary_says_how_and_from_what(from_dicom: Path) -> None:
    summary = summary_of(from_dicom)

    assert summary["recipe"]["name"] == "default"
    assert summary["acquisition"]["echo_times_s"] == list(scans.ECHO_TIMES_S)
    assert len(summary["input"]["files"]) == 2 * 2 * 16
    assert set(summary["recipe"]["steps"]) <= set(summary["seconds"])
    assert summary["quality"]["n_echoes_used"] == 2
    assert {"lodestone", "torch", "code_revision"} <= set(summary["software"])


def test_labelled_regions_are_measured_in_ppb(from_dicom: Path) -> None:
    regions = {region["name"]: region for region in summary_of(from_dicom)["regions"]}

    assert regions["core"]["n_voxels"] == 64
    inside = 1000 * values(from_dicom / "susceptibility.nii.gz")[14:18, 14:18, 6:10]
    assert regions["core"]["mean_ppb"] == pytest.approx(float(inside.mean()), abs=0.1)
    assert regions["core"]["mean_ppb"] > 5


def test_dicom_and_nifti_of_one_scan_give_nearly_one_map(from_dicom: Path, from_nifti: Path) -> None:
    first, second = (values(folder / "susceptibility.nii.gz") for folder in (from_dicom, from_nifti))

    # DICOM rounds the phase to 12 bits.
    assert np.corrcoef(first[first != 0], second[first != 0])[0, 1] > 0.98
    assert not (from_nifti / "dicom").exists()


def test_the_same_input_gives_the_same_objects(scan_folder: Path, from_nifti: Path, tmp_path: Path) -> None:
    mask = from_nifti / "mask.nii.gz"
    runs = []
    for name in ("first", "second"):
        assert run("process", str(scan_folder / "dicom"), "--out", str(tmp_path / name), "--mask", str(mask)) == 0
        files = summary_of(tmp_path / name)["files"]
        runs.append([(entry["path"], entry.get("SOPInstanceUID")) for entry in files])

    assert runs[0] == runs[1]
    np.testing.assert_array_equal(values(tmp_path / "first" / "mask.nii.gz"), values(mask))
    assert sha256_of(tmp_path / "first" / "susceptibility.nii.gz") == sha256_of(
        tmp_path / "second" / "susceptibility.nii.gz"
    )


def test_what_an_earlier_run_wrote_is_removed_and_nothing_else(scan_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "dicom").mkdir()
    (tmp_path / "dicom" / "susceptibility-9999.dcm").write_text("of an earlier run")
    (tmp_path / "notes.txt").write_text("a person's")
    outside = tmp_path.parent / f"{tmp_path.name}-outside.txt"
    outside.write_text("elsewhere")
    listed = [{"path": "dicom/susceptibility-9999.dcm"}, {"path": f"../{outside.name}"}]
    (tmp_path / "summary.json").write_text(json.dumps({"files": listed}))

    assert run("process", str(scan_folder / "dicom"), "--out", str(tmp_path)) == 0

    assert not (tmp_path / "dicom" / "susceptibility-9999.dcm").exists()
    assert (tmp_path / "notes.txt").exists()
    assert outside.exists()


def test_json_is_all_that_standard_output_holds(scan_folder: Path, tmp_path: Path, capsys) -> None:
    assert run("process", str(scan_folder / "dicom"), "--out", str(tmp_path / "out"), "--json") == 0

    captured = capsys.readouterr()
    (acquisition,) = json.loads(captured.out)["acquisitions"]
    assert acquisition["quality"] == summary_of(tmp_path / "out")["quality"]
    assert captured.err == ""


def test_a_missing_slice_is_named_and_nothing_is_mapped(scan_folder: Path, tmp_path: Path, capsys) -> None:
    images = [one for one in scans.instances() if int(one.InstanceNumber) != 40]
    scans.write(tmp_path / "scan", images)

    assert run("process", str(tmp_path / "scan"), "--out", str(tmp_path / "out")) == 1

    assert "IncompleteSeries" in capsys.readouterr().err
    (refused,) = summary_of(tmp_path / "out")["refused"]
    assert "slice" in refused["sentence"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["summary.json"]


def test_one_step_alone_does_what_the_chain_does(from_nifti: Path, tmp_path: Path) -> None:
    words = ["--local-field", str(from_nifti / "local_field.nii.gz"), "--mask", str(from_nifti / "mask.nii.gz")]

    assert run("step", "dipole_inversion", "--method", "tkd", *words, "--out", str(tmp_path)) == 0

    found, chain = values(tmp_path / "chimap.nii.gz"), values(from_nifti / "susceptibility.nii.gz")
    mask = values(from_nifti / "mask.nii.gz") > 0
    assert np.corrcoef(found[mask], chain[mask])[0, 1] > 0.5
    document = json.loads((tmp_path / "step.json").read_text())
    assert document["steps"][0]["method"] == "tkd"
    assert document["inputs"]["mask"][0]["sha256"] == sha256_of(from_nifti / "mask.nii.gz")


@pytest.mark.golden
@pytest.mark.parametrize("folder", ["router_negatives", "direct_fieldmap_traps"])
def test_what_holds_no_phase_of_every_echo_is_refused_with_a_sentence(
    data_dir: Path, folder: str, tmp_path: Path, capsys
) -> None:
    assert run("process", str(data_dir / folder), "--out", str(tmp_path / "out"), "--json") == 1

    told = json.loads(capsys.readouterr().out)
    assert told["acquisitions"] == []
    assert told["refused"]
    assert all(len(one["sentence"].split()) > 5 for one in told["refused"])


@pytest.mark.golden
@pytest.mark.slow
def test_the_romeo_crop_runs(data_dir: Path, tmp_path: Path) -> None:
    folder = data_dir / "nifti_7t_3echo_romeo"
    files = ["--phase", str(folder / "Phase.nii"), "--magnitude", str(folder / "Mag.nii")]

    assert (
        run("process", *files, "--echo-times-s", "0.004", "0.008", "0.012", "--b0-tesla", "7", "--out", str(tmp_path))
        == 0
    )

    found = summary_of(tmp_path)
    assert found["acquisition"]["n_echoes"] == 3
    assert found["quality"]["mask_volume_ml"] > 15
    assert 5 < found["quality"]["susceptibility_sd_ppb"] < 100
