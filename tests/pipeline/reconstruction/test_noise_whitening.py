from dataclasses import replace

import pytest
import torch

from pipeline.errors import SingularNoise
from pipeline.reconstruction.noise_whitening import noise_covariance, noise_level, whiten
from tests.pipeline.reconstruction.small_kspace import small_scan


def test_whitened_noise_is_independent_and_of_unit_power() -> None:
    white = whiten(small_scan(correlation=0.5).kspace)
    assert white.noise is not None
    torch.testing.assert_close(noise_covariance(white.noise), torch.eye(8, dtype=torch.complex128), atol=1e-4, rtol=0)


def test_whitening_mixes_samples_as_it_mixes_noise() -> None:
    scan = small_scan(correlation=0.5)
    white = whiten(scan.kspace)
    assert scan.kspace.noise is not None
    assert white.noise is not None
    mixing = white.noise[:, :8] @ torch.linalg.inv(scan.kspace.noise[:, :8])
    expected = torch.einsum("ab,ebzyx->eazyx", mixing, scan.kspace.samples)
    torch.testing.assert_close(white.samples, expected, rtol=1e-2, atol=1e-2)


def test_without_a_noise_scan_the_level_is_told_from_the_corners_of_k_space() -> None:
    scan = small_scan(noise=0.1, correlation=0.0).kspace
    assert noise_level(replace(scan, noise=None)) == pytest.approx(noise_level(scan), rel=0.25)
    assert noise_level(whiten(replace(scan, noise=None))) == pytest.approx(1.0)


def test_too_few_noise_samples_are_named() -> None:
    with pytest.raises(SingularNoise, match="holds 20 samples for 8 coils"):
        noise_covariance(torch.randn(8, 20, dtype=torch.complex64))


@pytest.mark.parametrize("fault", ["silent", "twin"])
def test_a_coil_without_noise_of_its_own_is_named(fault: str) -> None:
    noise = torch.randn(4, 500, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    noise[3] = 0 if fault == "silent" else noise[2]
    with pytest.raises(SingularNoise, match="singular"):
        noise_covariance(noise)
