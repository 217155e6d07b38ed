"""Conversions between the units of a field: ppm of B0, hertz and radians of phase."""

import math

GAMMA_HZ_PER_T = 42.577478518e6
"""Proton gyromagnetic ratio over 2π [Hz/T] (CODATA 2018, shielding neglected)."""


def ppm_to_hz(field_ppm: float, b0_tesla: float) -> float:
    """Convert a relative field [ppm of B0] to a frequency [Hz]."""
    return field_ppm * 1e-6 * GAMMA_HZ_PER_T * b0_tesla


def hz_to_ppm(frequency_hz: float, b0_tesla: float) -> float:
    """Convert a frequency [Hz] to a relative field [ppm of B0]."""
    return frequency_hz * 1e6 / (GAMMA_HZ_PER_T * b0_tesla)


def radians_per_ppm(echo_time_s: float, b0_tesla: float) -> float:
    """Return the phase [rad] that one ppm of field builds up until the echo time [s]."""
    return 2 * math.pi * ppm_to_hz(1.0, b0_tesla) * echo_time_s
