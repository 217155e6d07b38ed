"""Arrays and units cross the bridge between DICOM and the mathematics unchanged in meaning."""

import numpy as np
import pytest
import torch

from dicom_io.geometry import Geometry
from dicom_io.read.reader import read_echo_series
from node.convert import (
    acquisition_artefact,
    acquisition_from_artefact,
    choose_device,
    maps_artefact,
    to_acquisition,
    to_grid,
    to_ppb,
)
from pipeline.maps import Maps
from tests.node.scans import ECHO_TIMES_S, SHAPE, instances, scan, write


def test_an_acquisition_survives_the_workspace_bit_for_bit(tmp_path) -> None:
    echoes = read_echo_series(write(tmp_path, instances()))
    direct = to_acquisition(echoes)
    arrays, metadata = acquisition_artefact(echoes)
    stored = acquisition_from_artefact(arrays, metadata)
    assert torch.equal(stored.magnitude, direct.magnitude)
    assert torch.equal(stored.phase, direct.phase)
    assert (stored.grid, stored.echo_times_s, stored.b0_tesla) == (direct.grid, direct.echo_times_s, direct.b0_tesla)
    assert stored.echo_times_s == ECHO_TIMES_S
    assert stored.grid.shape == SHAPE
    assert stored.grid.voxel_size_mm == (2.0, 2.0, 2.0)


def test_the_phase_of_the_scan_arrives_as_radians(tmp_path) -> None:
    taken = scan()
    acquisition = to_acquisition(read_echo_series(write(tmp_path, instances(taken=taken))))
    difference = np.angle(np.exp(1j * (acquisition.phase.numpy() - taken.phase)))
    assert np.abs(difference).max() <= np.pi / 4096 * 1.01


def test_the_direction_of_the_field_follows_the_orientation_of_the_slices() -> None:
    tilt = np.radians(20)
    oblique = Geometry(
        (1.0, 0.0, 0.0),
        (0.0, float(np.cos(tilt)), float(np.sin(tilt))),
        (0.0, 0.0, 0.0),
        tuple(2.0 * np.array([0.0, -np.sin(tilt), np.cos(tilt)])),
        (1.0, 1.0),
        (16, 16, 16),
        "2.25.1",
    )
    assert to_grid(oblique).b0_direction == pytest.approx((np.cos(tilt), np.sin(tilt), 0.0))
    assert to_grid(oblique).voxel_size_mm == pytest.approx((2.0, 1.0, 1.0))


def test_maps_keep_their_values_and_one_echo_has_no_r2star() -> None:
    ones = torch.ones(2, 3, 4)
    maps = Maps(ones * 0.1, ones, ones, ones > 0, None, ones, "whole_brain")
    arrays, metadata = maps_artefact(maps)
    assert set(arrays) == {"susceptibility", "total_field", "local_field", "field_noise", "mask"}
    assert arrays["mask"].dtype == np.uint8
    assert metadata == {"reference": "whole_brain"}
    np.testing.assert_allclose(to_ppb(arrays["susceptibility"]), 100.0, rtol=1e-6)


def test_auto_takes_what_there_is() -> None:
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
