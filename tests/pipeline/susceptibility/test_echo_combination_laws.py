"""Laws of echo combination: constants do not matter, the error is what noise demands, the stated noise is the error."""

import pytest
import torch

from pipeline.susceptibility.echo_combination import WeightedLinearFitSettings, weighted_average, weighted_linear_fit
from pipeline.susceptibility.phase_offset_removal import mcpc_3d_s
from pipeline.susceptibility.phase_unwrapping import romeo
from pipeline.susceptibility.phase_unwrapping.turns import wrap
from pipeline.units import radians_per_ppm
from tests.pipeline.susceptibility.echoes import B0_TESLA, GRID, Echoes, echoes

SPACINGS = pytest.mark.parametrize(
    "echo_times_s",
    [(0.004, 0.010), (0.004, 0.010, 0.016, 0.022, 0.028), (0.003, 0.0071, 0.0125, 0.024)],
    ids=["two echoes", "five echoes", "unequal spacing"],
)
NOISE = 0.02


def total_field(scan: Echoes, phase: torch.Tensor, smoothing_mm: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    corrected, _ = mcpc_3d_s(phase, scan.magnitude, scan.echo_times_s, GRID)
    unwrapped = romeo.unwrap(corrected, scan.magnitude, scan.mask, scan.echo_times_s)
    settings = WeightedLinearFitSettings(offset_smoothing_mm=smoothing_mm)
    return weighted_linear_fit(unwrapped, scan.magnitude, scan.mask, scan.echo_times_s, B0_TESLA, GRID, settings)


def bound(scan: Echoes, free_offset: bool) -> torch.Tensor:
    """Return the Cramér–Rao bound of the field's standard deviation [ppm] for the true signal."""
    times = torch.tensor(scan.echo_times_s)
    weight = torch.exp(-2 * 20.0 * times) / NOISE**2
    spread = (weight * times.square()).sum()
    if free_offset:
        spread = spread - (weight * times).sum().square() / weight.sum()
    return 1 / spread.sqrt() / radians_per_ppm(1.0, B0_TESLA)


@SPACINGS
def test_a_global_phase_added_to_all_echoes_does_not_change_the_total_field(echo_times_s: tuple[float, ...]) -> None:
    scan = echoes(echo_times_s=echo_times_s, noise=NOISE)
    plain, _ = total_field(scan, scan.phase)
    for constant in (0.9, -2.7):
        shifted, _ = total_field(scan, wrap(scan.phase + constant))
        assert (shifted - plain)[scan.mask].abs().max() < 2e-5


@SPACINGS
def test_with_a_free_offset_the_error_stays_within_a_fifth_of_the_bound(echo_times_s: tuple[float, ...]) -> None:
    scan = echoes(echo_times_s=echo_times_s, noise=NOISE, offset_rad=1.0)
    field, _ = total_field(scan, scan.phase, smoothing_mm=0.0)
    error = (field - scan.field)[scan.mask]
    assert (error - error.median()).square().mean().sqrt() < 1.2 * bound(scan, free_offset=True)


@SPACINGS
def test_with_a_smooth_offset_the_error_nears_the_bound_without_offset(echo_times_s: tuple[float, ...]) -> None:
    scan = echoes(echo_times_s=echo_times_s, noise=NOISE, offset_rad=0.3)
    field, _ = total_field(scan, scan.phase, smoothing_mm=2.0)
    error = (field - scan.field)[scan.mask]
    rms = (error - error.median()).square().mean().sqrt()
    assert rms < bound(scan, free_offset=True)
    assert rms < 1.35 * bound(scan, free_offset=False)


@SPACINGS
@pytest.mark.parametrize("smoothing_mm", [0.0, 1.5, 2.5])
def test_the_stated_noise_is_the_error_within_a_fifth(echo_times_s: tuple[float, ...], smoothing_mm: float) -> None:
    scan = echoes(echo_times_s=echo_times_s, noise=NOISE, offset_rad=0.0)
    field, noise = total_field(scan, scan.phase, smoothing_mm)
    inner = scan.mask.clone()
    # At the rim the window is cut, so the offset is smoothed over fewer voxels than the stated noise reckons with.
    for axis in range(3):
        inner &= torch.roll(scan.mask, 2, axis) & torch.roll(scan.mask, -2, axis)
    error = (field - scan.field)[inner]
    actual = float((error - error.median()).abs().median()) * 1.4826
    assert float(noise[inner].median()) == pytest.approx(actual, rel=0.2)


def test_the_magnitudes_scale_does_not_matter() -> None:
    scan = echoes(noise=NOISE)
    unwrapped = romeo.unwrap(scan.phase, scan.magnitude, scan.mask, scan.echo_times_s)
    for combine in (weighted_linear_fit, weighted_average):
        given = (scan.mask, scan.echo_times_s, B0_TESLA, GRID)
        plain, large, small = (combine(unwrapped, factor * scan.magnitude, *given) for factor in (1.0, 4e6, 4e-6))
        for one, two in ((plain, large), (plain, small)):
            torch.testing.assert_close(one[0], two[0], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(one[1], two[1], atol=1e-6, rtol=2e-2)


def test_the_average_is_the_fit_through_the_origin() -> None:
    scan = echoes(noise=0.0, offset_rad=0.0, field_ppm=0.2)
    given = (scan.phase, scan.magnitude, scan.mask, scan.echo_times_s, B0_TESLA, GRID)
    assert (weighted_average(*given)[0] - scan.field)[scan.mask].abs().max() < 1e-5
