"""A region's interval and its unmeasured share come from the maps beside a learned one, scaled as its weights' were."""

from types import SimpleNamespace

import numpy as np
import pytest

from node import region_trust
from node.region_trust import interval_scale, with_trust
from pipeline.maps import CLASSICAL_SUSCEPTIBILITY, CONE_PART, SUSCEPTIBILITY_SPREAD
from pipeline.regions.measurements import RegionMeasurement
from pipeline.susceptibility.dipole_inversion.learned.intervals import IntervalScale

SHAPE = (6, 6, 6)
LABELS = np.zeros(SHAPE, dtype=np.int32)
LABELS[1:3, 1:3, 1:3] = 1
LABELS[3:5, 3:5, 3:5] = 2
NUCLEI = [RegionMeasurement(label, f"nucleus {label}", 0.1, 0.0, 0.1, 0.008, 8) for label in (1, 2)]
WIDE = IntervalScale((1.0,), 1.0, (8.0, 1000.0), (0.5, 0.25))
NARROW = IntervalScale((1.0,), 1.0, (8.0,), (0.1,))


def learned_maps() -> dict[str, np.ndarray]:
    """Return 0.1 ppm in both nuclei; a quarter of the first one's contrast comes from the cone."""
    found = np.where(LABELS > 0, np.float32(0.1), np.float32(0))
    found -= found.mean()
    return {
        "susceptibility": found,
        "mask": np.ones(SHAPE, dtype=np.uint8),
        CLASSICAL_SUSCEPTIBILITY: 0.8 * found,
        SUSCEPTIBILITY_SPREAD: np.where(LABELS == 1, np.float32(0.004), np.float32(0.008)),
        CONE_PART: np.where(LABELS == 1, 0.25 * found, 0),
    }


def test_each_region_has_its_classical_mean_half_width_and_unmeasured_share() -> None:
    first, second = with_trust(NUCLEI, learned_maps(), LABELS, WIDE)
    inside = float(learned_maps()["susceptibility"][LABELS == 1].mean())
    assert first.classical_mean == pytest.approx(0.8 * inside)
    assert (first.half_width, second.half_width) == (pytest.approx(0.002), pytest.approx(0.004))
    assert (first.cone_share, second.cone_share) == (pytest.approx(0.25), pytest.approx(0.0))


def test_without_a_calibration_the_voxels_of_a_region_err_together() -> None:
    first, _ = with_trust(NUCLEI, learned_maps(), LABELS)
    assert first.half_width == pytest.approx(0.004)


def test_the_brain_has_no_interval_about_its_own_zero() -> None:
    whole = RegionMeasurement(1, "Brain", 0.0, 0.0, 0.0, 0.2, 216)
    (brain,) = with_trust([whole], learned_maps(), np.ones(SHAPE, dtype=np.int32))
    assert brain.classical_mean == pytest.approx(0.0, abs=1e-7)
    assert (brain.half_width, brain.cone_share) == (None, None)


def test_a_classical_run_is_left_as_it_is() -> None:
    assert with_trust(NUCLEI, {"mask": np.ones(SHAPE, dtype=np.uint8)}, LABELS) == NUCLEI
    assert interval_scale({"figures": {}, "warnings": []}) is None


@pytest.mark.parametrize(("source", "expected"), [("learned", NARROW), ("classical", WIDE)])
def test_the_scale_is_that_of_the_map_sent_and_of_the_weights_that_made_it(
    source: str, expected: IntervalScale, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    (tmp_path / "stored").touch()
    stored = SimpleNamespace(sha256="a" * 64, learned=NARROW, classical=WIDE)
    monkeypatch.setattr(region_trust, "calibration_file", lambda name: tmp_path / "stored")
    monkeypatch.setattr(region_trust, "load_calibration", lambda name: stored)
    quality = {"weights": {"lodestone_net": "a" * 64}, "susceptibility_source": source}
    assert interval_scale(quality) is expected
    assert interval_scale({**quality, "weights": {"lodestone_net": "b" * 64}}) is None
    (tmp_path / "stored").unlink()
    assert interval_scale(quality) is None
