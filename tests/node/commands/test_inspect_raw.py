"""Raw data are looked at without computing: what came, what forbids images, what is assumed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dicom_io.kspace.directions import SIEMENS_NOTE
from dicom_io.kspace.mrd_file import write_file
from dicom_io.kspace.scan import RawScan
from node.cli import app
from tests.node.raw_streams import raw_ball


def test_a_scan_that_can_be_reconstructed_says_so(tmp_path: Path) -> None:
    write_file(tmp_path / "scan.h5", raw_ball())
    result = CliRunner().invoke(app, ["inspect", str(tmp_path / "scan.h5"), "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["problem"] is None
    assert told["readouts"]["of noise"] == 16
    assert told["readouts"]["coils"] == 4
    assert told["image_matrix_xyz"] == [32, 32, 16]


def test_what_forbids_images_is_named(tmp_path: Path) -> None:
    scan = raw_ball()
    write_file(tmp_path / "scan.h5", RawScan(scan.header, scan.heads[16:], scan.samples[16:]))
    result = CliRunner().invoke(app, ["inspect", str(tmp_path / "scan.h5")])
    assert result.exit_code == 1
    assert "NoiseMissing" in result.stdout
    assert "1024 of images" in result.stdout


@pytest.mark.golden
def test_a_real_twix_file_tells_what_is_proven_and_what_is_assumed(data_dir: Path) -> None:
    path = data_dir / "kspace_siemens_skyra_twix" / "epi.dat"
    result = CliRunner().invoke(app, ["inspect", str(path), "--json"])
    told = json.loads(result.stdout)
    assert told["notes"] == [SIEMENS_NOTE]
    assert told["trajectory"] == "epi"
    assert told["readouts"]["of navigators"] == 3
    assert told["problem"]["class"] == "NoiseMissing"
