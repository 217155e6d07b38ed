"""Metrics of regions against values worked out by hand."""

import math

import numpy as np
import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.studies.region_metrics import lesion_moment, linearity, mean_absolute_error_ppb, region_errors

SHAPE = (16, 16, 16)
NAMES = {1: "first", 2: "second", 3: "third", 4: "small"}
TRUE_PPM = {1: 0.05, 2: 0.10, 3: 0.15}


def regions() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return labels, a truth [ppm] with one value per region, and a mask."""
    labels = torch.zeros(SHAPE, dtype=torch.int32)
    for label in (1, 2, 3):
        labels[4 * label - 2 : 4 * label, 2:8, 2:8] = label
    labels[14, 14, 14] = 4
    truth = torch.zeros(SHAPE)
    for label, value in TRUE_PPM.items():
        truth[labels == label] = value
    return labels, truth, torch.ones(SHAPE, dtype=torch.bool)


def test_a_shift_is_no_error_and_a_lost_tenth_is_one_in_proportion() -> None:
    labels, truth, mask = regions()
    assert mean_absolute_error_ppb(region_errors(truth + 1, truth, mask, labels, NAMES)) == pytest.approx(0, abs=1e-3)
    found = region_errors(0.9 * truth, truth, mask, labels, NAMES)
    mean = float(truth.mean())
    assert [region.name for region in found] == ["first", "second", "third"]
    for region, value in zip(found, TRUE_PPM.values(), strict=True):
        assert region.error_ppb == pytest.approx(-100 * (value - mean), abs=1e-3)


def test_the_line_through_the_nuclei_is_that_of_numpy() -> None:
    labels, truth, mask = regions()
    estimate = truth.clone()
    estimate[labels == 3] -= 0.02
    found = region_errors(estimate, truth, mask, labels, NAMES)
    wanted = [region.truth_ppb for region in found]
    measured = [region.measured_ppb for region in found]
    slope, explained = linearity(found)
    assert slope == pytest.approx(np.polyfit(wanted, measured, 1)[0], rel=5e-5)
    assert explained == pytest.approx(np.corrcoef(wanted, measured)[0, 1] ** 2, rel=5e-5)
    assert slope < 0.9


def test_no_region_gives_no_number() -> None:
    assert math.isnan(mean_absolute_error_ppb([]))
    assert all(math.isnan(value) for value in linearity([]))


def test_the_moment_of_a_lesion_is_its_excess_times_its_volume_however_blurred() -> None:
    lesion = torch.zeros(SHAPE, dtype=torch.bool)
    lesion[7:10, 7:10, 7:10] = True
    sharp = torch.where(lesion, -0.4, 0.0) + 0.03
    everywhere = torch.ones(SHAPE, dtype=torch.bool)
    voxel = (2.0, 1.0, 1.5)
    assert lesion_moment(sharp, lesion, everywhere, voxel) == pytest.approx(-0.4 * 27 * 3.0, rel=1e-5)
    blurred = (4 * sharp + sum(sharp.roll(step, axis) for step in (-1, 1) for axis in range(3))) / 10
    assert lesion_moment(blurred, lesion, everywhere, voxel) == pytest.approx(-0.4 * 27 * 3.0, rel=1e-5)
    assert lesion_moment(0.5 * sharp, lesion, everywhere, voxel) == pytest.approx(-0.2 * 27 * 3.0, rel=1e-5)


def test_a_lesion_outside_the_mask_and_unlike_shapes_are_refused() -> None:
    labels, truth, mask = regions()
    lesion = labels == 1
    with pytest.raises(UnusableInput, match="outside"):
        lesion_moment(truth, lesion, ~lesion & (labels == 3), (1.0, 1.0, 1.0))
    with pytest.raises(UnusableInput, match="shape"):
        region_errors(truth[1:], truth, mask, labels, NAMES)
