"""Combine the unwrapped echoes into the total field, with its noise."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, NoSettings, StepContext, setting
from pipeline.susceptibility.phase_unwrapping.turns import refuse_unusable
from pipeline.susceptibility.smoothing import noise_gain, weighted_gaussian
from pipeline.units import radians_per_ppm

# A field noise is inflated where the echoes disagree with a straight line by more than noise explains.
RESIDUAL_WINDOW_MM = 1.5


@dataclass(frozen=True)
class WeightedLinearFitSettings:
    """Choices of the linear fit."""

    offset_smoothing_mm: float = setting(
        2.0,
        "mm",
        "the phase at echo time zero is smoothed over this distance for the final fit; 0 keeps it free in each voxel",
        minimum=0.0,
        maximum=50.0,
    )


def weighted_linear_fit(
    unwrapped_phase: Tensor,
    magnitude: Tensor,
    mask: Tensor,
    echo_times_s: Sequence[float],
    b0_tesla: float,
    grid: Grid,
    settings: WeightedLinearFitSettings | None = None,
) -> tuple[Tensor, Tensor]:
    """Fit phase against echo time with weights from the magnitude and an offset that varies smoothly in space.

    Parameters
    ----------
    unwrapped_phase
        Unwrapped phase [rad], `(echo, z, y, x)`.
    magnitude
        Magnitude [arbitrary], `(echo, z, y, x)`.
    mask
        Where to fit, bool `(z, y, x)`.
    echo_times_s
        Echo times [s], any spacing; one echo alone is taken to start at phase zero.
    b0_tesla
        Field strength [T].
    grid
        The grid of the images.
    settings
        Smoothing of the offset.

    Returns
    -------
        Total field [ppm] and its standard deviation [ppm], both `(z, y, x)` and zero outside the mask.

    Raises
    ------
    UnusableInput
        Where shapes disagree or the mask is empty.

    Notes
    -----
    A free offset in each voxel nearly doubles the noise of the slope. The offset comes from coils and transmitter and
    is smooth, so the fitted one is averaged over its neighbourhood by its precision and the slope is fitted again.
    A constant in all echoes moves the offset only, so it never reaches the field. The noise of the images comes from
    the misfit of the echoes, and is raised where the echoes leave the straight line; two echoes or fewer leave no
    misfit, then it comes from the magnitude's texture.

    References
    ----------
    Robinson 2017, doi:10.1002/nbm.3601 (section on echo combination).
    """
    settings = settings or WeightedLinearFitSettings()
    refuse_unusable(unwrapped_phase, magnitude, mask, echo_times_s)
    times = _column(echo_times_s, unwrapped_phase)
    if len(echo_times_s) == 1:
        return weighted_average(unwrapped_phase, magnitude, mask, echo_times_s, b0_tesla, grid)
    relative = _relative(magnitude, mask)
    weight = relative.square()
    total = weight.sum(0)
    centre = (weight * times).sum(0) / total
    spread = (weight * (times - centre).square()).sum(0)
    moment = (weight * times.square()).sum(0)
    slope = (weight * (times - centre) * unwrapped_phase).sum(0) / spread
    intercept = (weight * unwrapped_phase).sum(0) / total - slope * centre
    sigma = _noise_sigma(unwrapped_phase - intercept - slope * times, relative, mask, grid, free=2)
    precision = total * spread / moment * mask
    smooth = weighted_gaussian(intercept, precision, settings.offset_smoothing_mm, grid)
    slope = (weight * times * (unwrapped_phase - smooth)).sum(0) / moment
    # The fit through a known offset and the free offset are uncorrelated, so their variances add.
    lever = total * centre / moment
    variance = 1 / moment + noise_gain(settings.offset_smoothing_mm, grid) * lever.square() * moment / (total * spread)
    radians = radians_per_ppm(1.0, b0_tesla)
    return torch.where(mask, slope / radians, 0), torch.where(mask, sigma * variance.sqrt() / radians, 0)


def weighted_average(
    unwrapped_phase: Tensor,
    magnitude: Tensor,
    mask: Tensor,
    echo_times_s: Sequence[float],
    b0_tesla: float,
    grid: Grid,
) -> tuple[Tensor, Tensor]:
    """Average the field of every echo with the weights of least noise; the phase is taken to start at zero.

    Parameters
    ----------
    unwrapped_phase
        Unwrapped phase [rad], `(echo, z, y, x)`, free of an offset.
    magnitude
        Magnitude [arbitrary], `(echo, z, y, x)`.
    mask
        Where to average, bool `(z, y, x)`.
    echo_times_s
        Echo times [s].
    b0_tesla
        Field strength [T].
    grid
        The grid of the images.

    Returns
    -------
        Total field [ppm] and its standard deviation [ppm], both `(z, y, x)` and zero outside the mask.

    Raises
    ------
    UnusableInput
        Where shapes disagree or the mask is empty.

    References
    ----------
    Wu 2012, doi:10.1016/j.neuroimage.2011.08.082.
    """
    refuse_unusable(unwrapped_phase, magnitude, mask, echo_times_s)
    times = _column(echo_times_s, unwrapped_phase)
    relative = _relative(magnitude, mask)
    weight = relative.square()
    moment = (weight * times.square()).sum(0)
    slope = (weight * times * unwrapped_phase).sum(0) / moment
    sigma = _noise_sigma(unwrapped_phase - slope * times, relative, mask, grid, free=1)
    radians = radians_per_ppm(1.0, b0_tesla)
    noise = sigma / moment.sqrt() / radians
    return torch.where(mask, slope / radians, 0), torch.where(mask, noise, 0)


def _relative(magnitude: Tensor, mask: Tensor) -> Tensor:
    """Return the magnitude as a part of the mask's mean, at least a ten-thousandth.

    A voxel of zeros, as scanners store them, then has a field of enormous but finite noise.
    """
    mean = magnitude[:, mask].mean().clamp_min(torch.finfo(magnitude.dtype).tiny)
    return (magnitude / mean).clamp_min(1e-4)


def _noise_sigma(residual: Tensor, magnitude: Tensor, mask: Tensor, grid: Grid, free: int) -> Tensor:
    """Return the standard deviation of the image noise in the magnitude's unit, raised where the model misses."""
    degrees = residual.shape[0] - free
    if degrees < 1:
        return torch.full_like(magnitude[0], _noise_from_texture(magnitude[0], mask))
    chi_square = (magnitude.square() * residual.square()).sum(0)
    # Wilson and Hilferty: the median of chi² with n degrees of freedom.
    median = degrees * (1 - 2 / (9 * degrees)) ** 3
    variance = chi_square[mask].median() / median
    local = weighted_gaussian(chi_square / degrees, mask.to(chi_square.dtype), RESIDUAL_WINDOW_MM, grid)
    return torch.maximum(variance, local).sqrt()


