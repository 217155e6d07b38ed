from dataclasses import replace

import numpy as np
import pytest

from dicom_io.errors import (
    CalibrationMissing,
    NoiseMissing,
    NotFiniteValues,
    RawHeaderUnusable,
    RawLinesMissing,
    UnknownTrajectory,
)
from dicom_io.kspace.cartesian import sort_cartesian
from dicom_io.kspace.readout_heads import CALIBRATION, REVERSE
from dicom_io.kspace.scan import RawScan, Space
from tests.dicom_io.kspace.raw_scans import raw_scan

SHAPE = (4, 6, 16)


def transformed(image, inverse=False):
    axes = (-3, -2, -1)
    turn = np.fft.ifftn if inverse else np.fft.fftn
    return np.fft.fftshift(turn(np.fft.ifftshift(image, axes=axes), axes=axes, norm="ortho"), axes=axes)


def scan_of(kspace, kept=lambda echo, z, y: True, **changes):
    """A scan whose readouts are the lines of k-space `(echo, coil, z, y, x)`."""
    scan = raw_scan(kspace.shape[2:], kspace.shape[1], **changes)
    numbers = [0, *(n for n in range(1, scan.n_readouts) if kept(scan.contrast[n], scan.step_2[n], scan.step_1[n]))]
    samples = [scan.samples[0]]
    samples += [kspace[scan.contrast[n], :, scan.step_2[n], scan.step_1[n]] for n in numbers[1:]]
    return RawScan(scan.header, scan.heads[numbers], [one.astype(np.complex64) for one in samples])


def object_twice_as_wide(shape=SHAPE, n_coils=2):
    generator = np.random.default_rng(5)
    image = generator.normal(size=(2, n_coils, *shape)) + 1j * generator.normal(size=(2, n_coils, *shape))
    quarter = shape[-1] // 4
    image[..., :quarter] = image[..., -quarter:] = 0
    return image


def test_a_scan_becomes_the_kspace_of_its_object_without_the_oversampling():
    image = object_twice_as_wide()
    found = sort_cartesian(scan_of(transformed(image)))
    assert found.samples.shape == (2, 2, 4, 6, 8)
    assert found.measured.all()
    assert found.noise is not None
    assert found.noise.shape == (2, 32)
    seen = transformed(found.samples, inverse=True)
    assert np.allclose(seen, image[..., 4:12], atol=1e-5)


def test_averages_are_averaged_and_a_line_that_ran_backwards_is_turned_round():
    kspace = transformed(object_twice_as_wide())
    scan = scan_of(kspace)
    expected = sort_cartesian(scan).samples
    heads, samples = np.concatenate([scan.heads, scan.heads[1:]]), [*scan.samples, *scan.samples[1:]]
    heads["idx"]["average"][scan.n_readouts :] = 1
    again = sort_cartesian(
        RawScan(
            scan.header, heads, [s * (0.5 if n >= scan.n_readouts else 1.5) if n else s for n, s in enumerate(samples)]
        )
    )
    assert np.allclose(again.samples, expected, atol=1e-5)
    turned = scan.heads.copy()
    turned["flags"][3] |= np.uint64(REVERSE)
    turned["center_sample"][3] = 16 - 1 - turned["center_sample"][3]
    lines = [line[:, ::-1] if n == 3 else line for n, line in enumerate(scan.samples)]
    assert np.allclose(sort_cartesian(RawScan(scan.header, turned, lines)).samples, expected, atol=1e-6)


def test_an_asymmetric_echo_lies_where_its_centre_says():
    scan = scan_of(transformed(object_twice_as_wide()))
    heads = scan.heads.copy()
    heads["center_sample"][1:] -= 5
    heads["number_of_samples"][1:] -= 5
    cut = RawScan(scan.header, heads, [scan.samples[0], *(line[:, 5:] for line in scan.samples[1:])])
    zeroed = RawScan(
        scan.header,
        scan.heads,
        [np.concatenate([line[:, :5] * 0, line[:, 5:]], axis=1) if n else line for n, line in enumerate(scan.samples)],
    )
    assert np.allclose(sort_cartesian(cut).samples, sort_cartesian(zeroed).samples, atol=1e-6)


