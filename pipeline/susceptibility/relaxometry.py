"""Fit the effective transverse relaxation rate R2* to the magnitude of the echoes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import SingleEcho, UnusableInput
from pipeline.method import Method, StepContext, setting


@dataclass(frozen=True)
class LogLinearSettings:
    """Choices of the weighted log-linear fit."""

    reweightings: int = setting(
        3, "1", "fits repeated with weights from the fitted instead of the noisy signal", minimum=0, maximum=20
    )
    highest_rate: float = setting(1000.0, "1/s", "rates are limited to between zero and this", minimum=1.0)


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
    if len(echo_times_s) < 2:
        raise SingleEcho("R2* needs two echoes or more; leave relaxometry out of the recipe for one echo.")
    if magnitude.shape[0] != len(echo_times_s) or magnitude.shape[1:] != mask.shape:
        raise UnusableInput(
            f"Magnitude {tuple(magnitude.shape)} does not fit {len(echo_times_s)} echo times and a mask of "
            f"{tuple(mask.shape)}."
        )
    signal = magnitude[:, mask]
    peak = signal.amax(0).clamp_min(torch.finfo(signal.dtype).tiny)
    # Zeros stored by the scanner have no logarithm; at a thousandth of the peak their weight is a millionth.
    logarithm = (signal / peak).clamp_min(1e-3).log()
    times = torch.tensor(echo_times_s, dtype=signal.dtype, device=signal.device)[:, None]
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
    result = torch.zeros_like(magnitude[0])
    result[mask] = rate
    return result


def run(inputs: Mapping[str, Tensor], context: StepContext, settings: LogLinearSettings) -> dict[str, Tensor]:
    """Fit R2* to the step's magnitude; see `log_linear`."""
    return {"r2star": log_linear(inputs["magnitude"], inputs["mask"], context.echo_times_s, settings)}


LOG_LINEAR = Method(
    name="log_linear",
    citation="Salvador 2005, doi:10.1002/hbm.20076",
    run=run,
    settings=LogLinearSettings,
    inputs=("magnitude", "mask"),
    outputs=("r2star",),
)
