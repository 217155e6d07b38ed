"""`lodestone process --recipe learned` writes the network's map with all that speaks for and against it, or refuses."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from pipeline.networks.weights import weights_digest
from pipeline.recipe import builtin_recipe_text
from tests.node import scans
from tests.node.commands.test_process import run
from tests.pipeline.learned_stub import (
    FAILED,
    FELL_BACK,
    NAME,
    PASSED,
    SPREAD_PPM,
    folder_with_weights,
    use_stub,
    use_weights_of,
)


@pytest.fixture(scope="module")
def scan_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the ball as DICOM, a label map and a quick recipe with a network."""
    folder = tmp_path_factory.mktemp("scan")
    taken = scans.scan()
    scans.write(folder / "dicom", scans.instances(taken=taken))
    labels = np.zeros(scans.SHAPE, dtype=np.uint8)
    labels[6:10, 14:18, 14:18] = 1
    nibabel.save(nibabel.Nifti1Image(labels.T, taken.geometry.affine_ras), folder / "labels.nii.gz")
    (folder / "names.json").write_text('{"1": "core"}')
    quick = builtin_recipe_text("learned").replace('method = "robust"', 'method = "v_sharp"')
    (folder / "quick.toml").write_text(quick)
    return folder


def process(folder: Path, out: Path) -> int:
    words = ["--label-map", folder / "labels.nii.gz", "--label-names", folder / "names.json"]
    return run("process", *map(str, (folder / "dicom", "--recipe", folder / "quick.toml", "--out", out, *words)))


def values(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj)


def test_a_learned_map_comes_with_its_twin_spread_cone_part_and_the_comparison(
    scan_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = use_stub(monkeypatch, tmp_path / "weights", PASSED)
    out = tmp_path / "out"
    assert process(scan_folder, out) == 0
    printed = " ".join(capsys.readouterr().out.split())
    learned, twin = (values(out / f"{name}.nii.gz") for name in ("susceptibility", "classical_susceptibility"))
    np.testing.assert_allclose(twin, 0.9 * learned, atol=1e-6)
    assert values(out / "susceptibility_spread.nii.gz").max() == np.float32(SPREAD_PPM)
    assert (out / "cone_part.nii.gz").is_file()
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["susceptibility_source"], summary["weights"]) == ("learned", {NAME: digest})
    assert summary["findings"][0]["sentence"] == PASSED.sentence
    core = next(region for region in summary["regions"] if region["name"] == "core")
    assert core["classical_mean_ppb"] == pytest.approx(0.9 * core["mean_ppb"], abs=0.02)
    assert core["difference_ppb"] == pytest.approx(core["mean_ppb"] - core["classical_mean_ppb"], abs=0.02)
    assert core["half_width_ppb"] == pytest.approx(1000 * SPREAD_PPM)
    assert 0 <= core["cone_share_percent"] <= 100
    kinds = {entry["kind"] for entry in summary["files"]}
    assert {"DICOM susceptibility", "DICOM classical", "NIfTI classical_susceptibility"} <= kinds
    images = [pydicom.dcmread(path) for path in sorted((out / "dicom").glob("*.dcm"))]
    made = {kind for kind in kinds if kind.startswith("DICOM")}
    assert {"DICOM uncertainty", "DICOM comparison", "DICOM planar_report", "DICOM summary"} <= made
    assert len({image.SeriesInstanceUID for image in images}) == len(made)
    assert (out / "summary.pdf").read_bytes().startswith(b"%PDF-")
    page = (out / "summary.html").read_text()
    assert digest in page
    assert f"{core['difference_ppb']:.1f}" in page
    assert digest in next(image for image in images if image.Modality == "MR").DerivationDescription
    for words in ("map learned", PASSED.sentence, "classical [ppb]", digest[:16]):
        assert words in printed


def test_a_failed_check_gives_the_classical_map_and_says_why(
    scan_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_stub(monkeypatch, tmp_path / "weights", FAILED, FELL_BACK)
    assert process(scan_folder, tmp_path / "out") == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["susceptibility_source"] == "classical"
    assert FAILED.sentence in summary["warnings"]
    assert FAILED.sentence in " ".join(capsys.readouterr().out.split())
    assert not list((tmp_path / "out" / "dicom").glob("classical-*.dcm"))
    image = pydicom.dcmread(tmp_path / "out" / "dicom" / "susceptibility-0001.dcm")
    assert FAILED.sentence in image.ImageComments


def test_altered_weights_are_refused_by_class_with_the_command_and_nothing_is_written(
    scan_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = folder_with_weights(tmp_path / "weights")
    assert weights_digest(NAME, weights)
    (weights / f"{NAME}.safetensors").write_bytes(b"something else")
    use_weights_of(monkeypatch, weights)
    assert process(scan_folder, tmp_path / "out") == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "WeightsAltered" in told
    assert f"{NAME}.safetensors" in told
    assert "git checkout -- " in told
    assert {path.name for path in (tmp_path / "out").rglob("*")} <= {"summary.json"}
