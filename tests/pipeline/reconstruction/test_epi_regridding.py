"""Regridding: samples taken while the gradient ramps give the same image as samples taken evenly."""

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.operators.centred_fourier import to_image
from pipeline.reconstruction.epi_regridding import readout_matrix, regridding_matrix, trapezoid_trajectory

N_X = 32
RAMPED = {"ramp_up_s": 0.2e-3, "flat_top_s": 0.3e-3, "ramp_down_s": 0.2e-3, "first_sample_s": 0.03e-3}


def ramped(n_samples: int = 64, lag_s: float = 0.0) -> torch.Tensor:
    return trapezoid_trajectory(n_samples, N_X, **RAMPED, duration_s=0.64e-3, lag_s=lag_s)


def image(width: int = N_X) -> torch.Tensor:
    places = (torch.arange(width) - width // 2).double()
    return torch.exp(-((places - 3) / 5).square()) * torch.polar(torch.ones_like(places), 0.2 * places)


def test_a_ramped_readout_covers_k_space_symmetrically_and_slower_at_its_ends() -> None:
    places = ramped()
    torch.testing.assert_close(places, -places.flip(0))
    steps = places.diff()
    assert float(steps[0]) < 0.4 * float(steps[32])
    assert float(places[-1] - places[0]) == pytest.approx(N_X, rel=0.01)


def test_evenly_sampled_readouts_are_transformed_as_ever() -> None:
    even = torch.arange(N_X, dtype=torch.float64) - N_X // 2
    samples = readout_matrix(even, N_X) @ image().to(torch.complex128)
    recovered = regridding_matrix(even, N_X) @ samples
    torch.testing.assert_close(recovered, to_image(samples, (-1,)), atol=2e-3, rtol=0)


@pytest.mark.parametrize("reverse", [1.0, -1.0])
def test_the_image_of_a_ramped_readout_is_recovered_in_either_direction(reverse: float) -> None:
    places = reverse * ramped()
    recovered = regridding_matrix(places, N_X) @ (readout_matrix(places, N_X) @ image().to(torch.complex128))
    torch.testing.assert_close(recovered, image().to(torch.complex128), atol=2e-3, rtol=0)


def test_what_lies_beside_the_field_of_view_does_not_fold_into_it() -> None:
    beside = torch.zeros(44, dtype=torch.complex128)
    beside[1:4] = 1.0
    folded = regridding_matrix(ramped(), N_X) @ (readout_matrix(ramped(), N_X, 44) @ beside)
    assert float(folded[4:-4].abs().max()) < 0.05


def test_a_lagging_gradient_moves_the_samples_against_it() -> None:
    apart = ramped() - ramped(lag_s=2e-6)
    middle = float(ramped().diff()[32]) / 10e-6
    assert float(apart[32]) == pytest.approx(2e-6 * middle, rel=1e-3)
    assert 0 < float(apart[0]) < 0.4 * float(apart[32])


def test_a_square_gradient_samples_evenly() -> None:
    places = trapezoid_trajectory(16, 16, 0.0, 1e-3, 0.0, 0.0, 1e-3)
    torch.testing.assert_close(places, torch.arange(16, dtype=torch.float64) - 7.5)


def test_a_gradient_without_area_or_too_sparse_samples_are_refused() -> None:
    with pytest.raises(UnusableInput, match="no area"):
        trapezoid_trajectory(16, 16, 0.0, 0.0, 0.0, 0.0, 1e-3)
    with pytest.raises(UnusableInput, match="steps of k-space apart"):
        regridding_matrix(ramped(n_samples=36), N_X)
