"""A recipe that cannot be made is refused, and each of its settings can be seen in the samples."""

import math
from dataclasses import replace

import pytest
import torch

from pipeline.errors import InvalidRecipe
from pipeline.training.datasets.recipe import DataRecipe
from pipeline.training.datasets.stream import sample

CLEAN = DataRecipe(
    shape=(20, 20, 20),
    generators=(("texture", 1.0),),
    mixed_share=0.0,
    residual_background_share=0.0,
    mask_error_share=0.0,
    outlier_share=0.0,
)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "whole"},
        {"purpose": "test"},
        {"shape": (8, 64, 64)},
        {"orientations": 2},
        {"aspect_max": 0.5},
        {"tilt_max_deg": 120.0},
        {"noise_ppb": (0.0, 1.0)},
    ],
)
def test_a_recipe_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidRecipe):
        DataRecipe(**wrong)  # type: ignore[arg-type]


def test_voxels_and_tilts_span_what_the_recipe_asks_and_no_more() -> None:
    grids = [sample(replace(CLEAN, shape=(16, 16, 16)), 5, index).grid for index in range(40)]
    aspects = [max(grid.voxel_size_mm) / min(grid.voxel_size_mm) for grid in grids]
    tilts = [math.degrees(math.acos(min(1.0, grid.b0_direction[0]))) for grid in grids]
    assert 2.0 < max(aspects) <= 3.0
    assert 40.0 < max(tilts) <= 60.0
    assert sum(tilt < 1e-3 for tilt in tilts) >= 4


def test_without_faults_the_field_differs_from_the_truth_by_the_stated_noise() -> None:
    quiet = replace(CLEAN, noise_ppb=(1e-4, 1.1e-4))
    for index in range(2):
        noisy, clean = sample(CLEAN, 2, index), sample(quiet, 2, index)
        assert torch.equal(noisy.susceptibility, clean.susceptibility)
        error = ((noisy.local_field - clean.local_field) / noisy.field_noise)[noisy.mask]
        assert float(error.std()) == pytest.approx(1.0, abs=0.05)


def test_cropping_leaves_the_field_of_the_surroundings_in_the_patch() -> None:
    quiet = replace(CLEAN, noise_ppb=(1e-4, 1.1e-4))
    drawn = sample(replace(quiet, mode="cropped"), 4, 0)
    assert drawn.susceptibility.shape == drawn.local_field.shape == quiet.shape
    assert drawn.grid.shape == quiet.shape


def test_labels_from_several_orientations_are_near_the_truth_and_not_the_truth() -> None:
    small = replace(CLEAN, shape=(16, 16, 16))
    truth, label = (sample(replace(small, orientations=count), 6, 0).susceptibility for count in (1, 5))
    assert 1e-4 < float((label - truth).norm() / truth.norm()) < 0.8
