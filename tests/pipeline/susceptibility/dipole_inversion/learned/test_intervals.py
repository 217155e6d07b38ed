"""Views of a scan agree where a network is symmetric; quantiles hold what they promise; half widths follow the size."""

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.networks.inputs import Scan
from pipeline.networks.lodestone_net import LodestoneNet
from pipeline.networks.table import NETWORKS
from pipeline.susceptibility.dipole_inversion.learned.intervals import (
    TERMS,
    IntervalScale,
    calibrated,
    conformal_quantile,
    ensemble,
    region_half_width,
    spread_terms,
    unscaled,
)
from tests.pipeline.susceptibility.dipole_inversion.learned.small_networks import (
    head,
    random_network,
    small_scan,
    start_maps,
)

SPEC = NETWORKS["lodestone_net"]


def test_a_network_that_leaves_the_map_as_it_is_has_one_view_of_a_scan() -> None:
    plain = LodestoneNet((4, 8)).eval()
    views = ensemble(SPEC, plain, small_scan(), start_maps(), 4)
    torch.testing.assert_close(views.mean, start_maps()[1] * head().mask, atol=1e-6, rtol=0)
    assert float(views.variance.max()) < 1e-12


def test_the_mean_of_all_views_is_odd_and_mirrors_with_the_scan() -> None:
    network = random_network("lodestone_net")
    views = ensemble(SPEC, network, small_scan(), start_maps(), 4)
    scan = small_scan()
    negated = ensemble(
        SPEC, network, type(scan)(-scan.local_field, scan.mask, scan.grid, scan.field_noise), -start_maps(), 4
    )
    torch.testing.assert_close(negated.mean, -views.mean, atol=1e-5, rtol=0)
    assert float(views.variance[head().mask].min()) > 0
    single = ensemble(SPEC, network, scan, start_maps(), 1)
    assert not torch.allclose(single.mean, views.mean, atol=1e-5)
    assert not single.variance.any()


def test_the_variance_is_that_of_the_views() -> None:
    network, scan = random_network("lodestone_net"), small_scan()
    two = ensemble(SPEC, network, scan, start_maps(), 2)
    first = SPEC.invert(network, scan, start_maps())
    second = 2 * two.mean - first
    expected = torch.stack([first, second]).var(0)
    torch.testing.assert_close(two.variance, expected, atol=1e-7, rtol=1e-3)


def test_progress_is_told_after_every_view() -> None:
    told: list[float] = []
    ensemble(SPEC, random_network("lodestone_net"), small_scan(), start_maps(), 2, on_iteration=told.append)
    assert told == [0.5, 1.0]


@pytest.mark.parametrize("count", [0, 5])
def test_other_numbers_of_views_are_refused(count: int) -> None:
    with pytest.raises(UnusableInput, match="members"):
        ensemble(SPEC, random_network("lodestone_net"), small_scan(), start_maps(), count)


def scan_with_noise(noise: float, factor: float = 1.0) -> Scan:
    scan = small_scan()
    return Scan(factor * scan.local_field, scan.mask, scan.grid, torch.where(scan.mask, noise, 0.0))


def test_terms_are_means_of_squares_in_the_mask() -> None:
    mask, starts = head().mask, start_maps()
    flat = torch.where(mask, 0.02, 0.0)
    terms = spread_terms(starts[0], starts, flat.square(), scan_with_noise(0.02))
    by_name = dict(zip(TERMS, terms, strict=True))
    assert not by_name["coarse_change"].any()
    for name in ("members", "noise"):
        torch.testing.assert_close(by_name[name][mask], torch.full_like(flat, 4e-4)[mask], atol=0, rtol=1e-4)
    for name in ("starts", "coarse_starts", "residual", "amplitude", "slope"):
        assert float(by_name[name][mask].mean()) > 0
    assert float(by_name["coarse_starts"][mask].mean()) < float(by_name["starts"][mask].mean())
    contrast = float(starts[0][mask].var(correction=0))
    torch.testing.assert_close(by_name["contrast"][mask], torch.full_like(flat, contrast)[mask], atol=0, rtol=1e-3)
    assert float(by_name["background"].std()) > 0
    assert not terms[:, ~mask].any()


def test_a_map_twice_as_large_has_intervals_twice_as_wide() -> None:
    starts = start_maps()
    scale = IntervalScale((1.0,) * len(TERMS), 1.5, (50.0,), (1.0,))
    plain = scale.half_widths(spread_terms(starts[1], starts, None, scan_with_noise(0.01)))
    twice = scale.half_widths(spread_terms(2 * starts[1], 2 * starts, None, scan_with_noise(0.02, 2.0)))
    torch.testing.assert_close(twice, 2 * plain, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_a_conformal_quantile_covers_new_scores(coverage: float) -> None:
    chance = torch.Generator().manual_seed(3)
    inside = 0.0
    for _ in range(200):
        scores = torch.rand(50, generator=chance)
        quantile = conformal_quantile(scores[:-1], torch.ones(49), coverage)
        inside += float(scores[-1] <= quantile) / 200
    assert inside == pytest.approx(coverage, abs=0.08)


def test_a_heavier_group_decides_the_quantile() -> None:
    scores = torch.cat((torch.linspace(0, 1, 50), torch.linspace(10, 11, 50)))
    light, heavy = torch.full((50,), 1e-3), torch.ones(50)
    assert conformal_quantile(scores, torch.cat((heavy, light))) < 1
    assert conformal_quantile(scores, torch.cat((light, heavy))) > 10


def test_a_region_s_half_width_follows_its_size() -> None:
    scale = calibrated(unscaled((1.0,) * len(TERMS)), 2.0, (100.0, 1000.0), (1.6, 0.8))
    assert scale.of_region(1.0, 10) == pytest.approx(0.8)
    assert scale.of_region(1.0, 5000) == pytest.approx(0.4)
    assert scale.of_region(1.0, 316.2) == pytest.approx(0.6, abs=1e-3)
    widths = torch.full((10, 10, 10), 0.02)
    assert region_half_width(widths, widths > 0, scale) == pytest.approx(0.008)
    with pytest.raises(UnusableInput, match="empty"):
        region_half_width(widths, widths > 1, scale)
