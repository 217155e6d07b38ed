"""Metrics against values worked out by hand, and the laws that make them fair."""

import math

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.studies.metrics import correlation, detrended_nrmse, nrmse, slope
from pipeline.studies.structure import hfen

MASK = torch.ones(16, 16, 16, dtype=torch.bool)


def maps() -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(1)
    truth, error = (torch.randn(16, 16, 16, generator=chance) for _ in range(2))
    return truth + 0.3 * error, truth


def test_the_error_of_a_small_example_is_that_worked_out_by_hand() -> None:
    truth, estimate = torch.tensor([-1.0, 1.0, 0.0, 0.0]), torch.tensor([0.0, 2.0, 1.5, 0.5])
    mask = torch.ones(4, dtype=torch.bool)
    assert nrmse(estimate, truth, mask) == pytest.approx(100 * math.sqrt(0.5 / 2))
    assert slope(estimate, truth, mask) == pytest.approx(1.0)


@pytest.mark.parametrize("metric", [nrmse, detrended_nrmse, hfen])
def test_the_truth_has_no_error_and_a_constant_does_not_matter(metric) -> None:
    estimate, truth = maps()
    assert metric(truth + 5.0, truth, MASK) == pytest.approx(0.0, abs=1e-4)
    assert metric(estimate + 5.0, truth, MASK) == pytest.approx(metric(estimate, truth, MASK), rel=1e-5)


def test_detrending_forgives_lost_contrast_and_the_slope_tells_it() -> None:
    _, truth = maps()
    assert nrmse(0.8 * truth, truth, MASK) == pytest.approx(20.0)
    assert detrended_nrmse(0.8 * truth, truth, MASK) == pytest.approx(0.0, abs=1e-4)
    assert slope(0.8 * truth, truth, MASK) == pytest.approx(0.8)
    assert correlation(0.8 * truth, truth, MASK) == pytest.approx(1.0)


def test_a_map_that_does_not_follow_the_truth_is_infinitely_wrong() -> None:
    _, truth = maps()
    assert detrended_nrmse(torch.ones_like(truth), truth, MASK) == math.inf


def test_values_outside_the_mask_do_not_matter() -> None:
    estimate, truth = maps()
    mask = MASK.clone()
    mask[:4] = False
    spoiled = estimate.clone()
    spoiled[:4] = 1e6
    for metric in (nrmse, detrended_nrmse, slope, correlation, hfen):
        assert metric(spoiled, truth, mask) == metric(estimate, truth, mask)


def test_the_high_frequency_error_sees_edges_and_not_shades() -> None:
    _, truth = maps()
    shade = torch.cos(torch.pi * (torch.arange(16.0) + 0.5) / 16).reshape(16, 1, 1).expand(16, 16, 16)
    assert hfen(truth + shade, truth, MASK) < 0.6 * nrmse(truth + shade, truth, MASK)
    assert hfen(0.7 * truth, truth, MASK) == pytest.approx(30.0, abs=1e-3)


def test_an_empty_mask_a_flat_truth_and_unlike_shapes_are_refused() -> None:
    estimate, truth = maps()
    with pytest.raises(UnusableInput, match="empty"):
        nrmse(estimate, truth, ~MASK)
    with pytest.raises(UnusableInput, match="constant"):
        nrmse(estimate, torch.ones_like(truth), MASK)
    with pytest.raises(UnusableInput, match="shape"):
        nrmse(estimate[1:], truth, MASK)
