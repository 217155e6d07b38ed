"""Pixels: counted before they are decoded, the same through every lossless compression, proved to be phase."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from dicom_io import errors
from dicom_io.read.pixels import decode, digest, has_alternating_slices, undo_alternation, verified_phase
from dicom_io.read.reader import read_echo_series
from tests.dicom_io.read import scanner_files as scanner

SCAN = scanner.Scan(shape=(2, 40, 36), echo_times_ms=(4.0, 9.0))


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_lossless_compression_does_not_reach_the_arrays(tmp_path: Path, syntax: str) -> None:
    objects = scanner.classic(SCAN, "SIEMENS", "MP", scanner.as_siemens)
    plain = scanner.save(objects, tmp_path / "plain")
    expected = read_echo_series(plain)
    for dataset in objects:
        dataset.compress(syntax, generate_instance_uid=False)
    packed = scanner.save(objects, tmp_path / "packed")
    found = read_echo_series(packed)
    assert np.array_equal(found.phase, expected.phase)
    assert np.array_equal(found.magnitude, expected.magnitude)
    assert [digest(path) for path in plain] == [digest(path) for path in packed]


def test_compressed_pixels_cut_short_are_truncated(tmp_path: Path) -> None:
    dataset = scanner.classic(SCAN, "SIEMENS", "P", scanner.as_siemens)[0]
    dataset.compress(RLELossless, generate_instance_uid=False)
    (path,) = scanner.save([dataset], tmp_path)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(errors.TruncatedPixelData, match="ends before its Pixel Data"):
        decode(path)


@pytest.mark.parametrize("keyword", ["Rows", "Columns"])
def test_more_pixels_than_the_header_accounts_for_are_not_read_as_a_smaller_image(tmp_path: Path, keyword: str) -> None:
    objects = scanner.classic(SCAN, "SIEMENS", "MP", scanner.as_siemens)
    for dataset in objects:
        dataset[keyword].value //= 2
    with pytest.raises(errors.ContradictoryHeader, match=r"2880 bytes, but Rows .* account for 1440 of them only"):
        read_echo_series(scanner.save(objects, tmp_path))


def test_a_few_bytes_of_padding_after_the_pixels_do_no_harm(tmp_path: Path) -> None:
    objects = scanner.classic(SCAN, "SIEMENS", "MP", scanner.as_siemens)
    expected = read_echo_series(scanner.save(objects, tmp_path / "plain"))
    for dataset in objects:
        dataset.PixelData += bytes(6)
    found = read_echo_series(scanner.save(objects, tmp_path / "padded"))
    assert np.array_equal(found.phase, expected.phase)


def test_an_unknown_compression_is_named(tmp_path: Path) -> None:
    dataset = scanner.classic(SCAN, "SIEMENS", "P", scanner.as_siemens)[0]
    (path,) = scanner.save([dataset], tmp_path)
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.9.1\0"))
    with pytest.raises(errors.UnsupportedTransferSyntax, match="Explicit VR Little Endian"):
        decode(path)


def test_phase_may_pass_pi_by_rounding_only() -> None:
    phase = np.array([[[[-3.142, 3.1416]]]], dtype=np.float32)
    rounded = verified_phase(phase, phase.min(axis=(2, 3)), phase.max(axis=(2, 3)), is_declared=True)
    assert np.abs(rounded).max() <= np.float32(math.pi)
    with pytest.raises(errors.PhaseScaleUnknown, match="beyond"):
        verified_phase(np.zeros((1, 1, 1, 2)), np.array([[0.0]]), np.array([[3.15]]), is_declared=True)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n_slices=st.integers(4, 24), slope=st.floats(-0.9, 0.9))
def test_alternation_is_seen_and_undone_and_never_undone_twice(seed: int, n_slices: int, slope: float) -> None:
    generator = np.random.default_rng(seed)
    phase = (
        slope * np.arange(n_slices)[:, None, None]
        + generator.uniform(-3, 3, (1, 9, 8))
        + generator.normal(0, 0.1, (n_slices, 9, 8))
    )
    magnitude = generator.uniform(50, 100, phase.shape)
    smooth = np.angle(np.exp(1j * phase)).astype(np.float32)
    alternating = undo_alternation(smooth[None])[0]
    assert has_alternating_slices(magnitude, alternating)
    assert not has_alternating_slices(magnitude, smooth)
    restored = undo_alternation(alternating[None])[0]
    assert np.abs(np.exp(1j * restored) - np.exp(1j * smooth)).max() < 1e-5
