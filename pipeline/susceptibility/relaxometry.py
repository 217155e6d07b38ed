"""Fit the effective transverse relaxation rate R2* to the logarithm of the magnitude of the echoes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import SingleEcho, UnusableInput
from pipeline.method import Method, StepContext, setting

# The fit's memory beside its input and result; a part of this size stays in a processor's cache.
_BLOCK_VOXELS = 50_000


@dataclass(frozen=True)
class RateLimits:
    """Between which rates the truth must lie; noise alone leaves these limits."""

    highest_rate: float = setting(1000.0, "1/s", "rates are limited to between zero and this", minimum=1.0)
    longest_time: float = setting(1.0, "s", "T2* is at most this, as of fluid", minimum=0.001)


@dataclass(frozen=True)
class LogLinearSettings(RateLimits):
    """Choices of the weighted log-linear fit."""

    reweightings: int = setting(
        3, "1", "fits repeated with weights from the fitted instead of the noisy signal", minimum=0, maximum=20
    )


def log_linear(
    magnitude: Tensor, mask: Tensor, echo_times_s: Sequence[float], settings: LogLinearSettings | None = None
) -> Tensor:
    """Fit a mono-exponential decay by weighted least squares on the logarithm of the magnitude.

    Parameters
    ----------
    magnitude
        Magnitude [arbitrary], `(echo, z, y, x)`.
    mask
        Where to fit, bool `(z, y, x)`.
    echo_times_s
        Echo times [s], at least two, any spacing.
    settings
        Number of reweightings and the limit.

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
    The logarithm of a signal S with noise σ has the variance (σ/S)², so S² is the weight. Weights from the noisy signal
    itself favour echoes that noise happened to raise; weights from the fit do not.

    References
    ----------
    Salvador 2005, doi:10.1002/hbm.20076 (reweighted log-linear fit of a decay).
    """
    settings = settings or LogLinearSettings()
    signal, times = decays(magnitude, mask, echo_times_s)
    return laid_out(fitted_rates(signal, times, settings), mask)


def fitted_rates(signal: Tensor, times: Tensor, settings: LogLinearSettings) -> Tensor:
    """Return R2* [1/s] `(voxel,)` by the fit of `log_linear`.

    Parameters
    ----------
    signal
        Magnitude [arbitrary], `(echo, voxel)`.
    times
        Echo times [s], `(echo, 1)`.
    settings
        Number of reweightings and the limit.
    """
    return torch.cat([_block_rates(block, times, settings) for block in signal.split(_BLOCK_VOXELS, 1)])


def _block_rates(signal: Tensor, times: Tensor, settings: LogLinearSettings) -> Tensor:
    peak = signal.amax(0).clamp_min(torch.finfo(signal.dtype).tiny)
    # Zeros stored by the scanner have no logarithm; at a thousandth of the peak their weight is a millionth.
    logarithm = (signal / peak).clamp_min(1e-3).log()
    fitted = logarithm
    rate = torch.zeros_like(peak)
    for _ in range(settings.reweightings + 1):
        weight = (2 * fitted).exp()
        total = weight.sum(0)
        centred = times - (weight * times).sum(0) / total
        rate = -(weight * centred * logarithm).sum(0) / (weight * centred.square()).sum(0)
        rate = rate.clamp(0, settings.highest_rate)
        level = (weight * (logarithm + rate * times)).sum(0) / total
        fitted = (level - rate * times).clamp_min(-6.9)
    return rate


def decays(
    magnitude: Tensor, mask: Tensor, echo_times_s: Sequence[float], least_echoes: int = 2
) -> tuple[Tensor, Tensor]:
    """Return the signals in the mask `(echo, voxel)` [arbitrary] and the echo times `(echo, 1)` [s].

    Raises
    ------
    SingleEcho
        There is one echo only.
    UnusableInput
        Shapes disagree, or there are fewer echoes than the fit needs.
    """
    if len(echo_times_s) < 2:
        raise SingleEcho("R2* needs two echoes or more; leave relaxometry out of the recipe for one echo.")
    if len(echo_times_s) < least_echoes:
        raise UnusableInput(
            f"This fit of R2* needs {least_echoes} echoes or more and there are {len(echo_times_s)}; choose log_linear."
        )
    if magnitude.ndim != 4 or magnitude.shape[0] != len(echo_times_s) or magnitude.shape[1:] != mask.shape:
        raise UnusableInput(
            f"Magnitude {tuple(magnitude.shape)} does not fit {len(echo_times_s)} echo times and a mask of "
            f"{tuple(mask.shape)}."
        )
    signal = magnitude.flatten(1).index_select(1, mask.flatten().nonzero().flatten())
    return signal, torch.tensor(echo_times_s, dtype=signal.dtype, device=signal.device)[:, None]


def laid_out(rate: Tensor, mask: Tensor) -> Tensor:
    """Return the rates of the voxels in a mask as a volume, zero outside."""
    volume = torch.zeros(mask.shape, dtype=rate.dtype, device=rate.device)
    volume[mask] = rate
    return volume


def rate_and_time(r2star: Tensor, mask: Tensor, settings: RateLimits) -> dict[str, Tensor]:
    """Return R2* [1/s] and T2* [s], the latter at most the longest time of the settings and zero outside the mask."""
    time = r2star.clamp_min(1 / settings.longest_time).reciprocal_()
    return {"r2star": r2star, "t2star": torch.where(mask, time, 0.0)}


def _run(inputs: Mapping[str, Tensor], context: StepContext, settings: LogLinearSettings) -> dict[str, Tensor]:
    rate = log_linear(inputs["magnitude"], inputs["mask"], context.echo_times_s, settings)
    return rate_and_time(rate, inputs["mask"], settings)


LOG_LINEAR = Method(
    name="log_linear",
    citation="Salvador 2005, doi:10.1002/hbm.20076",
    run=_run,
    settings=LogLinearSettings,
    inputs=("magnitude", "mask"),
    outputs=("r2star", "t2star"),
    memory_volumes=4.5,
)
