"""Metrics of neighbourhoods agree with independent implementations to four digits and keep their laws."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, gaussian_laplace, uniform_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from pipeline.errors import UnusableInput
from pipeline.studies.metrics import correlation, detrended_nrmse, mae, nrmse, psnr
from pipeline.studies.structure import gradient_error, hfen, ssim, xsim

SHAPE = (30, 34, 28)


def known_case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return an estimate, a truth [ppm] and a mask that keeps away from the edges."""
    chance = np.random.default_rng(3)
    truth = 0.05 * gaussian_filter(chance.standard_normal(SHAPE), 1.5) / 0.1
    estimate = 0.85 * gaussian_filter(truth, 0.6) + 0.01 * chance.standard_normal(SHAPE) + 0.2
    z, y, x = np.indices(SHAPE)
    mask = ((z - 15) / 9) ** 2 + ((y - 17) / 11) ** 2 + ((x - 14) / 8) ** 2 < 1
    return torch.from_numpy(estimate), torch.from_numpy(truth), torch.from_numpy(mask)


def as_arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the known case centred in the mask and zero outside, with the mask."""
    estimate, truth, mask = (part.numpy() for part in known_case())
    return np.where(mask, estimate - estimate[mask].mean(), 0), np.where(mask, truth - truth[mask].mean(), 0), mask


def test_structural_similarity_is_that_of_scikit_image() -> None:
    found, wanted, mask = as_arrays()
    extent = wanted[mask].max() - wanted[mask].min()
    _, similarity = structural_similarity(wanted, found, data_range=extent, full=True)
    assert ssim(*known_case()) == pytest.approx(similarity[mask].mean(), abs=5e-5)


def test_the_similarity_made_for_susceptibility_is_that_of_scikit_image_with_its_constants() -> None:
    found, wanted, mask = as_arrays()
    _, similarity = structural_similarity(
        wanted, found, data_range=1.0, win_size=5, K1=0.01, K2=0.001, use_sample_covariance=False, full=True
    )
    assert xsim(*known_case()) == pytest.approx(similarity[mask].mean(), abs=5e-5)


def test_the_similarity_made_for_susceptibility_follows_its_formula_at_the_edge_of_the_volume() -> None:
    estimate, truth, _ = known_case()
    found, wanted = (part.numpy() - part.numpy().mean() for part in (estimate, truth))
    count = uniform_filter(np.ones(SHAPE), 5, mode="constant")
    mean = lambda values: uniform_filter(values, 5, mode="constant") / count  # noqa: E731
    means = mean(found), mean(wanted)
    variances = mean(found**2) - means[0] ** 2, mean(wanted**2) - means[1] ** 2
    shared = (2 * means[0] * means[1] + 1e-4) * (2 * (mean(found * wanted) - means[0] * means[1]) + 1e-6)
    expected = shared / ((means[0] ** 2 + means[1] ** 2 + 1e-4) * (sum(variances) + 1e-6))
    everywhere = torch.ones(SHAPE, dtype=torch.bool)
    assert xsim(estimate, truth, everywhere) == pytest.approx(expected.mean(), abs=5e-5)


def test_the_peak_signal_to_noise_ratio_is_that_of_scikit_image() -> None:
    found, wanted, mask = as_arrays()
    extent = wanted[mask].max() - wanted[mask].min()
    expected = peak_signal_noise_ratio(wanted[mask], found[mask], data_range=extent)
    assert psnr(*known_case()) == pytest.approx(expected, rel=5e-5)


def test_the_high_frequency_error_is_that_of_the_whole_volume() -> None:
    found, wanted, mask = as_arrays()
    edges = [gaussian_laplace(values, 1.5, truncate=5.0)[mask] for values in (found, wanted)]
    expected = 100 * np.linalg.norm(edges[0] - edges[1]) / np.linalg.norm(edges[1])
    assert hfen(*known_case()) == pytest.approx(expected, rel=5e-5)


def test_the_gradient_error_is_that_of_numpy() -> None:
    found, wanted, mask = as_arrays()
    difference = np.stack(np.gradient(found)) - np.stack(np.gradient(wanted))
    assert gradient_error(*known_case()) == pytest.approx(np.sqrt(np.mean(difference[:, mask] ** 2)), rel=5e-5)


def test_errors_of_voxels_are_those_of_numpy() -> None:
    found, wanted, mask = as_arrays()
    a, b = found[mask], wanted[mask]
    assert nrmse(*known_case()) == pytest.approx(100 * np.linalg.norm(a - b) / np.linalg.norm(b), rel=5e-5)
    assert mae(*known_case()) == pytest.approx(np.abs(a - b).mean(), rel=5e-5)
    assert correlation(*known_case()) == pytest.approx(np.corrcoef(a, b)[0, 1], abs=5e-5)
    slope = np.polyfit(b, a, 1)[0]
    expected = 100 * np.linalg.norm(a / slope - b) / np.linalg.norm(b)
    assert detrended_nrmse(*known_case()) == pytest.approx(expected, rel=5e-5)


@pytest.mark.parametrize("metric", [ssim, xsim])
def test_the_truth_is_like_itself_whatever_constant_and_outside_it_has(metric) -> None:
    estimate, truth, mask = known_case()
    assert metric(truth + 5, truth, mask) == pytest.approx(1.0)
    assert metric(torch.where(mask, estimate, 1e3), truth, mask) == pytest.approx(metric(estimate, truth, mask))
    assert 0.2 < metric(estimate, truth, mask) < 0.99


def test_an_empty_mask_is_refused_by_every_metric() -> None:
    estimate, truth, mask = known_case()
    for metric in (ssim, xsim, hfen, gradient_error, mae, psnr):
        with pytest.raises(UnusableInput, match="empty"):
            metric(estimate, truth, ~mask & mask)
