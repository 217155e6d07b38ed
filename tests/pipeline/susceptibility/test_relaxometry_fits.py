"""ARLO and the nonlinear fit give R2* and T2* of a decay that is known."""

from collections.abc import Callable

import pytest
import torch

from pipeline.errors import SingleEcho, UnusableInput
from pipeline.method import Method, StepContext
from pipeline.susceptibility.relaxometry import LOG_LINEAR, log_linear
from pipeline.susceptibility.relaxometry_arlo import ARLO, arlo
from pipeline.susceptibility.relaxometry_nonlinear import NONLINEAR_DECAY, NonlinearDecaySettings, nonlinear_decay
from tests.pipeline.susceptibility.echoes import GRID, SHAPE
from tests.pipeline.susceptibility.test_relaxometry import EVERYWHERE, TIMES, decay

UNEVEN = (0.003, 0.008, 0.015, 0.024, 0.030)
FITS = pytest.mark.parametrize("fit", [arlo, nonlinear_decay])
METHODS = pytest.mark.parametrize("method", [LOG_LINEAR, ARLO, NONLINEAR_DECAY], ids=lambda method: method.name)
Fit = Callable[..., torch.Tensor]


@FITS
@pytest.mark.parametrize("times", [TIMES, UNEVEN], ids=["even", "uneven"])
def test_without_noise_every_rate_comes_back(fit: Fit, times: tuple[float, ...]) -> None:
    rate = torch.linspace(1, 100, EVERYWHERE.numel()).reshape(SHAPE)
    assert ((fit(decay(rate, times), EVERYWHERE, times) - rate).abs() / rate).max() < 0.01


@FITS
@pytest.mark.parametrize("rate", [5.0, 20.0, 60.0])
def test_with_noise_the_mean_is_right_within_two_percent(fit: Fit, rate: float) -> None:
    fitted = fit(decay(torch.full(SHAPE, rate), noise=0.02), EVERYWHERE, TIMES)
    assert float(fitted.mean()) == pytest.approx(rate, rel=0.02, abs=0.2)


def test_the_floor_of_the_noise_does_not_slow_a_fast_decay_in_the_nonlinear_fit() -> None:
    rate = 120.0
    magnitude = decay(torch.full(SHAPE, rate), UNEVEN, noise=0.04)
    floored, plain = (float(fit(magnitude, EVERYWHERE, UNEVEN).mean()) for fit in (nonlinear_decay, log_linear))
    assert plain < rate - 1
    assert abs(floored - rate) < 0.5 * abs(plain - rate)


def test_two_echoes_are_enough_for_the_nonlinear_fit() -> None:
    rate = torch.linspace(1, 100, EVERYWHERE.numel()).reshape(SHAPE)
    fitted = nonlinear_decay(decay(rate, (0.005, 0.02)), EVERYWHERE, (0.005, 0.02))
    assert (fitted - rate).abs().max() < 0.1


def test_the_nonlinear_fit_does_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    # In single precision the last steps are rounding, which depends on where a block begins.
    magnitude = decay(torch.full(SHAPE, 40.0), noise=0.05).double()
    settings = NonlinearDecaySettings(iterations=4, tolerance=0.0)
    whole = nonlinear_decay(magnitude, EVERYWHERE, TIMES, settings)
    told: list[float] = []
    monkeypatch.setattr("pipeline.susceptibility.relaxometry_nonlinear._BLOCK_VOXELS", 1000)
    blocks = nonlinear_decay(magnitude, EVERYWHERE, TIMES, settings, told.append)
    torch.testing.assert_close(blocks, whole)
    assert told == sorted(told)
    assert told[-1] == 1.0


@FITS
def test_the_magnitudes_scale_does_not_matter(fit: Fit) -> None:
    magnitude = decay(torch.full(SHAPE, 30.0), noise=0.05)
    torch.testing.assert_close(
        fit(1e4 * magnitude, EVERYWHERE, TIMES), fit(magnitude, EVERYWHERE, TIMES), atol=0.05, rtol=1e-3
    )


@FITS
def test_stored_zeros_and_growing_signals_stay_within_the_limits(fit: Fit) -> None:
    magnitude = decay(torch.full(SHAPE, 30.0))
    magnitude[:, 0, 0, 0] = 0.0
    magnitude[1:, 0, 0, 1] = 0.0
    magnitude[:, 0, 0, 2] = torch.arange(1.0, 6.0)
    fitted = fit(magnitude, EVERYWHERE, TIMES)
    assert torch.isfinite(fitted).all()
    assert fitted[0, 0, 2] == 0
    assert fitted[0, 0, 1] > 200
    assert 0 <= fitted.min() <= fitted.max() <= 1000


@METHODS
def test_t2star_is_the_inverse_of_r2star_in_seconds_up_to_the_longest(method: Method) -> None:
    rate = torch.full(SHAPE, 25.0)
    rate[0] = 0.0
    mask = EVERYWHERE.clone()
    mask[-1] = False
    made = method.apply({"magnitude": decay(rate), "mask": mask}, StepContext(GRID, TIMES), method.settings())
    assert made["t2star"][1:-1].mean() == pytest.approx(0.04, rel=1e-3)
    assert (made["t2star"][0] <= 1.0).all()
    assert (made["t2star"][0] > 0.5).all()
    assert not made["t2star"][-1].any()
    assert not made["r2star"][-1].any()


def test_arlo_names_echoes_that_are_spaced_too_unevenly() -> None:
    times = (0.004, 0.006, 0.020, 0.022)
    with pytest.raises(UnusableInput, match="4, 6, 20 ms"):
        arlo(decay(torch.full(SHAPE, 30.0), times), EVERYWHERE, times)


def test_arlo_refuses_two_echoes_and_names_the_fit_to_choose() -> None:
    with pytest.raises(UnusableInput, match="choose log_linear"):
        arlo(decay(torch.full(SHAPE, 30.0), TIMES[:2]), EVERYWHERE, TIMES[:2])


@FITS
def test_one_echo_is_refused(fit: Fit) -> None:
    with pytest.raises(SingleEcho, match="leave relaxometry out"):
        fit(decay(torch.full(SHAPE, 30.0), (0.01,)), EVERYWHERE, (0.01,))
