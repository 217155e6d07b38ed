"""What the simulated scanner writes, the reader gives back: arrays, times, geometry and certainty."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicom_io.geometry import Geometry
from dicom_io.read.headers import read_frame_headers
from dicom_io.read.reader import read_echo_series
from dicom_io.read.sorting import assess
from dicom_io.write.part10 import to_bytes
from dicom_io.write.scanner import scanner_series


def oblique(degrees: float, shape: tuple[int, int, int]) -> Geometry:
    cosine, sine = float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))
    return Geometry(
        row_direction=(1.0, 0.0, 0.0),
        column_direction=(0.0, cosine, sine),
        first_position=(-10.0, 4.5, -20.25),
        slice_step=(0.0, -2.0 * sine, 2.0 * cosine),
        pixel_spacing=(1.0, 0.75),
        shape=shape,
        frame_of_reference_uid="1.2.826.0.1.3680043.8.498.77",
    )


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    degrees=st.floats(-40, 40),
    n_slices=st.integers(2, 5),
    n_echoes=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_write_then_read_is_the_identity(
    tmp_path: Path, degrees: float, n_slices: int, n_echoes: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    geometry = oblique(degrees, (n_slices, 7, 6))
    shape = (n_echoes, *geometry.shape)
    phase = generator.uniform(-np.pi, np.pi, shape)
    magnitude = generator.uniform(10, 100, shape)
    times = tuple(0.004 + 0.0045 * echo for echo in range(n_echoes))
    paths = []
    for number, dataset in enumerate(scanner_series(magnitude, phase, times, geometry, 3.0)):
        paths.append(tmp_path / f"{number}.dcm")
        paths[-1].write_bytes(to_bytes(dataset))
    series = read_echo_series(paths)
    assert np.abs(np.angle(np.exp(1j * (series.phase - phase)))).max() < 2e-3
    scale = float((series.magnitude * magnitude).sum() / (magnitude**2).sum())
    assert np.abs(series.magnitude / scale - magnitude).max() < 0.05
    assert series.source.echo_times_s == pytest.approx(times)
    assert series.source.geometry.affine_lps == pytest.approx(geometry.affine_lps, abs=1e-4)
    frames = [frame for path in paths for frame in read_frame_headers(path)]
    assert assess(frames).is_certain
    assert not assess(frames[:-1]).is_complete
