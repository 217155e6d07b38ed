"""Fit R2* to the magnitude itself by nonlinear least squares, with the floor that noise puts under a magnitude."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.susceptibility.relaxometry import (
    LogLinearSettings,
    RateLimits,
    decays,
    fitted_rates,
    laid_out,
    rate_and_time,
)

_BLOCK_VOXELS = 200_000


@dataclass(frozen=True)
class NonlinearDecaySettings(RateLimits):
    """Choices of the nonlinear fit."""

    iterations: int = setting(8, "1", "most Gauss-Newton steps", minimum=1, maximum=100)
    tolerance: float = setting(0.05, "1/s", "the fit ends when a step changes the rates by less (rms)", minimum=0.0)


def nonlinear_decay(
    magnitude: Tensor,
    mask: Tensor,
    echo_times_s: Sequence[float],
    settings: NonlinearDecaySettings | None = None,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Fit a mono-exponential decay to the magnitude by Gauss-Newton steps.

    Parameters
    ----------
    magnitude
        Magnitude [arbitrary], `(echo, z, y, x)`.
    mask
        Where to fit, bool `(z, y, x)`.
    echo_times_s
        Echo times [s], at least two, any spacing.
    settings
        Number of steps, when to stop, and the limits.
    on_iteration
        Told the fraction done.

    Returns
    -------
        R2* [1/s], `(z, y, x)`, zero outside the mask.

    Raises
    ------
    SingleEcho
        Where there is one echo only.
    UnusableInput
        Where shapes disagree.

    Notes
    -----
    The mean of a magnitude with noise of standard deviation σ per channel is near sqrt(A² + σ²) where A is the signal
    without noise; that is what is fitted, so that a decay into the noise looks no slower than it is. σ is the median
    over the mask of what a first log-linear fit leaves over; with two echoes nothing is left over and σ is zero. A step
    is taken where it lowers the residual and halved where it does not.

    References
    ----------
    Gudbjartsson 1995, doi:10.1002/mrm.1910340618 (the distribution of noisy magnitudes).
    """
    settings = settings or NonlinearDecaySettings()
    signal, times = decays(magnitude, mask, echo_times_s)
    # In parts of the peak and from the first echo on, no amplitude overflows and no decay underflows.
    signal.div_(signal.amax().clamp_min(torch.finfo(signal.dtype).tiny))
    since = times - times[0]
    rate = fitted_rates(signal, times, LogLinearSettings(highest_rate=settings.highest_rate))
    level = _level(signal, since, rate)
    floor = _noise(signal, since, rate, level)
    n_voxels = rate.numel()
    for start in range(0, n_voxels, _BLOCK_VOXELS):
        block = slice(start, min(start + _BLOCK_VOXELS, n_voxels))
        rate[block] = _gauss_newton(signal[:, block], since, rate[block], level[block], floor, settings)
        if on_iteration is not None:
            on_iteration(block.stop / n_voxels)
    return laid_out(rate, mask)


def _level(signal: Tensor, since: Tensor, rate: Tensor) -> Tensor:
    """Return the amplitude at the first echo that fits best to a rate."""
    decay = torch.exp(-rate * since)
    return (decay * signal).sum(0) / decay.square().sum(0)


def _noise(signal: Tensor, since: Tensor, rate: Tensor, level: Tensor) -> float:
    """Return the standard deviation of the noise, the median over the voxels."""
    freedom = len(signal) - 2
    if freedom == 0:
        return 0.0
    squares = (signal - level * torch.exp(-rate * since)).square().sum(0)
    # The median of a chi-squared variable (Wilson 1931) lies below its mean.
    expected = freedom * (1 - 2 / (9 * freedom)) ** 3
    return math.sqrt(float(squares.median()) / expected)


def _gauss_newton(
    signal: Tensor, since: Tensor, rate: Tensor, level: Tensor, floor: float, settings: NonlinearDecaySettings
) -> Tensor:
    stride = torch.ones_like(rate)
    step, error = _step(signal, since, rate, level, floor)
    for _ in range(settings.iterations):
        tried_rate = (rate + stride * step[0]).clamp_(0, settings.highest_rate)
        tried_level = (level + stride * step[1]).clamp_min_(0)
        next_step, next_error = _step(signal, since, tried_rate, tried_level, floor)
        better = next_error <= error
        change = torch.where(better, tried_rate - rate, 0).square().mean().sqrt()
        rate, level = torch.where(better, tried_rate, rate), torch.where(better, tried_level, level)
        step, error = torch.where(better, next_step, step), torch.where(better, next_error, error)
        stride = torch.where(better, 1.0, stride / 2)
        if float(change) < settings.tolerance:
            break
    return rate


def _step(signal: Tensor, since: Tensor, rate: Tensor, level: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """Return the Gauss-Newton step of rate and level `(2, voxel)`, and the sum of squared residuals `(voxel)`."""
    decay = torch.exp(-rate * since)
    clean = level * decay
    fitted = (clean.square() + floor**2).sqrt_()
    residual = signal - fitted
    share = clean / fitted.clamp_min_(torch.finfo(signal.dtype).tiny)
    by_level = share * decay
    by_rate = share.mul_(clean).mul_(-since)
    rates, levels, both = by_rate.square().sum(0), by_level.square().sum(0), (by_rate * by_level).sum(0)
    to_rate, to_level = (by_rate * residual).sum(0), (by_level * residual).sum(0)
    # Where there is no signal, nothing says how the rate should change; the step is then zero.
    scale = torch.finfo(signal.dtype).eps
    determinant = (rates * levels - both.square()).clamp_min((scale * rates * levels).clamp_min(scale**3))
    step = torch.stack((levels * to_rate - both * to_level, rates * to_level - both * to_rate)) / determinant
    return step, residual.square_().sum(0)


def _run(inputs: Mapping[str, Tensor], context: StepContext, settings: NonlinearDecaySettings) -> dict[str, Tensor]:
    magnitude, mask = inputs["magnitude"], inputs["mask"]
    rate = nonlinear_decay(magnitude, mask, context.echo_times_s, settings, context.on_iteration)
    return rate_and_time(rate, mask, settings)


NONLINEAR_DECAY = Method(
    name="nonlinear",
    citation="Gauss-Newton with the floor of Rician noise: Gudbjartsson 1995, doi:10.1002/mrm.1910340618",
    run=_run,
    settings=NonlinearDecaySettings,
    inputs=("magnitude", "mask"),
    outputs=("r2star", "t2star"),
    memory_volumes=6.5,
)
