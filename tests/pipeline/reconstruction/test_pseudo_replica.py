import pytest
import torch

from pipeline.reconstruction.noise_whitening import noise_level, whiten
from pipeline.reconstruction.pseudo_replica import geometry_factor, noise_map
from pipeline.reconstruction.sense import CgSenseSettings, cg_sense
from pipeline.reconstruction.zero_filled import zero_filled
from tests.pipeline.reconstruction.small_kspace import SHAPE, small_scan


def test_fully_sampled_noise_is_that_of_the_matched_filter() -> None:
    scan = small_scan(correlation=0.0)
    inside = torch.ones(SHAPE, dtype=torch.bool)
    chance = torch.Generator().manual_seed(1)
    noise = noise_map(scan.kspace, lambda one: zero_filled(one, scan.sensitivities), 4, chance, inside)
    expected = noise_level(scan.kspace) / 2**0.5
    assert float(noise.median()) == pytest.approx(expected, rel=0.05)
    factor = geometry_factor(noise, scan.sensitivities, noise_level(scan.kspace), 1.0)
    assert float(factor.median()) == pytest.approx(1.0, abs=0.05)


def test_undersampling_costs_noise_where_coils_overlap() -> None:
    lines = torch.zeros(SHAPE[:2], dtype=torch.bool)
    lines[:, ::3] = True
    scan = small_scan(lines)
    white = whiten(scan.kspace)
    mixing = white.noise[:, :8] @ torch.linalg.inv(scan.kspace.noise[:, :8])  # type: ignore[index]
    sensitivities = torch.einsum("ab,bzyx->azyx", mixing, scan.sensitivities)
    sensitivities = sensitivities / sensitivities.norm(dim=0).amax()
    settings = CgSenseSettings(iterations=40, regularisation=0.0, tolerance=0.0)
    chance = torch.Generator().manual_seed(1)
    noise = noise_map(white, lambda one: cg_sense(one, sensitivities, settings), 4, chance, scan.inside)
    factor = geometry_factor(noise, sensitivities, 1.0, 32 / 11)[scan.inside]
    assert 1.0 < float(factor.median()) < 2.5
    assert float(factor.max()) > 1.1 * float(factor.median())
