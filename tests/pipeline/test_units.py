"""Conversions between ppm, hertz and radians."""

import math

import pytest

from pipeline.units import hz_to_ppm, ppm_to_hz, radians_per_ppm


def test_one_ppm_at_three_tesla_is_128_hertz() -> None:
    assert ppm_to_hz(1.0, 3.0) == pytest.approx(127.732, abs=1e-3)


@pytest.mark.parametrize("b0_tesla", [1.5, 3.0, 7.0])
def test_hertz_and_ppm_convert_both_ways(b0_tesla: float) -> None:
    assert hz_to_ppm(ppm_to_hz(0.37, b0_tesla), b0_tesla) == pytest.approx(0.37)


def test_the_phase_grows_with_echo_time_and_field() -> None:
    assert radians_per_ppm(0.02, 3.0) == pytest.approx(2 * math.pi * 127.732435e-0 * 0.02, rel=1e-6)
    assert radians_per_ppm(0.02, 7.0) / radians_per_ppm(0.01, 7.0) == pytest.approx(2.0)
