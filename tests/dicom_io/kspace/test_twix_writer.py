"""Twix-like files of simulated scans are read as the scans that were written."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dicom_io.errors import RawHeaderUnusable
from dicom_io.kspace.readout_heads import (
    CALIBRATION_AND_IMAGING,
    LAST_IN_MEASUREMENT,
    NOISE,
    PHASE_CORRECTION,
    REVERSE,
    new_heads,
)
from dicom_io.kspace.scan import EPI, Limit, RawHeader, RawScan, Space
from dicom_io.kspace.source import geometry_of
from dicom_io.kspace.twix import read_twix
from dicom_io.kspace.twix_writer import write_twix

SHAPE = (4, 6, 8)
HEADER = RawHeader(
    field_strength_t=2.89362,
    echo_times_s=(0.004, 0.011),
    encoded=Space((4, 6, 16), (12.0, 60.0, 160.0)),
    recon=Space(SHAPE, (12.0, 60.0, 80.0)),
    limits={"kspace_encoding_step_1": Limit(0, 5, 3), "kspace_encoding_step_2": Limit(0, 3, 2)},
    acceleration=(2, 1),
    calibration_mode="embedded",
    identity={"PatientName": "Space^K", "PatientID": "0042", "ProtocolName": "gre_3d", "PatientSex": "F"},
    model="Simulated raw scanner",
    repetition_times_s=(0.03,),
    flip_angles_deg=(15.0,),
)


def scan_of(header: RawHeader = HEADER, handedness: float = 1.0) -> RawScan:
    """Return a scan of two echoes with two noise readouts before it; samples are distinct numbers."""
    n_readouts = 2 + 2 * 4 * 6
    heads = new_heads([16] * n_readouts, 3)
    heads["flags"][:2] = NOISE
    z, y, echo = (part.ravel() for part in np.meshgrid(range(4), range(6), range(2), indexing="ij"))
    imaging = heads[2:]
    imaging["idx"]["kspace_encode_step_2"], imaging["idx"]["kspace_encode_step_1"] = z, y
    imaging["idx"]["contrast"] = echo
    imaging["flags"][(y == 3) & (z == 2)] = CALIBRATION_AND_IMAGING
    imaging["flags"][-1] |= LAST_IN_MEASUREMENT
    heads["acquisition_time_stamp"] = 1000 + np.arange(n_readouts)
    heads["sample_time_us"] = 5.0
    heads["position"] = 3.0, -7.0, 21.5
    heads["read_dir"], heads["phase_dir"] = (0.8, 0.0, -0.6), (0.0, 1.0, 0.0)
    heads["slice_dir"] = np.array([0.6, 0.0, 0.8]) * handedness
    chance = np.random.default_rng(0)
    samples = chance.normal(size=(n_readouts, 3, 16, 2)).astype(np.float32).view(np.complex64)[..., 0]
    return RawScan(header, heads, list(samples))


def written(tmp_path: Path, scan: RawScan) -> RawScan:
    write_twix(tmp_path / "meas.dat", scan)
    return read_twix(tmp_path / "meas.dat")


@pytest.mark.parametrize("handedness", [1.0, -1.0])
def test_samples_and_places_come_back(tmp_path: Path, handedness: float) -> None:
    scan = scan_of(handedness=handedness)
    found = written(tmp_path, scan)
    assert found.n_readouts == scan.n_readouts
    assert all(np.array_equal(*pair) for pair in zip(found.samples, scan.samples, strict=True))
    for name in ("step_1", "contrast", "time_stamp", "center_sample", "sample_time_us"):
        assert np.array_equal(getattr(found, name), getattr(scan, name)), name
    assert np.array_equal(found.flags, scan.flags)
    place, wanted = (geometry_of(one, SHAPE, "1.2") for one in (found, scan))
    if handedness > 0:
        # Right-handed as Siemens counts, all three axes turned about: written as it is.
        assert np.array_equal(found.step_2, scan.step_2)
        np.testing.assert_allclose(place.affine_lps, wanted.affine_lps, atol=1e-4)
    else:
        assert found.step_2[2:].tolist() == ((4 - scan.step_2[2:].astype(int)) % 4).tolist()
        np.testing.assert_allclose(np.abs(place.slice_step), np.abs(wanted.slice_step), atol=1e-5)


def test_a_volume_that_is_turned_keeps_every_voxel_in_its_place(tmp_path: Path) -> None:
    scan = scan_of(handedness=-1.0)
    found = written(tmp_path, scan)
    volumes = []
    for one in (scan, found):
        kspace = np.zeros((4, 6, 16), np.complex64)
        chosen = np.flatnonzero((one.contrast == 0) & ((one.flags & NOISE) == 0))
        for number in chosen:
            kspace[one.step_2[number], one.step_1[number]] = one.samples[number][0]
        volumes.append(np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(kspace))))
    direction = [one.heads["slice_dir"][5].astype(float) for one in (scan, found)]
    np.testing.assert_allclose(direction[0], -direction[1], atol=1e-6)
    # Index i of one lies where index -i of the other lies, counted from the middle.
    for offset in (-1, 0, 1):
        np.testing.assert_allclose(volumes[0][2 + offset], volumes[1][2 - offset], atol=1e-6)


def test_the_header_comes_back(tmp_path: Path) -> None:
    found = written(tmp_path, scan_of()).header
    assert found.echo_times_s == pytest.approx(HEADER.echo_times_s)
    assert found.field_strength_t == pytest.approx(2.89362)
    assert (found.encoded, found.recon) == (HEADER.encoded, HEADER.recon)
    assert (found.acceleration, found.calibration_mode) == ((2, 1), "embedded")
    assert found.repetition_times_s == pytest.approx((0.03,))
    assert found.identity["PatientID"] == "0042"
    assert found.identity["PatientName"] == "Space^K"
    assert found.identity["PatientSex"] == "F"


def test_an_echo_planar_scan_keeps_ramps_polarities_and_navigators(tmp_path: Path) -> None:
    ramp = {"rampUpTime": 160.0, "rampDownTime": 160.0, "flatTopTime": 240.0, "acqDelayTime": 32.0}
    header = replace(HEADER, trajectory=EPI, echo_spacing_s=560e-6, parameters=ramp | {"readoutTime": 496.0})
    scan = scan_of(header)
    scan.heads["flags"][3::2] |= np.uint64(REVERSE)
    scan.heads["flags"][2:5] |= np.uint64(PHASE_CORRECTION)
    found = written(tmp_path, scan)
    assert found.header.trajectory == EPI
    assert found.header.echo_spacing_s == pytest.approx(560e-6)
    assert {name: found.header.parameters[name] for name in ramp} == ramp
    assert found.header.parameters["readoutTime"] == 496.0
    assert np.array_equal(found.flags, scan.flags)


def test_marks_in_a_name_cannot_end_the_header(tmp_path: Path) -> None:
    header = replace(HEADER, identity={"PatientName": 'Evil"} <ParamLong."x"> {'})
    assert "Evil" in written(tmp_path, scan_of(header)).header.identity["PatientName"]


def test_slices_one_by_one_are_refused(tmp_path: Path) -> None:
    scan = scan_of()
    scan.heads["idx"]["slice"][5:] = 1
    with pytest.raises(RawHeaderUnusable, match="one volume"):
        write_twix(tmp_path / "meas.dat", scan)
