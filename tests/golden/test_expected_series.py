"""Every real series becomes what `expected_series.toml` beside this file says of it."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_io import errors
from dicom_io.read.headers import FrameHeader, read_frame_headers
from dicom_io.read.reader import read_echo_series
from dicom_io.read.sorting import normal_of, parts_of, slice_indices

pytestmark = pytest.mark.golden
EXPECTED: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("expected_series.toml").read_text(encoding="utf-8")
)


def frames_of(folder: Path) -> list[FrameHeader]:
    """Return the frames of every MR image in a folder."""
    frames: list[FrameHeader] = []
    for path in sorted(folder.iterdir()):
        try:
            frames += read_frame_headers(path)
        except errors.UnsupportedObject:
            continue
    return frames


@pytest.mark.parametrize("folder", EXPECTED)
def test_the_headers_of_a_real_series_say_what_is_known_of_it(data_dir: Path, folder: str) -> None:
    expected, frames = EXPECTED[folder], frames_of(data_dir / folder)
    first = frames[0]
    assert {frame.vendor for frame in frames} == {expected["vendor"]}
    assert [str(part) for part in parts_of(frames)] == expected["parts"]
    assert (
        sorted({frame.echo_time_ms for frame in frames if frame.echo_time_ms is not None}) == expected["echo_times_ms"]
    )
    _, n_slices = slice_indices(frames)
    assert [n_slices, first.rows, first.columns] == expected["shape"]
    assert first.magnetic_field_strength_t == expected["magnetic_field_strength_t"]
    assert first.frequency_mhz == pytest.approx(expected["frequency_mhz"], abs=1e-4)
    distances = np.array([frame.position for frame in frames]) @ normal_of(first)
    spacing = np.ptp(distances) / (n_slices - 1)
    assert [spacing, *first.pixel_spacing] == pytest.approx(expected["voxel_size_mm"], abs=1e-3)
    b0_direction = [normal_of(first)[2], first.orientation[5], first.orientation[2]]
    assert b0_direction == pytest.approx(expected["b0_direction"], abs=1e-4)


@pytest.mark.parametrize("folder", EXPECTED)
def test_a_real_series_is_read_or_refused_as_it_must_be(data_dir: Path, folder: str) -> None:
    expected, paths = EXPECTED[folder], sorted((data_dir / folder).iterdir())
    if "refusal" in expected:
        with pytest.raises(errors.DicomError) as refusal:
            read_echo_series(paths)
        assert type(refusal.value).__name__ == expected["refusal"]
        return
    series = read_echo_series(paths)
    assert [series.phase.min(), series.phase.max()] == pytest.approx(expected["phase_range_rad"], abs=1e-3)
    assert series.source.geometry.b0_direction == pytest.approx(expected["b0_direction"], abs=1e-4)
    assert [1000 * time for time in series.source.echo_times_s] == pytest.approx(expected["echo_times_ms"])
