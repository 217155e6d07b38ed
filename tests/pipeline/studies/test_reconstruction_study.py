"""The tables of accelerated scans say what the trials found, and the trials scan, reconstruct and map."""

import math

import pytest
import torch

from pipeline.networks.super_resolution import SuperResolution
from pipeline.reconstruction.sense import CG_SENSE
from pipeline.simulation.scanner import Protocol
from pipeline.studies.reconstruction_tables import correlation, reconstruction_tables
from pipeline.studies.reconstruction_trials import (
    Amount,
    ReconstructionTrial,
    Truth,
    image_errors,
    reconstruction_trials,
)
from pipeline.studies.super_resolution_study import super_resolution_tables

TINY = Amount(
    Protocol((26, 36, 30), (6.0, 6.0, 6.0), (0.004, 0.010, 0.016), snr=80.0, finest_mm=3.0),
    seeds=(7013,),
    accelerations=(2.0,),
    calibration=(8, 8),
    n_coils=4,
    recipe="v_sharp_tv",
)


def trial(seed: int, method: str, acceleration: float, nuclei: dict[str, float]) -> ReconstructionTrial:
    return ReconstructionTrial(seed, method, acceleration, 30.0 + acceleration, 10.0, 1.0, 1.0, 2.0, nuclei)


FOUND = [
    part
    for seed, (left, right) in enumerate([(0.05, 0.06), (0.07, 0.08), (0.10, 0.11)])
    for part in (
        Truth(seed, {"Left putamen": left, "Right putamen": right}),
        trial(seed, "zero_filled", 1.0, {"Left putamen": left, "Right putamen": right}),
        trial(seed, "net", 4.0, {"Left putamen": 1.04 * left, "Right putamen": 1.04 * right}),
        trial(seed, "old", 4.0, {"Left putamen": 0.90 * left, "Right putamen": 0.90 * right}),
    )
]


def test_tables_hold_correlations_differences_and_the_verdict() -> None:
    images, correlations, differences, verdicts = reconstruction_tables(FOUND, ["net"])
    assert [row[:3] for row in images.rows] == [
        ("AF 1", "zero_filled", 31.0),
        ("AF 4", "net", 34.0),
        ("AF 4", "old", 34.0),
    ]
    assert correlations.columns == ("nucleus", "net, AF 4", "old, AF 4")
    assert correlations.rows[0][1:] == pytest.approx((1.0, 1.0))
    putamen = differences.rows[0]
    assert putamen[1:3] == pytest.approx((1e3 * 0.47 / 6, 1e3 * 0.47 / 6))
    assert putamen[3:] == pytest.approx((4.0, -10.0))
    assert [(row[1], row[2], row[-1]) for row in verdicts.rows] == [
        ("net", "network", "met"),
        ("old", "conventional", "not met"),
    ]


def test_a_correlation_of_few_or_equal_values_is_not_known() -> None:
    assert math.isnan(correlation([1, 2], [1, 2]))
    assert math.isnan(correlation([1, 1, 1], [1, 2, 3]))
    assert correlation([1, 2, 3, 4], [-2, -4, -6, -8]) == pytest.approx(-1.0)


def test_image_errors_ignore_the_receivers_scale_and_phase() -> None:
    truth = torch.polar(torch.rand(2, 4, 5, 6) + 0.5, torch.rand(2, 4, 5, 6))
    brain = torch.ones(4, 5, 6, dtype=torch.bool)
    psnr, phase = image_errors(3j * truth, truth, brain)
    assert psnr > 100
    assert phase < 1e-4
    turned = truth.clone()
    turned[1] *= torch.exp(torch.tensor(0.2j))
    assert image_errors(turned, truth, brain)[1] == pytest.approx(0.2, rel=1e-4)


@pytest.mark.slow
def test_a_head_is_scanned_reconstructed_and_mapped_with_every_acceleration() -> None:
    told: list[str] = []
    found = list(reconstruction_trials("strong_background", TINY, [CG_SENSE], told.append))
    truth, full, accelerated = found
    assert isinstance(truth, Truth)
    assert isinstance(full, ReconstructionTrial)
    assert isinstance(accelerated, ReconstructionTrial)
    assert (full.acceleration, full.method, accelerated.acceleration) == (1.0, "zero_filled", 2.0)
    assert accelerated.method == "cg_sense"
    assert full.psnr_db > accelerated.psnr_db > 15
    assert full.phase_mrad < accelerated.phase_mrad < 500
    assert set(truth.nuclei) == set(full.nuclei) == set(accelerated.nuclei)
    assert all(name.startswith(("Left ", "Right ")) for name in truth.nuclei)
    assert told == ["strong_background 7013, zero_filled, AF 1", "strong_background 7013, cg_sense, AF 2"]


@pytest.mark.slow
def test_an_untrained_super_resolution_changes_no_nucleus() -> None:
    (table,) = super_resolution_tables("strong_background", TINY, SuperResolution())
    plain, finer = table.rows
    assert plain[2] == pytest.approx(finer[2])
    assert finer[4] == pytest.approx(0.0, abs=1e-3)
    assert finer[5] == "yes"
