"""Gaussian smoothing in millimetres."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from pipeline.susceptibility.smoothing import gaussian, noise_gain, weighted_gaussian
from tests.pipeline.susceptibility.echoes import GRID, SHAPE

CHANCE = torch.Generator().manual_seed(5)
VOLUME = torch.randn(SHAPE, generator=CHANCE)


@pytest.mark.parametrize("sigma_mm", [0.8, 2.0, 5.0])
def test_it_is_the_gaussian_of_scipy_on_a_grid_in_millimetres(sigma_mm: float) -> None:
    sigmas = [sigma_mm / size for size in GRID.voxel_size_mm]
    radius = [max(1, int(np.ceil(3 * sigma))) for sigma in sigmas]
    expected = ndimage.gaussian_filter(VOLUME.double().numpy(), sigmas, mode="constant", radius=radius)
    torch.testing.assert_close(gaussian(VOLUME, sigma_mm, GRID).double(), torch.from_numpy(expected), atol=1e-5, rtol=0)


def test_no_distance_leaves_the_volume_alone() -> None:
    assert torch.equal(gaussian(VOLUME, 0.0, GRID), VOLUME)
    assert torch.equal(weighted_gaussian(VOLUME, torch.ones(SHAPE), 0.0, GRID), VOLUME)
    assert noise_gain(0.0, GRID) == 1.0


def test_smoothing_is_its_own_adjoint() -> None:
    other = torch.randn(SHAPE, generator=CHANCE)
    left = (gaussian(VOLUME, 3.0, GRID) * other).sum()
    right = (VOLUME * gaussian(other, 3.0, GRID)).sum()
    torch.testing.assert_close(left, right, atol=1e-3, rtol=1e-4)


def test_a_constant_stays_a_constant_up_to_the_border_of_the_weights() -> None:
    weight = torch.zeros(SHAPE)
    weight[5:15, 5:20, 5:20] = torch.rand(10, 15, 15, generator=CHANCE) + 0.01
    smooth = weighted_gaussian(torch.full(SHAPE, 7.0), weight, 2.0, GRID)
    assert (smooth[weight > 0] - 7.0).abs().max() < 1e-4


def test_voxels_without_weight_do_not_speak() -> None:
    weight = torch.ones(SHAPE)
    weight[10:] = 0.0
    spoiled = VOLUME.clone()
    spoiled[10:] = 1e6
    torch.testing.assert_close(
        weighted_gaussian(spoiled, weight, 2.0, GRID), weighted_gaussian(VOLUME * weight, weight, 2.0, GRID)
    )


@pytest.mark.parametrize("sigma_mm", [1.0, 2.0, 3.0])
def test_the_noise_gain_is_what_white_noise_shows(sigma_mm: float) -> None:
    noise = torch.randn(60, 70, 65, generator=CHANCE)
    inner = gaussian(noise, sigma_mm, GRID)[8:-8, 12:-12, 10:-10]
    assert float(inner.var()) == pytest.approx(noise_gain(sigma_mm, GRID), rel=0.1)
