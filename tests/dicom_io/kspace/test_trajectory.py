"""A header that calls bent readouts Cartesian is not believed."""

import struct

import h5py
import numpy as np
import pytest

from dicom_io.errors import UnknownTrajectory
from dicom_io.kspace.header_check import check_header
from dicom_io.kspace.mrd_file import read_file, write_file
from dicom_io.kspace.mrd_messages import Kind, close_message, stream_of, text_message
from dicom_io.kspace.mrd_stream import read_stream
from dicom_io.kspace.readout_heads import READOUT_HEAD
from dicom_io.kspace.scan import BENT, CARTESIAN
from tests.dicom_io.kspace.raw_scans import raw_scan


def places(number: int, n_samples: int, is_radial: bool) -> np.ndarray:
    """Return kx and ky of a readout: a line of the grid, or a spoke through the middle."""
    along = np.linspace(-0.5, 0.5, n_samples)
    if not is_radial:
        return np.stack([along, np.full(n_samples, 0.1 * number)], axis=1).astype(np.float32)
    angle = np.pi * number / 24
    return np.stack([along * np.cos(angle), along * np.sin(angle)], axis=1).astype(np.float32)


def file_with_trajectories(path, is_radial: bool) -> None:
    scan = raw_scan()
    write_file(path, scan)
    with h5py.File(path, "r+") as file:
        rows = file["dataset/data"][:]
        rows["head"]["trajectory_dimensions"] = 2
        for number, length in enumerate(scan.heads["number_of_samples"]):
            rows["traj"][number] = places(number, int(length), is_radial).ravel()
        file["dataset/data"][:] = rows


def stream_with_trajectories(path, is_radial: bool) -> None:
    scan = raw_scan()
    parts = [next(stream_of(scan))]
    for number, (head, samples) in enumerate(zip(scan.heads, scan.samples, strict=True)):
        written = np.array(head, READOUT_HEAD)
        written["trajectory_dimensions"] = 2
        lies = places(number, samples.shape[1], is_radial)
        parts.append(struct.pack("<H", Kind.ACQUISITION) + written.tobytes() + lies.tobytes() + samples.tobytes())
    path.write_bytes(b"".join([*parts, text_message(Kind.TEXT, "done"), close_message()]))


@pytest.mark.parametrize("form", ["file", "stream"])
@pytest.mark.parametrize(("is_radial", "expected"), [(False, CARTESIAN), (True, BENT)])
def test_spokes_are_not_taken_for_lines(tmp_path, form: str, is_radial: bool, expected: str) -> None:
    path = tmp_path / "scan"
    write, read = (file_with_trajectories, read_file) if form == "file" else (stream_with_trajectories, read_stream)
    write(path, is_radial)
    scan = read(path)
    assert scan.header.trajectory == expected
    assert np.array_equal(scan.samples[3], raw_scan().samples[3])
    if is_radial:
        with pytest.raises(UnknownTrajectory, match="do not run along the lines of a grid"):
            check_header(scan.header)
