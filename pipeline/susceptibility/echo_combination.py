"""Combine the unwrapped echoes into the total field, with its noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.method import Method, NoSettings, StepContext, setting
from pipeline.susceptibility.echo_fit import (
    MaskedVoxels,
    field_strength,
    fit_line,
    image_noise,
    refit_with_smooth_offset,
    relative_magnitude,
)
from pipeline.susceptibility.phase_unwrapping.turns import refuse_unusable
from pipeline.units import radians_per_ppm


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
    if len(echo_times_s) == 1:
        return weighted_average(unwrapped_phase, magnitude, mask, echo_times_s, b0_tesla, grid)
    voxels = MaskedVoxels.of(mask, grid)
    phase = voxels.gather(unwrapped_phase)
    weight = relative_magnitude(voxels.gather(magnitude)).square_()
    line = fit_line(phase, weight, echo_times_s)
    residual = (phase[echo] - line.at(time) for echo, time in enumerate(echo_times_s))
    sigma = image_noise(residual, weight, len(echo_times_s) - 2, magnitude, mask, voxels)
    slope, variance = refit_with_smooth_offset(phase, weight, line, echo_times_s, settings.offset_smoothing_mm, voxels)
    radians = radians_per_ppm(1.0, b0_tesla)
    noise = variance.sqrt_().mul_(sigma).div_(radians)
    return voxels.spread(slope.div_(radians)), voxels.spread(noise)


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
    voxels = MaskedVoxels.of(mask, grid)
    phase = voxels.gather(unwrapped_phase)
    weight = relative_magnitude(voxels.gather(magnitude)).square_()
    slope, moment = torch.zeros_like(phase[0]), torch.zeros_like(phase[0])
    for values, trust, time in zip(phase, weight, echo_times_s, strict=True):
        slope.addcmul_(trust, values, value=time)
        moment.add_(trust, alpha=time * time)
    slope.div_(moment)
    residual = (phase[echo] - time * slope for echo, time in enumerate(echo_times_s))
    sigma = image_noise(residual, weight, len(echo_times_s) - 1, magnitude, mask, voxels)
    radians = radians_per_ppm(1.0, b0_tesla)
    noise = sigma.div_(moment.sqrt_()).div_(radians)
    return voxels.spread(slope.div_(radians)), voxels.spread(noise)


def run_weighted_linear_fit(
    inputs: Mapping[str, Tensor], context: StepContext, settings: WeightedLinearFitSettings
) -> dict[str, Tensor]:
    """Fit the step's echoes; see `weighted_linear_fit`."""
    total_field, noise = weighted_linear_fit(
        inputs["unwrapped_phase"],
        inputs["magnitude"],
        inputs["mask"],
        context.echo_times_s,
        field_strength(context),
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
        field_strength(context),
        context.grid,
    )
    return {"total_field": total_field, "field_noise": noise}


WEIGHTED_LINEAR_FIT = Method(
    name="weighted_linear_fit",
    citation="magnitude-weighted least squares over the echoes, Robinson 2017, doi:10.1002/nbm.3601",
    run=run_weighted_linear_fit,
    settings=WeightedLinearFitSettings,
    inputs=("unwrapped_phase", "magnitude", "mask"),
    outputs=("total_field", "field_noise"),
    memory_volumes=8.0,
)

WEIGHTED_AVERAGE = Method(
    name="weighted_average",
    citation="phase noise weighting through the origin, Wu 2012, doi:10.1016/j.neuroimage.2011.08.082",
    run=run_weighted_average,
    settings=NoSettings,
    inputs=("unwrapped_phase", "magnitude", "mask"),
    outputs=("total_field", "field_noise"),
    memory_volumes=6.5,
)
