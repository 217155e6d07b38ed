"""A simulated scanner streams k-space to a real node, and gets the map back over the connection and in the archive."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from db.series import State
from db.session import Database
from node import demo, demo_kspace
from pipeline.simulation.scanner import SMALL

pytestmark = pytest.mark.e2e

# So coarse that a nucleus has few voxels: what is tested is the way from k-space to the archive.
PROTOCOL = replace(
    SMALL, shape=(39, 54, 45), voxel_size_mm=(4.0, 4.0, 4.0), finest_mm=2.0, echo_times_s=(0.005, 0.014), snr=math.inf
)


def test_a_scan_travels_from_kspace_to_the_archive_and_back_to_the_scanner(tmp_path: Path) -> None:
    folders = demo.prepare(tmp_path / "demo")
    scan = demo_kspace.simulate_raw(folders, 2.0, lambda share: None, PROTOCOL, n_coils=3)
    names = scan.simulated.label_names
    with (
        demo.running_archive(folders) as archive,
        demo.running_node(folders, archive.port, names, demo_kspace.SETTINGS) as (settings, address),
    ):
        database = Database(settings.database_url)
        with demo_kspace.streaming(scan, address, lambda share: None) as returned:
            series = demo.follow(database, scan, lambda series: None)
        assert series.state == State.RECORDED, f"{series.refusal_class}: {series.sentence}"
        story = demo.collect(database, settings, folders, archive, scan, series)
        database.close()
    assert returned.n_images == PROTOCOL.shape[0]
    assert any(series.key in sentence for sentence in returned.sentences)
    assert story["steps"]["reconstructed"]["method"]
    assert "geometry_factor" in [finding["name"] for finding in story["quality"]["findings"]]
    truth = [one["truth_ppb"] for one in story["nuclei"]]
    measured = [one["measured_ppb"] for one in story["nuclei"]]
    assert np.corrcoef(truth, measured)[0, 1] > 0.8, story["nuclei"]
