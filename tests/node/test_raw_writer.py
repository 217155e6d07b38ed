"""Simulated readouts, written as raw scans and read again, give the images that were scanned."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dicom_io.geometry import Geometry
from dicom_io.kspace.mrd_file import read_file, write_file
from dicom_io.kspace.scan import RawScan, calibration_readouts, imaging_readouts, navigator_readouts, noise_readouts
from dicom_io.kspace.source import geometry_of
from dicom_io.kspace.twix import read_twix
from dicom_io.kspace.twix_writer import write_twix
from node.kspace_convert import place_images, to_kspace
from node.raw_writer import cartesian_raw_scan, epi_raw_scan
from pipeline.operators.centred_fourier import to_image
from pipeline.simulation.coils import birdcage_array
from pipeline.simulation.raw_epi import EpiProtocol, acquire_epi
from pipeline.simulation.raw_scanner import acquire_kspace, acquire_readouts
from pipeline.simulation.sampling_patterns import uniform
from tests.pipeline.reconstruction.epi_scans import GRID, round_head

IDENTITY = {"PatientID": "K-1", "PatientName": "Space^K", "StudyInstanceUID": "1.2.3.4"}
DZ, DY, DX = GRID.voxel_size_mm
PLACE = Geometry(
    (1.0, 0.0, 0.0), (0.0, 0.8, 0.6), (-90.0, -80.0, -70.0), (0.0, -0.6 * DZ, 0.8 * DZ), (DY, DX), GRID.shape, "1.2"
)
PROTOCOL = EpiProtocol(n_shots=6, snr=math.inf)


@pytest.fixture(scope="module")
def array() -> torch.Tensor:
    return birdcage_array(GRID, 4)


@pytest.fixture(scope="module")
def centre_pattern() -> torch.Tensor:
    return uniform(GRID.shape[:2], (1, 2), (6, 12))


@pytest.fixture(scope="module")
def cartesian(array, centre_pattern) -> RawScan:
    images = round_head().scan
    readouts = acquire_readouts(images, array, centre_pattern, snr=50)
    return cartesian_raw_scan(readouts, images, PLACE, IDENTITY, acceleration=(2, 1), calibration=(6, 12))


@pytest.fixture(scope="module")
def echo_planar(array) -> RawScan:
    head = round_head()
    return epi_raw_scan(acquire_epi(head, array, PROTOCOL), head.scan, PROTOCOL, PLACE, IDENTITY)


def test_a_file_of_a_cartesian_scan_gives_the_k_space_that_was_measured(
    cartesian, array, centre_pattern, tmp_path: Path
) -> None:
    write_file(tmp_path / "scan.h5", cartesian)
    kspace = to_kspace(read_file(tmp_path / "scan.h5")).kspace
    calm, _ = acquire_kspace(round_head().scan, array, centre_pattern, snr=math.inf)
    assert torch.equal(kspace.measured, calm.measured)
    assert kspace.grid.voxel_size_mm == pytest.approx(GRID.voxel_size_mm)
    assert kspace.echo_times_s == pytest.approx((0.014, 0.024))
    noise = (kspace.samples - calm.samples)[:, :, centre_pattern]
    level = float(round_head().scan.images[0].abs()[round_head().scan.signal].mean()) / 50
    assert float(noise.real.std()) == pytest.approx(level, rel=0.03)
    assert float(kspace.noise.real.std()) == pytest.approx(level, rel=0.05)


def test_noise_calibration_and_identity_are_where_scanners_put_them(cartesian) -> None:
    assert noise_readouts(cartesian).tolist() == list(range(16))
    assert len(imaging_readouts(cartesian)) == cartesian.n_readouts - 16
    assert len(calibration_readouts(cartesian)) == 2 * 6 * 12
    assert cartesian.header.identity["StudyInstanceUID"] == "1.2.3.4"
    assert cartesian.header.encoded.shape[2] == 2 * GRID.shape[2]
    assert (np.diff(cartesian.time_stamp[16:].astype(int)) >= 0).all()


def test_images_lie_where_the_simulated_volume_lay(cartesian, echo_planar) -> None:
    for scan in (cartesian, echo_planar):
        place = geometry_of(scan, GRID.shape, "1.2")
        np.testing.assert_allclose(place.affine_lps, PLACE.affine_lps, atol=1e-3)


def test_a_file_of_an_echo_planar_scan_gives_the_images_without_ghost(echo_planar, array, tmp_path: Path) -> None:
    write_file(tmp_path / "epi.h5", echo_planar)
    scan = read_file(tmp_path / "epi.h5")
    assert len(navigator_readouts(scan)) == 3 * 6 * GRID.shape[0]
    converted = to_kspace(scan)
    images = (to_image(converted.kspace.samples) * array.conj()).sum(1)
    placed = place_images(scan, images)
    head = round_head().scan
    beside = placed[0][~head.signal].abs().square().mean().sqrt()
    assert float(beside / head.images[0][head.signal].abs().mean()) < 0.02
    inside = (placed - head.images)[0][head.signal].abs().mean()
    assert float(inside / head.images[0][head.signal].abs().mean()) < 0.05
    assert any("navigators" in note for note in converted.notes)


def test_an_echo_planar_scan_without_navigators_can_be_written_and_converted(array) -> None:
    head, plain = round_head(), replace(PROTOCOL, has_navigators=False)
    scan = epi_raw_scan(acquire_epi(head, array, plain), head.scan, plain, PLACE, IDENTITY)
    assert not len(navigator_readouts(scan))
    assert any("entropy" in note for note in to_kspace(scan).notes)


def test_a_twix_like_file_puts_every_voxel_where_it_was(array, tmp_path: Path) -> None:
    images = round_head().scan
    slope = torch.linspace(0.5, 1.5, GRID.shape[0])[:, None, None] * torch.linspace(0.7, 1.3, GRID.shape[1])[:, None]
    lopsided = replace(images, images=images.images * slope)
    everything = torch.ones(GRID.shape[:2], dtype=torch.bool)
    raw = cartesian_raw_scan(acquire_readouts(lopsided, array, everything, snr=math.inf), lopsided, PLACE, IDENTITY)
    write_twix(tmp_path / "meas.dat", raw)
    scan = read_twix(tmp_path / "meas.dat")
    coil_images = to_image(to_kspace(scan).kspace.samples)
    placed = place_images(scan, coil_images.abs().square().sum(1).sqrt())
    place = geometry_of(scan, GRID.shape, "1.2")
    # The file may hold the partitions the other way round; the patient must not.
    to_simulated = np.linalg.inv(PLACE.affine_lps) @ place.affine_lps
    for z, y, x in ((1, 18, 16), (2, 20, 21), (4, 17, 14)):
        there = np.rint(to_simulated @ np.array([x, y, z, 1.0])).astype(int)
        truth = lopsided.images[0, there[2], there[1], there[0]].abs()
        assert float(truth) > 0.3
        assert float(placed[0, z, y, x]) == pytest.approx(float(truth), rel=1e-3)