def _noise_from_texture(magnitude: Tensor, mask: Tensor) -> float:
    """Estimate the noise from differences that cancel in smooth tissue (Donoho's estimator on a Haar wavelet)."""
    even = magnitude[: magnitude.shape[0] // 2 * 2, : magnitude.shape[1] // 2 * 2, : magnitude.shape[2] // 2 * 2]
    inside = mask[: even.shape[0], : even.shape[1], : even.shape[2]]
    for axis in range(3):
        first, second = even.unfold(axis, 2, 2).unbind(-1)
        even = (first - second) / math.sqrt(2)
        one, other = inside.unfold(axis, 2, 2).unbind(-1)
        inside = one & other
    if not bool(inside.any()):
        raise UnusableInput("The mask is too thin to estimate noise from; it needs blocks of 2 x 2 x 2 voxels.")
    return float(even[inside].abs().median()) / 0.6745


def run_weighted_linear_fit(
    inputs: Mapping[str, Tensor], context: StepContext, settings: WeightedLinearFitSettings
) -> dict[str, Tensor]:
    """Fit the step's echoes; see `weighted_linear_fit`."""
    total_field, noise = weighted_linear_fit(
        inputs["unwrapped_phase"],
        inputs["magnitude"],
        inputs["mask"],
        context.echo_times_s,
        _field_strength(context),
        context.grid,
        settings,
    )
    return {"total_field": total_field, "field_noise": noise}


def run_weighted_average(inputs: Mapping[str, Tensor], context: StepContext, settings: NoSettings) -> dict[str, Tensor]:
    """Average the step's echoes; see `weighted_average`."""
    total_field, noise = weighted_average(
        inputs["unwrapped_phase"],
        inputs["magnitude"],
        inputs["mask"],
        context.echo_times_s,
        _field_strength(context),
        context.grid,
    )
    return {"total_field": total_field, "field_noise": noise}


def _field_strength(context: StepContext) -> float:
    if context.b0_tesla is None:
        raise UnusableInput("The field strength is unknown; give it in tesla to turn phase into a field in ppm.")
    return context.b0_tesla


def _column(echo_times_s: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(echo_times_s, dtype=like.dtype, device=like.device)[:, None, None, None]


WEIGHTED_LINEAR_FIT = Method(
    name="weighted_linear_fit",
    citation="magnitude-weighted least squares over the echoes, Robinson 2017, doi:10.1002/nbm.3601",
    run=run_weighted_linear_fit,
    settings=WeightedLinearFitSettings,
    inputs=("unwrapped_phase", "magnitude", "mask"),
    outputs=("total_field", "field_noise"),
)

WEIGHTED_AVERAGE = Method(
    name="weighted_average",
    citation="phase noise weighting through the origin, Wu 2012, doi:10.1016/j.neuroimage.2011.08.082",
    run=run_weighted_average,
    settings=NoSettings,
    inputs=("unwrapped_phase", "magnitude", "mask"),
    outputs=("total_field", "field_noise"),
)
