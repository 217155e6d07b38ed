"""The acceptance score: the truth passes, and each kind of wrong map fails for its own reason."""

from dataclasses import replace

import pytest
import torch

from pipeline.simulation.phantom import adult_head
from pipeline.simulation.scanner import SMALL, SimulatedScan, acquire
from pipeline.studies.accuracy import RegionScore, score


@pytest.fixture(scope="module")
def scan() -> SimulatedScan:
    return acquire(adult_head(), replace(SMALL, voxel_size_mm=(2.4, 2.4, 2.4), shape=(64, 90, 72), finest_mm=1.2))


def test_the_truth_scores_full_marks_with_any_reference(scan: SimulatedScan) -> None:
    result = score(scan, scan.susceptibility + 0.5, scan.brain)
    assert result.detrended_nrmse_percent < 0.01
    assert result.slope == pytest.approx(1.0)
    assert (result.coverage, result.outside_share) == (1.0, 0.0)
    assert sum(region.is_judged for region in result.regions) >= 6
    assert max(abs(region.error_ppb) for region in result.regions) < 0.01
    assert result.shortcomings() == []


def test_a_map_turned_left_for_right_fails(scan: SimulatedScan) -> None:
    missed = score(scan, scan.susceptibility.flip(-1), scan.brain).shortcomings()
    assert any("NRMSE" in sentence for sentence in missed)


def test_a_mask_that_loses_brain_fails_by_its_coverage(scan: SimulatedScan) -> None:
    mask = scan.brain.clone()
    mask[:, : mask.shape[1] // 3] = False
    assert any("covers" in sentence for sentence in score(scan, scan.susceptibility, mask).shortcomings())


def test_a_mask_that_takes_the_whole_volume_is_told_by_its_share_outside(scan: SimulatedScan) -> None:
    everything = torch.ones_like(scan.brain)
    expected = 1 - float(scan.brain.double().mean())
    assert score(scan, scan.susceptibility, everything).outside_share == pytest.approx(expected)


def test_a_biased_nucleus_fails_by_its_name(scan: SimulatedScan) -> None:
    label = next(label for label, name in scan.label_names.items() if name == "Left thalamus")
    biased = torch.where(scan.labels == label, scan.susceptibility - 0.03, scan.susceptibility)
    missed = score(scan, biased, scan.brain).shortcomings()
    assert [sentence for sentence in missed if "Left thalamus" in sentence]
    assert not [sentence for sentence in missed if "Right thalamus" in sentence]


def test_a_strong_source_may_err_by_its_share_and_a_lesion_is_not_judged() -> None:
    assert RegionScore("Left globus pallidus", 500, 140.0, 160.0).is_within_limit
    assert not RegionScore("Left globus pallidus", 500, 80.0, 96.0).is_within_limit
    assert not RegionScore("Bleed", 500, 800.0, 100.0).is_judged
    assert not RegionScore("Left red nucleus", 100, 100.0, 0.0).is_judged
