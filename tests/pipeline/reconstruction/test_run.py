from dataclasses import replace

import pytest
import torch

from pipeline.errors import MissingCalibration, SingularNoise, UnknownMethod
from pipeline.method import Finding, MethodChoice
from pipeline.reconstruction.coil_compression import compress_coils
from pipeline.reconstruction.noise_whitening import noise_covariance, whiten
from pipeline.reconstruction.run import reconstruct
from tests.pipeline.reconstruction.small_kspace import every_second_line, phase_error, small_scan


def test_an_accelerated_scan_becomes_images_with_their_noise() -> None:
    scan = small_scan(every_second_line())
    told: list[float] = []
    heard: list[Finding] = []
    made = reconstruct(scan.kspace, MethodChoice("cg_sense"), told.append, heard.append)
    assert phase_error(made.images, scan.images, scan.inside) < 0.02
    assert told[-1] == 1.0
    assert told == sorted(told)
    assert made.geometry_factor is not None
    assert 0.8 < float(made.geometry_factor[scan.inside].median()) < 1.6
    assert made.conventional_twin is None
    assert heard == list(made.findings)
    assert {finding.name for finding in heard} == {"geometry_factor"}


def test_images_are_in_units_of_the_noise_that_is_mapped() -> None:
    scan = small_scan()
    made = reconstruct(scan.kspace, MethodChoice("zero_filled"))
    assert made.geometry_factor is None
    assert float(made.noise[scan.inside].median()) == pytest.approx(0.5**0.5, rel=0.05)
    # The object's magnitude is about 1, the noise of one channel about 0.005.
    assert float(made.images[0].abs()[scan.inside].median()) == pytest.approx(200, rel=0.35)


def test_partial_fourier_and_a_lacking_noise_scan_are_said() -> None:
    lines = torch.zeros(16, 32, dtype=torch.bool)
    lines[:, 9:] = True
    made = reconstruct(replace(small_scan(lines).kspace, noise=None), MethodChoice("cg_sense"))
    assert {finding.name for finding in made.findings if finding.is_warning} == {"partial_fourier", "no_noise_scan"}


def test_many_coils_are_compressed_and_their_noise_stays_white() -> None:
    white = whiten(small_scan(n_coils=20).kspace)
    fewer, share = compress_coils(white, 12)
    assert fewer.n_coils == 12
    assert share > 0.99
    assert fewer.noise is not None
    torch.testing.assert_close(noise_covariance(fewer.noise), torch.eye(12, dtype=torch.complex128), atol=1e-3, rtol=0)


def test_faults_are_named() -> None:
    scan = small_scan(every_second_line(2)).kspace
    with pytest.raises(UnknownMethod, match="cg_sense"):
        reconstruct(scan, MethodChoice("cg_sens"))
    with pytest.raises(UnknownMethod, match="regularisation"):
        reconstruct(scan, MethodChoice("cg_sense", {"regularization": 0.1}))
    with pytest.raises(MissingCalibration, match="calibration lines"):
        reconstruct(scan, MethodChoice("cg_sense"))
    with pytest.raises(SingularNoise, match="holds 10 samples"):
        reconstruct(replace(scan, noise=torch.ones(8, 10, dtype=torch.complex64)), MethodChoice("cg_sense"))
