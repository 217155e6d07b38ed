import ismrmrd
import numpy as np
import pytest

from dicom_io.errors import MalformedRawData
from dicom_io.kspace.mrd_file import read_file, write_file
from tests.dicom_io.kspace.raw_scans import raw_scan


def test_a_file_comes_back_as_it_was_written(tmp_path):
    scan = raw_scan()
    write_file(tmp_path / "scan.h5", scan)
    read = read_file(tmp_path / "scan.h5")
    assert np.array_equal(read.heads, scan.heads)
    assert all(np.array_equal(a, b) for a, b in zip(read.samples, scan.samples, strict=True))
    assert read.header.echo_times_s == scan.header.echo_times_s


def test_the_ismrmrd_package_reads_what_we_write(tmp_path):
    scan = raw_scan()
    write_file(tmp_path / "scan.h5", scan)
    with ismrmrd.Dataset(str(tmp_path / "scan.h5"), mode="r") as dataset:
        assert dataset.number_of_acquisitions() == scan.n_readouts
        last = dataset.read_acquisition(scan.n_readouts - 1)
    assert np.array_equal(last.data, scan.samples[-1])
    assert last.idx.kspace_encode_step_1 == scan.step_1[-1]


def test_another_file_is_refused_by_name(tmp_path):
    (tmp_path / "scan.h5").write_bytes(b"no such thing")
    with pytest.raises(MalformedRawData, match="no ISMRMRD HDF5 file"):
        read_file(tmp_path / "scan.h5")


def test_a_row_of_another_length_than_it_states_is_refused(tmp_path):
    scan = raw_scan()
    scan.heads["number_of_samples"][3] += 1
    write_file(tmp_path / "scan.h5", scan)
    with pytest.raises(MalformedRawData, match="Readout 3 states 3 coils of 17 samples and holds 48"):
        read_file(tmp_path / "scan.h5")
