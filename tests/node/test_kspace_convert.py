"""Readouts become k-space whose images are those that were measured, cut and ordered as DICOM has them."""

from dataclasses import replace

import numpy as np
import torch

from dicom_io.kspace.scan import RawScan, Space
from node.kspace_convert import place_images, shown_shape, to_kspace
from tests.dicom_io.kspace.raw_scans import raw_scan


def test_a_scan_becomes_kspace_on_the_grid_that_was_encoded() -> None:
    converted = to_kspace(raw_scan((4, 6, 16)))
    kspace = converted.kspace
    assert kspace.samples.shape == (2, 3, 4, 6, 8)
    assert kspace.samples.dtype == torch.complex64
    assert kspace.grid.voxel_size_mm == (2.0, 2.0, 1.0)
    assert kspace.b0_tesla == 3.0
    assert kspace.noise is not None
    assert bool(kspace.measured.all())


def test_what_was_sampled_beyond_the_field_of_view_is_cut_off() -> None:
    scan = raw_scan((4, 6, 16))
    header = replace(scan.header, recon=Space((2, 6, 8), (4.0, 12.0, 8.0)))
    scan = RawScan(header, scan.heads, scan.samples)
    assert shown_shape(scan) == (2, 6, 8)
    images = torch.arange(4.0).to(torch.complex64)[None, :, None, None].expand(1, 4, 6, 8)
    assert place_images(scan, images)[0, :, 0, 0].real.tolist() == [1.0, 2.0]


def test_left_handed_axes_turn_the_order_of_slices() -> None:
    scan = raw_scan((4, 6, 16))
    heads = scan.heads.copy()
    heads["read_dir"] = (-1, 0, 0)
    mirrored = RawScan(scan.header, heads, scan.samples)
    images = torch.arange(4.0).to(torch.complex64)[None, :, None, None].expand(1, 4, 6, 8)
    assert place_images(mirrored, images)[0, :, 0, 0].real.tolist() == [3.0, 2.0, 1.0, 0.0]
    assert np.array_equal(place_images(scan, images), images)
