from dataclasses import replace

import numpy as np
import pytest

from dicom_io.errors import RawHeaderUnusable
from dicom_io.kspace.scan import RawScan
from dicom_io.kspace.source import geometry_of, is_mirrored
from tests.dicom_io.kspace.raw_scans import raw_scan


def placed(read, phase, normal, position=(10.0, 20.0, 30.0)):
    scan = raw_scan()
    scan.heads["read_dir"], scan.heads["phase_dir"], scan.heads["slice_dir"] = read, phase, normal
    scan.heads["position"] = position
    return scan


def index_position(geometry, z, y, x):
    return geometry.affine_lps @ (x, y, z, 1)


def test_the_position_is_the_middle_of_the_image():
    scan = placed((1, 0, 0), (0, 1, 0), (0, 0, 1))
    geometry = geometry_of(scan, scan.header.recon.shape, "1.2.3")
    nz, ny, nx = geometry.shape
    assert geometry.voxel_size_mm == (2.0, 2.0, 1.0)
    assert np.allclose(index_position(geometry, nz // 2, ny // 2, nx // 2)[:3], (10, 20, 30))
    assert not is_mirrored(scan)


def test_left_handed_axes_are_reversed_along_z_and_the_object_stays_where_it_is():
    scan = placed((-1, 0, 0), (0, 1, 0), (0, 0, 1))
    geometry = geometry_of(scan, scan.header.recon.shape, "1.2.3")
    nz, ny, nx = geometry.shape
    assert is_mirrored(scan)
    assert np.dot(geometry.normal, geometry.slice_step) > 0
    # What was z before is now counted from the other end.
    assert np.allclose(index_position(geometry, nz - 1 - nz // 2, ny // 2, nx // 2)[:3], (10, 20, 30))


def test_directions_that_are_no_axes_are_refused():
    scan = placed((1, 0, 0), (1, 0, 0), (0, 0, 1))
    with pytest.raises(RawHeaderUnusable, match="no perpendicular unit vectors"):
        geometry_of(scan, scan.header.recon.shape, "1.2.3")
    zeros = placed((0, 0, 0), (0, 0, 0), (0, 0, 0))
    with pytest.raises(RawHeaderUnusable, match="no perpendicular unit vectors"):
        geometry_of(RawScan(replace(zeros.header), zeros.heads, zeros.samples), zeros.header.recon.shape, "1.2.3")
