"""Trials: the same for the same plan, other seeds for tuning than for reporting, and one factor at a time."""

from dataclasses import replace

import pytest
import torch

from pipeline.errors import InvalidRecipe
from pipeline.studies.region_metrics import LEAST_REGION_VOXELS
from pipeline.training import evaluation_axes
from pipeline.training.datasets.recipe import DataRecipe
from pipeline.training.evaluation_axes import AXES, CENTRE, AxisPlan, Level, axis_plans, fine_head, fine_patch
from pipeline.training.evaluation_trials import (
    COMPOSITE,
    FULL,
    GENERATORS,
    HEAD_SEEDS,
    QUICK,
    STREAMS,
    Plan,
    make_trial,
    plans,
    random_regions,
)
from pipeline.training.examples import DataRecipe as TrainedRecipe
from pipeline.training.held_out import SEED


def test_no_reported_sample_is_one_that_was_tuned_or_validated_on() -> None:
    assert len({*STREAMS.values(), SEED}) == 3
    assert not set(HEAD_SEEDS["report"]) & set(HEAD_SEEDS["tuning"])


def test_the_generators_are_those_that_no_network_trains_on() -> None:
    assert not {name for name, _ in TrainedRecipe().generators} & set(GENERATORS)
    assert DataRecipe().held_out().generators == ((COMPOSITE, 1.0),)


def test_the_same_plan_gives_the_same_bits_and_the_next_one_others() -> None:
    first, again, other = (make_trial(Plan(COMPOSITE, "report", index)) for index in (3, 3, 4))
    assert torch.equal(first.local_field, again.local_field)
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.local_field, other.local_field)


def test_plans_of_both_streams_are_as_many_and_share_no_seed() -> None:
    for amount in (FULL, QUICK):
        assert len(plans(amount, "report")) == len(plans(amount, "tuning")) == amount.patches + 3 * len(amount.scans)
    with pytest.raises(InvalidRecipe, match="report or tuning"):
        plans(FULL, "training")


def test_random_regions_lie_in_the_mask_and_are_large_enough_to_be_measured() -> None:
    mask = torch.zeros(40, 40, 40, dtype=torch.bool)
    mask[4:36, 4:36, 4:36] = True
    labels, names = random_regions(mask, 1)
    assert not labels[~mask].any()
    sizes = [int((labels == label).sum()) for label in names]
    assert sum(size > LEAST_REGION_VOXELS for size in sizes) >= len(names) // 2


def test_every_axis_holds_the_centre_and_only_one_factor_differs_from_it() -> None:
    for levels in AXES.values():
        assert CENTRE in levels.values()
        for level in levels.values():
            different = [name for name in vars(level) if getattr(level, name) != getattr(CENTRE, name)]
            assert len(different) <= 1
    assert [len(AXES[name]) for name in ("SNR", "tilt", "voxel", "slab")] == [3, 4, 3, 5]


def test_patches_come_before_heads_and_a_patch_has_no_slab() -> None:
    planned = axis_plans(FULL, "report")
    heads = list(GENERATORS[1 : 1 + FULL.axis_heads])
    assert [plan.generator for plan in planned] == [COMPOSITE] * FULL.axis_patches + heads
    assert [plan.is_first_patch for plan in planned].count(True) == 1
    assert all(level.coverage_mm == 0 for level in planned[0].levels)
    assert len(planned[0].levels) == 8
    assert len(planned[-1].levels) == 12


def test_levels_of_a_patch_share_their_truth_and_noise_follows_the_snr() -> None:
    patch = fine_patch(AxisPlan(COMPOSITE, "report", 1000))
    centre, noisy, tilted = (patch.trial(level, 1) for level in (CENTRE, Level(snr=20.0), Level(tilt_deg=40.0)))
    assert torch.equal(centre.susceptibility, noisy.susceptibility)
    assert torch.equal(centre.susceptibility, tilted.susceptibility)
    ratio = noisy.field_noise[centre.mask].median() / centre.field_noise[centre.mask].median()
    assert float(ratio) == pytest.approx(3.0, rel=1e-4)
    change = (centre.local_field - tilted.local_field)[centre.mask]
    assert float(change.std()) > 5 * float(centre.field_noise[centre.mask].median())
    assert tilted.grid.b0_direction[0] == pytest.approx(0.7660, abs=1e-3)


def test_thick_slices_are_averages_of_the_same_field() -> None:
    patch = fine_patch(AxisPlan(COMPOSITE, "report", 1000))
    quiet = replace(patch, noise=torch.zeros_like(patch.noise))
    thin, thick = quiet.trial(CENTRE, 1), quiet.trial(Level(aspect=2), 1)
    assert thick.grid.voxel_size_mm == (2.0, 1.0, 1.0)
    whole = thin.mask.reshape(36, 2, 64, 64).all(1)
    averaged = thin.local_field.reshape(36, 2, 64, 64).mean(1)
    assert torch.allclose(averaged[whole], thick.local_field[whole], atol=1e-6)


def test_a_slab_of_a_head_holds_its_nuclei_and_the_field_of_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_axes, "_HEAD_SHAPE", (40, 50, 40))
    monkeypatch.setattr(evaluation_axes, "_HEAD_MM", 4.0)
    head = fine_head(AxisPlan("textured", "report", 0))
    whole, slab = head.trial(CENTRE, 1), head.trial(Level(coverage_mm=64.0), 1)
    assert whole.grid.shape == (20, 25, 20)
    assert slab.grid.shape == (8, 25, 20)
    assert int((slab.labels > 0).sum()) > 0.8 * int((whole.labels > 0).sum()) > 0
    assert slab.magnitude.shape == (5, 8, 25, 20)
    assert float(slab.local_field[slab.mask].std()) < 0.1
    with pytest.raises(InvalidRecipe, match="number 9"):
        fine_head(AxisPlan("textured", "report", 9))
