"""Raw data on a desk: a file becomes images to look at, or a sentence that says what it lacks."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from dicom_io.errors import NoiseMissing, RawHeaderUnusable
from dicom_io.kspace.mrd_file import write_file
from dicom_io.kspace.scan import RawScan
from node.cli import app
from node.commands.reconstruct import Wanted, reconstruct_file
from tests.node import scans
from tests.node.raw_streams import raw_ball


def test_a_file_becomes_images_and_a_picture(tmp_path: Path) -> None:
    write_file(tmp_path / "scan.h5", raw_ball())
    command = ["reconstruct", str(tmp_path / "scan.h5"), "--out", str(tmp_path / "out"), "--method", "zero_filled"]
    result = CliRunner().invoke(app, [*command, "--threads", "1", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["reconstruction"]["method"] == "zero_filled"
    assert told["acquisition"]["shape_zyx"] == list(scans.SHAPE)
    magnitude = nibabel.load(tmp_path / "out" / "magnitude.nii.gz").get_fdata().T
    expected = scans.scan().magnitude
    assert np.corrcoef(magnitude.ravel(), expected.ravel())[0, 1] > 0.98
    assert (tmp_path / "out" / "reconstruction.png").stat().st_size > 1000


def test_a_file_without_noise_is_reconstructed_when_asked_for_only(tmp_path: Path) -> None:
    scan = raw_ball()
    write_file(tmp_path / "scan.h5", RawScan(scan.header, scan.heads[16:], scan.samples[16:]))
    wanted = Wanted(tmp_path / "scan.h5", tmp_path / "out", method="zero_filled", threads=1, as_json=True)
    with pytest.raises(NoiseMissing, match="--without-noise"):
        reconstruct_file(wanted)
    reconstruct_file(Wanted(**{**vars(wanted), "without_noise": True}))
    told = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [finding["name"] for finding in told["reconstruction"]["findings"]] == ["no_noise_scan"]


@pytest.mark.golden
def test_a_header_without_a_field_of_view_needs_a_sidecar(tmp_path: Path, data_dir: Path) -> None:
    original = data_dir / "kspace_ismrmrd_sim_mrireco" / "acqDataBrainSim100.h5"
    path = tmp_path / original.name
    path.write_bytes(original.read_bytes())
    wanted = Wanted(path, tmp_path / "out", method="zero_filled", threads=1, as_json=True)
    with pytest.raises(RawHeaderUnusable, match="field of view of 0 x 0 x 0 mm"):
        reconstruct_file(wanted)
    path.with_suffix(".toml").write_text("field_of_view_mm = [220, 220, 5]\nfield_strength_t = 3\necho_times_ms = [10]")
    reconstruct_file(wanted)
    magnitude = nibabel.load(tmp_path / "out" / "magnitude.nii.gz").get_fdata()
    assert magnitude.shape == (256, 256, 1, 1)
    # A head lies in the middle, and nothing around it.
    assert magnitude[96:160, 96:160].mean() > 20 * magnitude[:16, :16].mean()
