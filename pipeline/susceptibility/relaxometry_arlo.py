"""Fit R2* by auto-regression: the integral of a decay over three echoes is proportional to its drop between them."""

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.method import Method, StepContext
from pipeline.susceptibility.relaxometry import RateLimits, decays, laid_out, rate_and_time

MOST_UNEVEN = 1.9
"""Ratio of neighbouring echo spacings up to which all weights of Simpson's rule stay positive."""


def arlo(magnitude: Tensor, mask: Tensor, echo_times_s: Sequence[float], settings: RateLimits | None = None) -> Tensor:
    """Fit a mono-exponential decay by auto-regression on linear operations.

    Parameters
    ----------
    magnitude
        Magnitude [arbitrary], `(echo, z, y, x)`.
    mask
        Where to fit, bool `(z, y, x)`.
    echo_times_s
        Echo times [s], at least three; the spacing may vary by less than a factor of two from echo to echo.
    settings
        The limits.

    Returns
    -------
        R2* [1/s], `(z, y, x)`, zero outside the mask.

    Raises
    ------
    SingleEcho
        Where there is one echo only.
    UnusableInput
        Where shapes disagree, there are two echoes, or the spacing is too uneven.

    Notes
    -----
    For each three echoes in a row, the integral of the signal is T2* times its drop D from the first to the third.
    Simpson's rule gives the integral I; w is its weight of the third echo. The residual I - T2* D, scaled so that
    the third echo enters with the factor one, is least where sum((I - T2* D) (I + w D)) = 0. For unequal spacings the
    rule is that of the parabola through the three echoes.

    References
    ----------
    Pei 2015, doi:10.1002/mrm.25137.
    """
    settings = settings or RateLimits()
    signal, _ = decays(magnitude, mask, echo_times_s, least_echoes=3)
    area_and_drop = torch.zeros_like(signal[0])
    drops = torch.zeros_like(signal[0])
    for first, times in enumerate(zip(echo_times_s, echo_times_s[1:], echo_times_s[2:], strict=False)):
        weights = _simpson(times)
        before, here, after = signal[first : first + 3]
        area = weights[0] * before + weights[1] * here + weights[2] * after
        drop = before - after
        pivot = area + weights[2] * drop
        area_and_drop.addcmul_(area, pivot)
        drops.addcmul_(drop, pivot)
    # No signal at all makes zero by zero; it has no rate.
    rate = drops / area_and_drop.clamp_min(torch.finfo(drops.dtype).tiny)
    return laid_out(rate.clamp_(0, settings.highest_rate), mask)


def _simpson(times: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return the weights [s] that integrate the parabola through three echoes."""
    (early, late) = (later - earlier for earlier, later in itertools.pairwise(times))
    if max(early / late, late / early) > MOST_UNEVEN:
        raise UnusableInput(
            f"The echoes at {', '.join(f'{1000 * time:g}' for time in times)} ms are spaced too unevenly for ARLO; "
            "choose log_linear."
        )
    whole = early + late
    return whole / 6 * (2 - late / early), whole**3 / (6 * early * late), whole / 6 * (2 - early / late)


def _run(inputs: Mapping[str, Tensor], context: StepContext, settings: RateLimits) -> dict[str, Tensor]:
    rate = arlo(inputs["magnitude"], inputs["mask"], context.echo_times_s, settings)
    return rate_and_time(rate, inputs["mask"], settings)


ARLO = Method(
    name="arlo",
    citation="Pei 2015, doi:10.1002/mrm.25137",
    run=_run,
    settings=RateLimits,
    inputs=("magnitude", "mask"),
    outputs=("r2star", "t2star"),
    memory_volumes=4.0,
)
