"""Learned images are used only where they give the samples back and agree with the conventional ones."""

import math

import pytest
import torch

from pipeline.method import Finding
from pipeline.reconstruction.gates import (
    IMAGES_USED,
    GateLimits,
    fidelity_finding,
    image_differences,
    invariance_finding,
    judged_images,
    residual_power,
)
from pipeline.units import radians_per_ppm
from tests.pipeline.reconstruction.learned_scan import small_scan

KSPACE, MAPS, TRUTH = small_scan(noise=1.0)


def test_the_residual_of_the_truth_is_the_noise() -> None:
    assert torch.allclose(residual_power(TRUTH, KSPACE, MAPS), torch.ones(2), atol=0.03)


def test_images_that_give_the_samples_back_are_used() -> None:
    told: list[Finding] = []
    judged = judged_images(TRUTH, 1.001 * TRUTH, KSPACE, MAPS, 1.0, on_finding=told.append)
    assert judged.is_learned
    assert torch.equal(judged.images, TRUTH)
    assert [finding.name for finding in told] == [
        "measured_samples_kept",
        "difference_from_conventional",
        "images_source",
    ]
    assert not any(finding.is_warning for finding in told)
    assert told[0].figures["residual_over_noise"] == pytest.approx(1.0, abs=0.02)
    assert told[-1].figures == {IMAGES_USED: 1.0}
    assert tuple(told) == judged.findings


def test_images_that_invent_a_structure_are_not_used() -> None:
    invented = TRUTH.clone()
    invented[:, 5:8, 6:9, 8:11] += 25
    judged = judged_images(invented, TRUTH, KSPACE, MAPS, 1.0)
    assert not judged.is_learned
    assert torch.equal(judged.images, TRUTH)
    assert [finding.is_warning for finding in judged.findings] == [True, False, True]
    assert "not kept" in judged.findings[0].sentence


def test_without_falling_back_a_closed_gate_only_warns() -> None:
    judged = judged_images(0.5 * TRUTH, TRUTH, KSPACE, MAPS, 1.0, falls_back=False)
    assert judged.is_learned
    assert sum(finding.is_warning for finding in judged.findings) == 2


def test_without_a_noise_scan_the_conventional_images_are_the_measure() -> None:
    kept = fidelity_finding(TRUTH, TRUTH, KSPACE, MAPS, None)
    lost = fidelity_finding(0.8 * TRUTH, TRUTH, KSPACE, MAPS, None)
    assert set(kept.figures) == {"residual_over_conventional"}
    assert (kept.is_warning, lost.is_warning) == (False, True)


def test_sensitivities_that_do_not_fit_are_not_held_against_the_network() -> None:
    wrong = MAPS.roll(1, dims=-1)
    finding = fidelity_finding(TRUTH, TRUTH, KSPACE, wrong, 1.0)
    assert finding.figures["residual_over_noise"] > GateLimits().residual
    assert not finding.is_warning


def test_differences_are_told_in_percent_milliradians_and_as_a_field() -> None:
    turned = TRUTH.clone()
    turned[1] *= complex(math.cos(0.1), math.sin(0.1))
    found = image_differences(turned, TRUTH, KSPACE)
    assert found["magnitude_percent"] == pytest.approx(0.0, abs=1e-3)
    assert found["phase_mrad"] == pytest.approx(100.0, rel=1e-3)
    assert found["field_ppb"] == pytest.approx(100.0 / radians_per_ppm(0.010, 3.0), rel=1e-3)
    assert image_differences(1.1 * TRUTH, TRUTH, KSPACE)["magnitude_percent"] == pytest.approx(10.0, rel=1e-3)


def test_regions_that_keep_their_means_pass() -> None:
    finding = invariance_finding({"Pu": 0.050, "RN": 0.150}, {"Pu": 0.0515, "RN": 0.1525})
    assert not finding.is_warning
    assert finding.figures["largest_change_ppb"] == pytest.approx(2.5, abs=1e-6)


@pytest.mark.parametrize("moved", [0.0525, float("nan")])
def test_a_region_that_moves_is_named(moved: float) -> None:
    finding = invariance_finding({"Pu": 0.050, "RN": 0.150}, {"Pu": moved, "RN": 0.150})
    assert finding.is_warning
    assert "Pu" in finding.sentence
    assert "RN" not in finding.sentence


def test_no_region_is_no_proof() -> None:
    assert invariance_finding({}, {"Pu": 0.05}).is_warning
