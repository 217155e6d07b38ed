"""The total field and its noise, from echoes whose field is known."""

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.method import Method, StepContext
from pipeline.susceptibility.echo_combination import (
    WEIGHTED_AVERAGE,
    WEIGHTED_LINEAR_FIT,
    WeightedLinearFitSettings,
    weighted_average,
    weighted_linear_fit,
)
from pipeline.units import radians_per_ppm
from tests.pipeline.susceptibility.echoes import B0_TESLA, GRID, SHAPE, Echoes, echoes

FREE = WeightedLinearFitSettings(offset_smoothing_mm=0.0)
BOTH = pytest.mark.parametrize("method", [WEIGHTED_LINEAR_FIT, WEIGHTED_AVERAGE], ids=lambda method: method.name)


def unwrapped(scan: Echoes) -> torch.Tensor:
    """Return the measured phase on the right turn; finding the turn is not what is tested here."""
    truth = torch.stack([scan.offset + radians_per_ppm(t, B0_TESLA) * scan.field for t in scan.echo_times_s])
    return truth + torch.remainder(scan.phase - truth + torch.pi, 2 * torch.pi) - torch.pi


def fit(scan: Echoes, settings: WeightedLinearFitSettings | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    return weighted_linear_fit(unwrapped(scan), scan.magnitude, scan.mask, scan.echo_times_s, B0_TESLA, GRID, settings)


def test_without_noise_the_field_is_exact() -> None:
    scan = echoes(noise=0.0, offset_rad=0.0)
    field, noise = fit(scan)
    assert (field - scan.field)[scan.mask].abs().max() < 1e-4
    assert noise[scan.mask].max() < 1e-4


def test_a_free_offset_in_each_voxel_gives_the_exact_field_whatever_the_offset() -> None:
    scan = echoes(noise=0.0, offset_rad=2.5)
    field, _ = fit(scan, FREE)
    assert (field - scan.field)[scan.mask].abs().max() < 1e-4


def test_smoothing_the_offset_lowers_the_error_and_the_noise_says_so() -> None:
    scan = echoes(noise=0.02, offset_rad=0.3)
    errors, noises = [], []
    for settings in (FREE, WeightedLinearFitSettings()):
        field, noise = fit(scan, settings)
        errors.append(float((field - scan.field)[scan.mask].std()))
        noises.append(float(noise[scan.mask].median()))
    assert errors[1] < 0.7 * errors[0]
    assert noises[1] < 0.7 * noises[0]


@BOTH
def test_outside_the_mask_field_and_noise_are_zero(method: Method) -> None:
    scan = echoes(noise=0.05)
    context = StepContext(grid=GRID, echo_times_s=scan.echo_times_s, b0_tesla=B0_TESLA)
    inputs = {"unwrapped_phase": unwrapped(scan), "magnitude": scan.magnitude, "mask": scan.mask}
    result = method.run(inputs, context, method.settings())
    assert tuple(result) == method.outputs
    for volume in result.values():
        assert not volume[~scan.mask].any()
        assert torch.isfinite(volume).all()


def test_one_echo_starts_at_phase_zero() -> None:
    scan = echoes(echo_times_s=(0.015,), offset_rad=0.0, noise=0.02)
    field, noise = fit(scan)
    error = (field - scan.field)[scan.mask]
    assert error.std() == pytest.approx(float(noise[scan.mask].median()), rel=0.2)


def test_a_voxel_without_signal_in_late_echoes_lives_from_the_early_ones() -> None:
    scan = echoes(noise=0.01, offset_rad=0.0)
    lost = (10, 14, 12)
    magnitude, phase = scan.magnitude.clone(), unwrapped(scan)
    for echo in (2, 3):
        magnitude[(echo, *lost)] = 1e-4
        phase[(echo, *lost)] += 2.0
    field, noise = weighted_linear_fit(phase, magnitude, scan.mask, scan.echo_times_s, B0_TESLA, GRID)
    assert abs(field[lost] - scan.field[lost]) < 4 * noise[lost]
    assert noise[lost] > 1.5 * noise[scan.mask].median()


def test_a_voxel_whose_echoes_leave_the_line_is_trusted_less() -> None:
    scan = echoes(noise=0.01, offset_rad=0.0)
    bent = (10, 14, 12)
    phase = unwrapped(scan)
    phase[(1, *bent)] += 1.0
    phase[(2, *bent)] -= 1.0
    noise = weighted_linear_fit(phase, scan.magnitude, scan.mask, scan.echo_times_s, B0_TESLA, GRID)[1]
    assert noise[bent] > 5 * noise[scan.mask].median()


def test_a_zero_in_the_magnitude_gives_no_nan() -> None:
    scan = echoes(noise=0.01)
    magnitude = scan.magnitude.clone()
    magnitude[:, 10, 14, 12] = 0.0
    for combine in (weighted_linear_fit, weighted_average):
        field, noise = combine(unwrapped(scan), magnitude, scan.mask, scan.echo_times_s, B0_TESLA, GRID)
        assert torch.isfinite(field).all()
        assert torch.isfinite(noise).all()


@BOTH
def test_an_unknown_field_strength_is_refused(method: Method) -> None:
    scan = echoes()
    inputs = {"unwrapped_phase": unwrapped(scan), "magnitude": scan.magnitude, "mask": scan.mask}
    with pytest.raises(UnusableInput, match="field strength is unknown"):
        method.run(inputs, StepContext(grid=GRID, echo_times_s=scan.echo_times_s), method.settings())


@BOTH
def test_images_of_other_shapes_are_refused(method: Method) -> None:
    scan = echoes()
    inputs = {"unwrapped_phase": unwrapped(scan)[:, 1:], "magnitude": scan.magnitude, "mask": scan.mask}
    context = StepContext(grid=GRID, echo_times_s=scan.echo_times_s, b0_tesla=B0_TESLA)
    with pytest.raises(UnusableInput, match="one shape"):
        method.run(inputs, context, method.settings())


def test_a_mask_of_single_voxels_cannot_give_the_noise_of_one_echo() -> None:
    scan = echoes(echo_times_s=(0.01,))
    thin = torch.zeros(SHAPE, dtype=torch.bool)
    thin[10, 14, 12] = True
    with pytest.raises(UnusableInput, match="too thin"):
        weighted_average(unwrapped(scan), scan.magnitude, thin, scan.echo_times_s, B0_TESLA, GRID)
