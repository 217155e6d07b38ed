"""The complex fit reaches the linear fit's accuracy and forgives a turn that was lost in one echo."""

import math

import pytest
import torch

from pipeline.errors import SingleEcho
from pipeline.susceptibility.echo_combination import weighted_linear_fit
from pipeline.susceptibility.nonlinear_fit import NonlinearFitSettings, nonlinear_fit
from tests.pipeline.susceptibility.echoes import B0_TESLA, GRID, Echoes, echoes
from tests.pipeline.susceptibility.test_echo_combination import unwrapped

SPACINGS = pytest.mark.parametrize(
    "echo_times_s",
    [(0.004, 0.010), (0.004, 0.010, 0.016, 0.022), (0.003, 0.0071, 0.0125, 0.024)],
    ids=["two echoes", "four echoes", "unequal spacing"],
)


def fit(scan: Echoes, phase: torch.Tensor, smoothing_mm: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    settings = NonlinearFitSettings(offset_smoothing_mm=smoothing_mm)
    return nonlinear_fit(phase, scan.magnitude, scan.mask, scan.echo_times_s, B0_TESLA, GRID, settings)


@SPACINGS
def test_without_noise_the_field_is_exact_whatever_the_offset(echo_times_s: tuple[float, ...]) -> None:
    scan = echoes(echo_times_s=echo_times_s, offset_rad=2.5)
    field, _ = fit(scan, unwrapped(scan), smoothing_mm=0.0)
    assert (field - scan.field)[scan.mask].abs().max() < 1e-4


@SPACINGS
@pytest.mark.parametrize("smoothing_mm", [0.0, 2.0])
def test_it_errs_no_more_than_the_linear_fit_and_says_how_much(
    echo_times_s: tuple[float, ...], smoothing_mm: float
) -> None:
    scan = echoes(echo_times_s=echo_times_s, noise=0.02, offset_rad=0.1)
    field, noise = fit(scan, unwrapped(scan), smoothing_mm)
    given = (unwrapped(scan), scan.magnitude, scan.mask, echo_times_s, B0_TESLA, GRID)
    straight, _ = weighted_linear_fit(*given)
    inner = scan.mask.clone()
    for axis in range(3):
        inner &= torch.roll(scan.mask, 2, axis) & torch.roll(scan.mask, -2, axis)
    error = (field - scan.field)[inner]
    if smoothing_mm > 0:
        assert error.std() < 1.02 * (straight - scan.field)[inner].std()
    actual = float((error - error.median()).abs().median()) * 1.4826
    assert float(noise[inner].median()) == pytest.approx(actual, rel=0.2)


@pytest.mark.parametrize("spoiled", range(4))
def test_a_turn_lost_in_one_echo_does_no_harm(spoiled: int) -> None:
    scan = echoes(echo_times_s=(0.004, 0.009, 0.0145, 0.019), noise=0.01, offset_rad=0.3)
    phase = unwrapped(scan)
    clean, _ = fit(scan, phase, smoothing_mm=0.0)
    lost = scan.mask & (torch.rand(scan.mask.shape, generator=torch.Generator().manual_seed(7)) < 0.02)
    phase[spoiled, lost] += 2 * math.pi
    field, _ = fit(scan, phase, smoothing_mm=0.0)
    assert float(((field - clean)[lost].abs() > 0.01).double().mean()) < 0.02
    straight, _ = weighted_linear_fit(phase, scan.magnitude, scan.mask, scan.echo_times_s, B0_TESLA, GRID)
    assert float((straight - clean)[lost].abs().mean()) > 0.03


def test_one_echo_is_refused_with_the_method_that_takes_it() -> None:
    scan = echoes(echo_times_s=(0.01,))
    with pytest.raises(SingleEcho, match="weighted_average"):
        fit(scan, scan.phase)


def test_outside_the_mask_all_is_zero() -> None:
    scan = echoes(noise=0.05)
    for volume in fit(scan, unwrapped(scan)):
        assert not volume[~scan.mask].any()
        assert torch.isfinite(volume).all()
