"""The phase between polarities: measured in each coil, found without navigators, and taken out without moving."""

import math

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.operators.centred_fourier import to_image, to_kspace
from pipeline.reconstruction.epi_ghost import (
    PolarityPhase,
    ghost_share,
    least_entropy_phase,
    navigator_phase,
    phase_beside_object,
    without_polarity,
)

N_X = 40


def two_coils() -> PolarityPhase:
    values = ([0.3, 0.5], [0.02, -0.01], [0.1, -0.05], [0.003, 0.001])
    return PolarityPhase(*(torch.tensor(value, dtype=torch.float64) for value in values))


def navigators(phase: PolarityPhase, n_coils: int = 2, noise: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return three navigators of an object, the middle one reversed and ahead by a phase."""
    x = torch.arange(N_X) - N_X // 2
    body = (x.abs() < 14) * torch.polar(1 + 0.01 * x, 0.05 * x)
    lines = (torch.arange(1.0, n_coils + 1)[:, None] * body).expand(3, -1, -1).clone()
    lines[1] *= phase.factors(N_X).to(lines)
    chance = torch.Generator().manual_seed(0)
    lines += noise * torch.view_as_complex(torch.randn(3, n_coils, N_X, 2, generator=chance))
    return lines, torch.tensor([False, True, False])


def test_navigators_measure_the_phase_of_every_coil() -> None:
    measured = navigator_phase(*navigators(two_coils()))
    torch.testing.assert_close(measured.constant_rad, two_coils().constant_rad, atol=1e-5, rtol=0)
    torch.testing.assert_close(measured.slope_rad, two_coils().slope_rad, atol=1e-6, rtol=0)
    torch.testing.assert_close(measured.gain, two_coils().gain, atol=1e-5, rtol=0)
    torch.testing.assert_close(measured.gain_slope, two_coils().gain_slope, atol=1e-6, rtol=0)


def test_a_steep_phase_is_measured_without_wrapping() -> None:
    steep = PolarityPhase.of_all_coils(2, constant_rad=-2.8, slope_rad=0.4)
    measured = navigator_phase(*navigators(steep, noise=0.02))
    torch.testing.assert_close(measured.slope_rad, steep.slope_rad, atol=2e-3, rtol=0)


def test_a_coil_without_signal_takes_the_phase_of_the_others() -> None:
    lines, is_reversed = navigators(PolarityPhase.of_all_coils(2, 0.4, 0.01), noise=0.001)
    lines[:, 0] = 1e-4 * torch.randn(3, N_X, generator=torch.Generator().manual_seed(1))
    measured = navigator_phase(lines, is_reversed)
    torch.testing.assert_close(measured.constant_rad, torch.full((2,), 0.4, dtype=torch.float64), atol=0.01, rtol=0)


def test_both_polarities_meet_halfway() -> None:
    lines, is_reversed = navigators(two_coils())
    corrected = without_polarity(lines, is_reversed, two_coils())
    torch.testing.assert_close(corrected[0], corrected[1])
    torch.testing.assert_close(corrected[0].abs().square(), lines[0].abs() * lines[1].abs())


def ghosted(phase: PolarityPhase) -> tuple[torch.Tensor, torch.Tensor]:
    """Return lines of a disc in two coils, of which every second is ahead by a phase, and which those are."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 36), torch.linspace(-1, 1, N_X), indexing="ij")
    disc = ((y / 0.6).square() + (x / 0.8).square() < 1) * (1 + 0.3 * torch.sin(8 * x + 3 * y))
    images = torch.stack((disc * (1 + 0.5 * x), disc * torch.polar(1 - 0.4 * y, x)))[:, None]
    is_reversed = (torch.arange(36) % 2).float()[None]
    ahead = phase.factors(N_X).to(images)[:, None, None]
    return torch.where(is_reversed[:, :, None] > 0, ahead, 1) * to_kspace(images, (-2,)), is_reversed


def test_without_navigators_the_images_are_darkest_beside_the_object_at_the_right_phase() -> None:
    phase = PolarityPhase.of_all_coils(2, -0.7, 0.09)
    found = least_entropy_phase(*ghosted(phase))
    torch.testing.assert_close(found.constant_rad, phase.constant_rad, atol=0.03, rtol=0)
    torch.testing.assert_close(found.slope_rad, phase.slope_rad, atol=3e-3, rtol=0)


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_beside_the_object_the_phase_of_every_coil_is_measured_whatever_the_noise(noise: float) -> None:
    values = ([0.05, -0.08], [0.004, -0.006], [0.0, 0.04], [0.002, 0.003])
    phase = PolarityPhase(*(torch.tensor(value, dtype=torch.float64) for value in values))
    samples, is_reversed = ghosted(phase)
    chance = torch.Generator().manual_seed(4)
    samples = samples + noise * torch.view_as_complex(torch.randn(*samples.shape, 2, generator=chance))
    found = phase_beside_object(samples, is_reversed)
    torch.testing.assert_close(found.constant_rad, phase.constant_rad, atol=2e-3 + 0.3 * noise, rtol=0)
    torch.testing.assert_close(found.slope_rad, phase.slope_rad, atol=2e-4 + 0.03 * noise, rtol=0)
    torch.testing.assert_close(found.gain_slope, phase.gain_slope, atol=2e-4 + 0.03 * noise, rtol=0)


def test_an_object_that_fills_the_view_leaves_the_phase_as_it_is() -> None:
    samples = to_kspace(torch.ones(2, 1, 36, N_X) + 0j, (-2,))
    found = phase_beside_object(samples, (torch.arange(36) % 2).float()[None])
    assert found.constant_rad.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_ghost_that_is_left_is_told_as_a_share_of_the_signal(noise: float) -> None:
    calm, is_reversed = ghosted(PolarityPhase.of_all_coils(2))
    chance = torch.Generator().manual_seed(4)
    rustle = noise * torch.view_as_complex(torch.randn(*calm.shape, 2, generator=chance))
    assert ghost_share(calm + rustle, is_reversed) < 1e-5 + 0.2 * noise
    ghostly = ghosted(PolarityPhase.of_all_coils(2, 0.2))[0]
    # Lines that are ahead by an angle leave a ghost of the sine of half of it; it lies beside the object in part only.
    image, truth = (to_image(lines, (-2,)) for lines in (ghostly, calm))
    body = truth.abs().square().sum(0) > 0.1
    beside = (image.abs().square().sum(0)[~body].mean() / truth.abs().square().sum(0)[body].mean()).sqrt()
    assert ghost_share(ghostly + rustle, is_reversed) == pytest.approx(float(beside), rel=0.35)


def test_half_a_turn_too_much_is_taken_for_the_smaller_phase() -> None:
    found = least_entropy_phase(*ghosted(PolarityPhase.of_all_coils(2, 0.2 + math.pi, 0.0)))
    assert found.constant_rad.tolist() == pytest.approx([0.2, 0.2], abs=0.05)


def test_navigators_of_one_polarity_are_refused() -> None:
    with pytest.raises(UnusableInput, match="one polarity"):
        navigator_phase(navigators(two_coils())[0], torch.ones(3, dtype=torch.bool))