def test_slices_become_an_encoding_that_gives_them_back():
    volume = object_twice_as_wide((3, 6, 16))
    axes = (-2, -1)
    lines = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(volume, axes=axes), axes=axes, norm="ortho"), axes=axes)
    scan = scan_of(lines)
    heads, order = scan.heads.copy(), np.array([2, 0, 1])
    heads["idx"]["slice"] = order[scan.step_2]
    heads["position"] = scan.step_2[:, None] * np.array([0.0, 0.0, 4.0])
    heads["idx"]["kspace_encode_step_2"] = 0
    flat = Space((1, 6, 16), (4.0, 12.0, 16.0))
    header = replace(scan.header, encoded=flat, recon=Space((1, 6, 8), (4.0, 12.0, 8.0)), limits={})
    found = sort_cartesian(RawScan(header, heads, scan.samples))
    assert np.allclose(transformed(found.samples, inverse=True), volume[..., 4:12], atol=1e-5)


def test_a_separate_reference_is_cut_out_around_the_centre():
    image = object_twice_as_wide((4, 12, 16))
    kspace = transformed(image)
    scan = scan_of(kspace, lambda echo, z, y: y % 2 == 0, acceleration=(2, 1), calibration_mode="separate")
    whole = scan_of(kspace, lambda echo, z, y: echo == 0 and 2 <= y < 10)
    heads = np.concatenate([scan.heads, whole.heads[1:]])
    heads["flags"][scan.n_readouts :] = CALIBRATION
    found = sort_cartesian(RawScan(scan.header, heads, [*scan.samples, *whole.samples[1:]]))
    assert found.calibration is not None
    assert found.calibration.shape == (2, 4, 8, 8)
    assert found.measured.sum() == 2 * 4 * 6
    full = sort_cartesian(scan_of(kspace))
    assert np.allclose(found.calibration, full.samples[0][:, :, 2:10], atol=1e-5)


def spoiled(scan, **changes):
    return RawScan(replace(scan.header, **changes), scan.heads, scan.samples)


def test_everything_that_forbids_an_image_is_named():
    scan = scan_of(transformed(object_twice_as_wide()))
    zero = Space(scan.header.encoded.shape, (0.0, 0.0, 0.0))
    with_nan = [line.copy() for line in scan.samples]
    with_nan[7][1, 3] = np.nan
    cases = [
        (UnknownTrajectory, "'spiral'", spoiled(scan, trajectory="spiral")),
        (RawHeaderUnusable, "field of view of 0 x 0 x 0 mm", spoiled(scan, encoded=zero)),
        (RawHeaderUnusable, "no possible field strength", spoiled(scan, field_strength_t=float("nan"))),
        (RawHeaderUnusable, "no echo times", spoiled(scan, echo_times_s=())),
        (RawHeaderUnusable, "do not grow", spoiled(scan, echo_times_s=(0.01, 0.005))),
        (RawLinesMissing, "announces 3 echoes .* echo 1, 2", spoiled(scan, echo_times_s=(0.005, 0.01, 0.015))),
        (RawLinesMissing, "announces 1 echo ", spoiled(scan, echo_times_s=(0.005,))),
        (NotFiniteValues, "Readout 7 ", RawScan(scan.header, scan.heads, with_nan)),
        (
            RawLinesMissing,
            "24 lines per echo .* 20 came",
            scan_of(transformed(object_twice_as_wide()), lambda echo, z, y: y != 3),
        ),
        (
            RawLinesMissing,
            "Echo 2 has 23 lines",
            scan_of(transformed(object_twice_as_wide()), lambda echo, z, y: (echo, z, y) != (1, 2, 3)),
        ),
        (NoiseMissing, "2 coils hold no noise", RawScan(scan.header, scan.heads[1:], scan.samples[1:])),
    ]
    for kind, sentence, given in cases:
        with pytest.raises(kind, match=sentence):
            sort_cartesian(given)
    assert sort_cartesian(RawScan(scan.header, scan.heads[1:], scan.samples[1:]), needs_noise=False).noise is None


def test_acceleration_without_reference_lines_is_named():
    kspace = transformed(object_twice_as_wide((4, 24, 16)))
    with pytest.raises(CalibrationMissing, match="accelerated 2 x 1 times, and only 1 x 4"):
        sort_cartesian(scan_of(kspace, lambda echo, z, y: y % 2 == 0, acceleration=(2, 1)))
    found = sort_cartesian(scan_of(kspace, lambda echo, z, y: y % 2 == 0 or 8 <= y < 16, acceleration=(2, 1)))
    assert found.measured.sum() == 2 * 4 * 16
