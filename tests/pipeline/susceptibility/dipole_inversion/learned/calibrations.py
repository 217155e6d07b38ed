"""A calibration that lets every small scan through, for tests that are not about it."""

import math

import pytest

from pipeline.susceptibility.dipole_inversion.learned import envelope
from pipeline.susceptibility.dipole_inversion.learned.envelope import LIMITS, STATISTICS, Envelope
from pipeline.susceptibility.dipole_inversion.learned.gates import GateLimits
from pipeline.susceptibility.dipole_inversion.learned.intervals import TERMS, IntervalScale
from pipeline.susceptibility.dipole_inversion.learned.trust_calibration import TrustCalibration

COUNT = len(STATISTICS)
ANY_INPUT = Envelope(
    (0.0,) * COUNT,
    (1.0,) * COUNT,
    tuple(tuple(float(row == column) for column in range(COUNT)) for row in range(COUNT)),
    math.inf,
)
ANY_MAP = GateLimits((0.0, math.inf), (0.0, math.inf), math.inf)
SCALE = IntervalScale((0.25,) * len(TERMS), 2.0, (50.0, 500.0), (0.8, 0.4))


def calibration(
    sha256: str = "a" * 64, limits: GateLimits = ANY_MAP, usual: Envelope = ANY_INPUT, n_members: int = 2
) -> TrustCalibration:
    return TrustCalibration(sha256, n_members, usual, limits, SCALE, SCALE, {"maps": 3.0})


def let_small_scans_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Widen the limits of the geometry: scans of tests are far smaller than a head."""
    wide = dict.fromkeys(LIMITS, (-math.inf, math.inf))
    monkeypatch.setattr(envelope, "LIMITS", wide)
