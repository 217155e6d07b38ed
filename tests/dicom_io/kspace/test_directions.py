"""Which way images lie: directions of Siemens' raw data are those of the forward transform."""

from dataclasses import replace

import numpy as np
import pytest

from dicom_io.kspace.directions import SIEMENS_NOTE, as_images_lie, as_stated
from dicom_io.kspace.mrd_file import read_file, write_file
from dicom_io.kspace.mrd_messages import stream_of
from dicom_io.kspace.mrd_stream import read_stream
from tests.dicom_io.kspace.raw_scans import raw_scan

AXES = ("read_dir", "phase_dir", "slice_dir")


def measured_by(vendor, shape=(2, 4, 16)):
    return raw_scan(shape, vendor=vendor)


@pytest.mark.parametrize("vendor", ["SIEMENS", "Siemens Healthineers"])
def test_a_volume_of_siemens_is_turned_about_along_every_axis(vendor):
    scan = measured_by(vendor)
    found = as_images_lie(scan)
    for name in AXES:
        assert np.array_equal(found.heads[name], -scan.heads[name])
    assert found.notes == (SIEMENS_NOTE,)
    assert np.array_equal(as_stated(found).heads, scan.heads)


def test_slices_measured_one_by_one_keep_the_direction_of_their_stack():
    scan = measured_by("SIEMENS", (1, 4, 16))
    found = as_images_lie(scan)
    assert np.array_equal(found.heads["slice_dir"], scan.heads["slice_dir"])
    assert np.array_equal(found.heads["phase_dir"], -scan.heads["phase_dir"])


def test_our_own_scans_stay_and_other_vendors_are_told_as_unproven():
    own = measured_by("Lodestone")
    assert as_images_lie(own) is own
    other = measured_by("Philips")
    found = as_images_lie(other)
    assert np.array_equal(found.heads, other.heads)
    assert "raw data of Philips" in found.notes[0]
    assert "no public data prove" in found.notes[0]
    for vendor in ("<script>", ""):
        assert "this vendor" in as_images_lie(measured_by(vendor)).notes[0]


def test_files_and_streams_state_what_siemens_states_and_are_read_as_images_lie(tmp_path):
    scan = as_images_lie(measured_by("SIEMENS"))
    write_file(tmp_path / "scan.h5", scan)
    (tmp_path / "scan.mrd").write_bytes(b"".join(stream_of(replace(scan, notes=()))))
    for found in (read_file(tmp_path / "scan.h5"), read_stream(tmp_path / "scan.mrd")):
        for name in AXES:
            assert np.array_equal(found.heads[name], scan.heads[name])
