import ctypes

import ismrmrd
import numpy as np

from dicom_io.kspace import readout_heads
from dicom_io.kspace.readout_heads import READOUT_HEAD, new_heads
from dicom_io.kspace.scan import (
    RawHeader,
    RawScan,
    Space,
    calibration_readouts,
    imaging_readouts,
    navigator_readouts,
    noise_readouts,
)


def scan_with(flags):
    heads = new_heads([8] * len(flags), 2)
    heads["flags"] = flags
    space = Space((1, 4, 8), (4.0, 80.0, 160.0))
    header = RawHeader(3.0, (0.005,), space, space)
    return RawScan(header, heads, [np.zeros((2, 8), np.complex64)] * len(flags))


def test_our_layout_of_a_head_is_that_of_the_ismrmrd_package():
    assert ctypes.sizeof(ismrmrd.AcquisitionHeader) == READOUT_HEAD.itemsize
    head = new_heads([96], 5)
    head["idx"]["segment"], head["user_float"][0, 7], head["flags"] = 7, 2.5, 1 << 63
    theirs = ismrmrd.AcquisitionHeader.from_buffer_copy(head.tobytes())
    assert (theirs.idx.segment, theirs.user_float[7], theirs.flags) == (7, 2.5, 1 << 63)
    assert (theirs.number_of_samples, theirs.active_channels, theirs.center_sample) == (96, 5, 48)


def test_our_flags_are_those_of_the_ismrmrd_package():
    names = {
        "NOISE": "ACQ_IS_NOISE_MEASUREMENT",
        "CALIBRATION": "ACQ_IS_PARALLEL_CALIBRATION",
        "CALIBRATION_AND_IMAGING": "ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING",
        "REVERSE": "ACQ_IS_REVERSE",
        "NAVIGATION": "ACQ_IS_NAVIGATION_DATA",
        "PHASE_CORRECTION": "ACQ_IS_PHASECORR_DATA",
        "LAST_IN_MEASUREMENT": "ACQ_LAST_IN_MEASUREMENT",
        "DUMMY": "ACQ_IS_DUMMYSCAN_DATA",
    }
    for ours, theirs in names.items():
        assert getattr(readout_heads, ours) == 1 << (getattr(ismrmrd, theirs) - 1)


def test_every_readout_has_the_uses_that_its_flags_say():
    flags = [
        0,
        readout_heads.NOISE,
        readout_heads.CALIBRATION,
        readout_heads.CALIBRATION_AND_IMAGING,
        readout_heads.PHASE_CORRECTION,
        readout_heads.PHASE_CORRECTION | readout_heads.REVERSE,
        readout_heads.REVERSE,
        readout_heads.DUMMY,
    ]
    scan = scan_with(flags)
    assert list(imaging_readouts(scan)) == [0, 3, 6]
    assert list(noise_readouts(scan)) == [1]
    assert list(calibration_readouts(scan)) == [2, 3]
    assert list(navigator_readouts(scan)) == [4, 5]


def test_a_voxel_is_the_field_of_view_over_the_matrix():
    assert Space((2, 4, 8), (6.0, 8.0, 8.0)).voxel_size_mm == (3.0, 2.0, 1.0)
