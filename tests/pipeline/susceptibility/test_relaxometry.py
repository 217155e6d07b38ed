"""R2* from a decay that is known."""

import pytest
import torch

from pipeline.errors import SingleEcho, UnusableInput
from pipeline.method import StepContext
from pipeline.susceptibility.relaxometry import LOG_LINEAR, LogLinearSettings, log_linear
from tests.pipeline.susceptibility.echoes import GRID, SHAPE

TIMES = (0.004, 0.010, 0.016, 0.022, 0.028)
EVERYWHERE = torch.ones(SHAPE, dtype=torch.bool)


def decay(rate: torch.Tensor, times: tuple[float, ...] = TIMES, noise: float = 0.0) -> torch.Tensor:
    """Return Rician magnitudes of a decay from 1."""
    chance = torch.Generator().manual_seed(3)
    signal = torch.stack([torch.exp(-rate * time) for time in times])
    real, imaginary = (noise * torch.randn(signal.shape, generator=chance) for _ in range(2))
    return torch.hypot(signal + real, imaginary)


@pytest.mark.parametrize("times", [TIMES, (0.005, 0.02), (0.003, 0.0071, 0.0125, 0.024)], ids=len)
def test_without_noise_every_rate_comes_back(times: tuple[float, ...]) -> None:
    rate = torch.linspace(0, 150, EVERYWHERE.numel()).reshape(SHAPE)
    assert (log_linear(decay(rate, times), EVERYWHERE, times) - rate).abs().max() < 0.05


@pytest.mark.parametrize("rate", [5.0, 20.0, 40.0])
def test_with_noise_the_mean_is_right_within_two_percent(rate: float) -> None:
    fitted = log_linear(decay(torch.full(SHAPE, rate), noise=0.02), EVERYWHERE, TIMES)
    assert float(fitted.mean()) == pytest.approx(rate, rel=0.02, abs=0.2)


def test_reweighting_lowers_the_bias_of_weak_signals() -> None:
    rate = 60.0
    magnitude = decay(torch.full(SHAPE, rate), noise=0.08)
    once, again = (
        float(log_linear(magnitude, EVERYWHERE, TIMES, LogLinearSettings(reweightings=count)).mean())
        for count in (0, 3)
    )
    assert abs(again - rate) < abs(once - rate)


def test_the_magnitudes_scale_does_not_matter() -> None:
    magnitude = decay(torch.full(SHAPE, 30.0), noise=0.05)
    torch.testing.assert_close(
        log_linear(1e6 * magnitude, EVERYWHERE, TIMES), log_linear(magnitude, EVERYWHERE, TIMES), atol=1e-2, rtol=1e-3
    )


def test_stored_zeros_and_growing_signals_stay_within_the_limits() -> None:
    magnitude = decay(torch.full(SHAPE, 30.0))
    magnitude[:, 0, 0, 0] = 0.0
    magnitude[1:, 0, 0, 1] = 0.0
    magnitude[:, 0, 0, 2] = torch.arange(1.0, 6.0)
    fitted = log_linear(magnitude, EVERYWHERE, TIMES)
    assert torch.isfinite(fitted).all()
    assert fitted[0, 0, 2] == 0
    assert fitted[0, 0, 1] > 200
    assert fitted.max() <= LogLinearSettings().highest_rate


def test_outside_the_mask_there_is_zero() -> None:
    mask = EVERYWHERE.clone()
    mask[:5] = False
    fitted = log_linear(decay(torch.full(SHAPE, 30.0)), mask, TIMES)
    assert not fitted[:5].any()
    assert fitted[5:].min() > 29


def test_one_echo_is_refused_with_what_to_do() -> None:
    with pytest.raises(SingleEcho, match="leave relaxometry out"):
        log_linear(decay(torch.full(SHAPE, 30.0), (0.01,)), EVERYWHERE, (0.01,))


def test_echoes_without_a_time_are_refused() -> None:
    with pytest.raises(UnusableInput, match="does not fit 4 echo times"):
        log_linear(decay(torch.full(SHAPE, 30.0)), EVERYWHERE, TIMES[:4])


def test_the_step_gives_what_the_function_gives() -> None:
    magnitude = decay(torch.full(SHAPE, 30.0), noise=0.02)
    context = StepContext(grid=GRID, echo_times_s=TIMES)
    result = LOG_LINEAR.run({"magnitude": magnitude, "mask": EVERYWHERE}, context, LOG_LINEAR.settings())
    assert torch.equal(result["r2star"], log_linear(magnitude, EVERYWHERE, TIMES))
