"""A calibration of an untrained network is measured, stored and loaded; its intervals hold what they were made for."""

import functools
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.networks.lodestone_net import LodestoneNet
from pipeline.networks.table import NETWORKS
from pipeline.networks.weights import store_weights
from pipeline.susceptibility.dipole_inversion.learned.gates import MapFigures
from pipeline.susceptibility.dipole_inversion.learned.intervals import TERMS
from pipeline.susceptibility.dipole_inversion.learned.trust_calibration import load_calibration
from pipeline.training import calibration, envelope_study
from pipeline.training.calibration import (
    CalibrationSize,
    Judged,
    Truth,
    calibrate,
    gate_limits,
    interval_scale,
    rank_correlation,
    region_ratios,
    regions_of,
)
from pipeline.training.datasets.recipe import DataRecipe
from pipeline.training.datasets.stream import sample

TINY = CalibrationSize(24, 30, 6, 1, 2, (), 12)


@functools.cache
def truth(index: int) -> Truth:
    one = sample(DataRecipe(shape=(32, 32, 32), mask_error_share=0.0), 3, index)
    return Truth("held out", one, one.magnitude, one.susceptibility)


def wrong_map(index: int, noise: float) -> Judged:
    """Return a map whose error is twice as large where its terms say so."""
    chance = torch.Generator().manual_seed(index)
    mask = truth(index).scan.mask
    local = torch.where(torch.rand((4, 4, 4), generator=chance) < 0.5, 1.0, 2.0)
    size = torch.nn.functional.interpolate(local[None, None], scale_factor=8.0)[0, 0] * noise
    smooth = torch.nn.functional.avg_pool3d(torch.randn((1, 1, 32, 32, 32), generator=chance), 5, 1, 2)[0, 0]
    error = torch.where(mask, size * smooth / smooth.std(), 0.0)
    terms = torch.zeros((len(TERMS), 32, 32, 32))
    terms[TERMS.index("members")] = size.square() * mask
    terms[-1] = float(noise**2) * mask
    return Judged(truth(index), error, terms)


def test_regions_lie_in_the_mask_and_keep_their_sizes() -> None:
    regions = regions_of(truth(0), 40, 0)
    assert len(regions) > 15
    assert all(30 <= int(region.sum()) <= 3000 for region in regions)
    assert not any(bool((region & ~truth(0).scan.mask).any()) for region in regions)
    labels = torch.zeros(truth(0).scan.mask.shape, dtype=torch.int64)
    labels[10:15, 10:15, 10:15] = 3
    named = replace(truth(0), labels=labels)
    inside = (labels == 3) & named.scan.mask
    assert torch.equal(regions_of(named, 4, 0)[-1], inside)


def test_intervals_cover_the_errors_of_further_maps() -> None:
    size = replace(TINY, regions_per_map=30)
    scale = interval_scale([wrong_map(index, 0.01 * (1 + index)) for index in range(6)], size)
    covered, voxels = [], []
    for index in range(6, 12):
        one = wrong_map(index, 0.02)
        half = scale.half_widths(one.terms)
        voxels.append(float((one.error.abs() <= half)[one.truth.scan.mask].float().mean()))
        covered += [
            ratio <= scale.of_region(1.0, n_voxels)
            for ratio, n_voxels in region_ratios(one, half, regions_of(one.truth, 30, index))
        ]
    assert sum(voxels) / len(voxels) == pytest.approx(0.9, abs=0.04)
    assert sum(covered) / len(covered) == pytest.approx(0.9, abs=0.08)
    assert list(scale.regions) == sorted(scale.regions, reverse=True)
    assert rank_correlation([wrong_map(7, 0.02)], scale) > 0.15


def test_limits_lie_beyond_all_that_was_seen() -> None:
    limits = gate_limits([MapFigures(0.8, 1.1, 0.3), MapFigures(1.6, 0.9, 0.1)])
    assert limits.misfit == pytest.approx((0.64, 2.0))
    assert limits.misfit_to_twin == pytest.approx((0.72, 1.375))
    assert limits.change == pytest.approx(0.375)


def test_a_calibration_is_measured_stored_and_used_for_the_envelope(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(NETWORKS["lodestone_net"], make=lambda: LodestoneNet((4, 8)))
    monkeypatch.setitem(NETWORKS, "lodestone_net", spec)
    stored = store_weights("lodestone_net", spec.make().state_dict(), tmp_path)
    told: list[float] = []
    found = calibrate(folder=tmp_path, size=TINY, n_members=1, on_progress=told.append)
    assert load_calibration("lodestone_net", tmp_path).sha256 == found.sha256 == stored.sha256
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert found.figures["maps"] == 3
    assert found.learned.voxel > 0
    assert found.envelope.threshold < 100
    recipe = DataRecipe(shape=(24, 24, 24), purpose="validation")
    table = envelope_study.rates(found.envelope, recipe, 2, ())
    shares = {row[0]: row[3].value for row in table.rows}
    assert set(envelope_study.STRANGE) < set(shares)
    assert shares["field and noise in hertz"] == shares["voxels of 3.5 mm"] == 100.0
    again = calibration.usual_envelope(replace(recipe), TINY)
    assert again == calibration.usual_envelope(recipe, TINY)
