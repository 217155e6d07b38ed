"""The simulated raw scanner: its k-space holds the images that it was given, noise and coils apart."""

import math
from dataclasses import replace

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.operators.centred_fourier import to_image
from pipeline.simulation.coils import birdcage_array, noise_covariance
from pipeline.simulation.motion import Pose
from pipeline.simulation.phantom import Head
from pipeline.simulation.raw_scanner import EchoImages, acquire_kspace, acquire_readouts
from pipeline.simulation.sampling_patterns import poisson_disk, uniform
from pipeline.simulation.scanner import SMALL, acquire

GRID = Grid((12, 20, 18), (6.0, 8.0, 8.0))


@pytest.fixture(scope="module")
def spot() -> EchoImages:
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in GRID.shape), indexing="ij")
    inside = z.square() + y.square() + x.square() < 0.5
    images = torch.stack([inside * torch.polar(torch.tensor(level), 2 * x + y) for level in (1.0, 0.7)])
    return EchoImages(images, (0.005, 0.015), 3.0, GRID, inside)


@pytest.fixture(scope="module")
def coils() -> torch.Tensor:
    return birdcage_array(GRID, 6)


@pytest.fixture
def everything() -> torch.Tensor:
    return torch.ones(GRID.shape[:2], dtype=torch.bool)


def combined(samples: torch.Tensor, coils: torch.Tensor) -> torch.Tensor:
    return (to_image(samples) * coils.conj()).sum(1)


def test_all_lines_without_noise_give_the_images_back(spot, coils, everything) -> None:
    kspace, truth = acquire_kspace(spot, coils, everything, snr=math.inf)
    torch.testing.assert_close(combined(kspace.samples, coils), truth, atol=1e-5, rtol=0)
    assert torch.equal(truth, spot.images)
    assert float(kspace.noise.abs().max()) == 0


def test_lines_that_are_not_measured_are_zero(spot, coils) -> None:
    mask = poisson_disk(GRID.shape[:2], 3.0, (4, 6), seed=1)
    kspace, _ = acquire_kspace(spot, coils, mask, snr=40)
    assert torch.equal((kspace.samples != 0).any(dim=1).any(-1), kspace.measured)
    assert torch.equal(kspace.measured[0], mask)
    assert kspace.acceleration == pytest.approx(3.0, abs=0.02)


def test_noise_has_the_asked_level_after_combination_and_its_scan_the_same(spot, coils, everything) -> None:
    noisy, truth = acquire_kspace(spot, coils, everything, snr=25, seed=3)
    noise = combined(noisy.samples, coils) - truth
    expected = float(spot.images[0].abs()[spot.signal].mean()) / 25
    assert float(noise.real.std()) == pytest.approx(expected, rel=0.03)
    assert float(noisy.noise.imag.std()) == pytest.approx(expected, rel=0.03)


def test_channels_share_noise_as_the_covariance_says(spot, coils, everything) -> None:
    covariance = noise_covariance(6, 0.4, seed=1)
    kspace, _ = acquire_kspace(spot, coils, everything, snr=20, covariance=covariance, n_noise=30000)
    measured = kspace.noise @ kspace.noise.mH
    torch.testing.assert_close(measured / measured.diagonal().real.mean(), covariance, atol=0.03, rtol=0)


def test_the_same_seed_gives_every_pattern_the_same_noise(spot, coils, everything) -> None:
    whole, _ = acquire_kspace(spot, coils, everything, snr=20, seed=5)
    part, _ = acquire_kspace(spot, coils, uniform(GRID.shape[:2], (1, 2), (4, 4)), snr=20, seed=5)
    lines = part.measured[0]
    assert torch.equal(part.samples[:, :, lines], whole.samples[:, :, lines])


def test_a_reference_scan_holds_the_centre_of_k_space(spot, coils, everything) -> None:
    kspace, _ = acquire_kspace(spot, coils, everything, snr=math.inf, reference_shape=(6, 8, 8))
    assert kspace.calibration.shape == (6, 6, 8, 8)
    torch.testing.assert_close(kspace.calibration, kspace.samples[0, :, 3:9, 6:14, 5:13])
    with pytest.raises(UnusableInput, match="reference"):
        acquire_kspace(spot, coils, everything, snr=10, reference_shape=(6, 30, 8))


def test_readouts_are_oversampled_and_ordered_as_they_are_measured(spot, coils) -> None:
    mask = uniform(GRID.shape[:2], (1, 2), (4, 4))
    raw = acquire_readouts(spot, coils, mask, snr=math.inf)
    assert raw.samples.shape == (2 * int(mask.sum()), 6, 36)
    assert raw.echo[:4].tolist() == [0, 1, 0, 1]
    kspace, _ = acquire_kspace(spot, coils, mask, snr=math.inf)
    cropped = to_image(raw.samples, (-1,))[..., 9:27]
    expected = to_image(kspace.samples, (-1,))[raw.echo, :, raw.step_z, raw.step_y]
    torch.testing.assert_close(cropped, expected, atol=1e-5, rtol=0)


def test_noise_of_readouts_fills_the_whole_oversampled_width(spot, coils, everything) -> None:
    raw = acquire_readouts(spot, coils, everything, snr=20, n_noise=40)
    assert raw.noise.shape == (40, 6, 36)
    rim = to_image(raw.samples, (-1,))[..., :6]
    assert float(rim.real.std()) == pytest.approx(float(raw.noise.real.std()), rel=0.05)


def test_a_head_that_moves_halfway_spoils_the_second_half_only(spot, coils, everything) -> None:
    still, truth = acquire_kspace(spot, coils, everything, snr=math.inf)
    poses = (Pose(), Pose(translation_mm=(0.0, 0.0, 4.0)))
    restless, _ = acquire_kspace(spot, coils, everything, snr=math.inf, poses=poses)
    torch.testing.assert_close(restless.samples[:, :, :6], still.samples[:, :, :6], atol=1e-5, rtol=0)
    assert float((restless.samples - still.samples)[:, :, 6:].abs().max()) > 0.1
    assert float((combined(restless.samples, coils) - truth).abs().max()) > 0.2


def test_a_simulated_head_can_be_measured(head: Head) -> None:
    scan = acquire(head, replace(SMALL, shape=(16, 24, 20), voxel_size_mm=(9.0, 9.0, 9.0), finest_mm=4.5, snr=math.inf))
    images = EchoImages.of_scan(scan)
    array = birdcage_array(images.grid, 4)
    kspace, truth = acquire_kspace(images, array, torch.ones(16, 24, dtype=torch.bool), snr=50)
    error = (combined(kspace.samples, array) - truth)[0][scan.brain].abs().mean()
    assert float(error / truth[0].abs()[scan.brain].mean()) < 0.05


def test_patterns_and_covariances_that_do_not_fit_are_refused(spot, coils, everything) -> None:
    with pytest.raises(UnusableInput, match="pattern"):
        acquire_kspace(spot, coils, everything[:, :-1], snr=10)
    with pytest.raises(UnusableInput, match="covariance"):
        acquire_kspace(spot, coils, everything, snr=10, covariance=torch.eye(3))
    with pytest.raises(UnusableInput, match="region of signal"):
        replace(spot, signal=torch.zeros_like(spot.signal))
