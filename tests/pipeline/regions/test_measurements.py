"""Region measurements: the numbers of a report."""

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.regions.measurements import measure

VOXEL = (2.0, 1.0, 1.5)


def two_regions() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    values, labels = torch.zeros(4, 4, 4), torch.zeros(4, 4, 4, dtype=torch.uint8)
    labels[0], labels[2] = 3, 1
    values[0] = 0.1
    values[2] = torch.arange(16.0).reshape(4, 4)
    return values, labels, torch.ones(4, 4, 4, dtype=torch.bool)


def test_mean_spread_median_and_volume_are_those_of_the_voxels() -> None:
    first, second = measure(*two_regions()[:2], {1: "Left putamen", 3: "Bleed"}, two_regions()[2], VOXEL)
    assert (first.label, first.name, first.n_voxels) == (1, "Left putamen", 16)
    assert first.mean == pytest.approx(7.5)
    assert first.median == pytest.approx(7.5)
    assert first.sd == pytest.approx(4.76095, abs=1e-4)
    assert first.volume_ml == pytest.approx(16 * 3.0 / 1000)
    assert (second.name, second.mean) == ("Bleed", pytest.approx(0.1))


def test_voxels_outside_the_mask_are_not_measured() -> None:
    values, labels, mask = two_regions()
    mask[2, 1:] = False
    first = measure(values, labels, {}, mask, VOXEL)[0]
    assert (first.n_voxels, first.mean) == (4, pytest.approx(1.5))


def test_a_region_wholly_outside_the_mask_is_left_out_and_not_reported_as_zero() -> None:
    values, labels, mask = two_regions()
    mask[0] = False
    assert [region.label for region in measure(values, labels, {}, mask, VOXEL)] == [1]


def test_a_single_voxel_has_no_spread() -> None:
    values, labels, mask = two_regions()
    mask[:] = False
    mask[2, 3, 3] = True
    only = measure(values, labels, {}, mask, VOXEL)[0]
    assert (only.mean, only.sd, only.median) == (15.0, 0.0, 15.0)


def test_a_label_without_a_name_keeps_its_number() -> None:
    assert measure(*two_regions()[:2], {}, two_regions()[2], VOXEL)[1].name == "Label 3"


def test_labels_of_another_grid_are_refused() -> None:
    values, labels, mask = two_regions()
    with pytest.raises(UnusableInput, match="one grid"):
        measure(values, labels[1:], {}, mask, VOXEL)


def test_labels_that_are_no_whole_numbers_are_refused() -> None:
    values, labels, mask = two_regions()
    with pytest.raises(UnusableInput, match="whole numbers"):
        measure(values, labels.float(), {}, mask, VOXEL)
