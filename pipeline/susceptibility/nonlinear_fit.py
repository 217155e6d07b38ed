"""Fit field and offset to the complex echoes, so that a turn lost in a single echo does no harm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from pipeline.errors import SingleEcho
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.susceptibility.echo_fit import (
    Line,
    MaskedVoxels,
    field_strength,
    fit_line,
    image_noise,
    relative_magnitude,
    slope_variance,
)
from pipeline.susceptibility.phase_unwrapping.turns import TURN, refuse_unusable
from pipeline.units import radians_per_ppm

# A voxel this far beyond the typical misfit is fitted a second time from another start.
_SUSPICIOUS = 16.0
_ALMOST_NOTHING = 1e-6
_DESCENT_SHARE = 0.7


@dataclass(frozen=True)
class NonlinearFitSettings:
    """Choices of the nonlinear fit."""

    offset_smoothing_mm: float = setting(
        2.0,
        "mm",
        "the phase at echo time zero is smoothed over this distance for the final fit; 0 keeps it free in each voxel",
        minimum=0.0,
        maximum=50.0,
    )
    iterations: int = setting(10, "1", "most Gauss-Newton steps", minimum=1, maximum=200)
    tolerance: float = setting(
        1e-4,
        "rad",
        "stop when the phase at the last echo changes by less in the median voxel",
        minimum=0.0,
        maximum=1.0,
    )


def nonlinear_fit(
    unwrapped_phase: Tensor,
    magnitude: Tensor,
    mask: Tensor,
    echo_times_s: Sequence[float],
    b0_tesla: float,
    grid: Grid,
    settings: NonlinearFitSettings | None = None,
    on_iteration: OnIteration | None = None,
) -> tuple[Tensor, Tensor]:
    """Fit m exp(i(φ₀ + f t)) to the complex echoes of each voxel by Gauss–Newton, then smooth φ₀ and fit f again.

    Parameters
    ----------
    unwrapped_phase
        Unwrapped phase [rad], `(echo, z, y, x)`; it starts the fit and says which turn the field is on.
    magnitude
        Magnitude [arbitrary], `(echo, z, y, x)`.
    mask
        Where to fit, bool `(z, y, x)`.
    echo_times_s
        Echo times [s], two or more, any spacing.
    b0_tesla
        Field strength [T].
    grid
        The grid of the images.
    settings
        Smoothing of the offset and the stopping rule.
    on_iteration
        Told the fraction done.

    Returns
    -------
        Total field [ppm] and its standard deviation [ppm], both `(z, y, x)` and zero outside the mask.

    Raises
    ------
    SingleEcho
        Where there is one echo only.
    UnusableInput
        Where shapes disagree or the mask is empty.

    Notes
    -----
    The misfit of complex values does not know turns, so an echo that was unwrapped wrongly is as good as the others.
    Where the misfit is large, the fit starts again from lines through all echoes but one, and the best stays.

    References
    ----------
    Liu 2013, doi:10.1002/mrm.24272.
    """
    settings = settings or NonlinearFitSettings()
    refuse_unusable(unwrapped_phase, magnitude, mask, echo_times_s)
    if len(echo_times_s) < 2:
        raise SingleEcho("The nonlinear fit needs two echoes or more; choose echo combination `weighted_average`.")
    voxels = MaskedVoxels.of(mask, grid)
    echoes = _Echoes(
        voxels.gather(unwrapped_phase), relative_magnitude(voxels.gather(magnitude)).square_(), tuple(echo_times_s)
    )
    line = fit_line(echoes.phase, echoes.weight, echo_times_s)
    misfit = _descend(echoes, line, settings, on_iteration)
    if len(echo_times_s) > 2:
        _retry_without_each_echo(echoes, line, misfit, settings)
    residual = (echoes.residual(echo, line) for echo in range(len(echo_times_s)))
    sigma = image_noise(residual, echoes.weight, len(echo_times_s) - 2, magnitude, mask, voxels)
    _fit_slope_to_smooth_offset(echoes, line, settings, voxels)
    radians = radians_per_ppm(1.0, b0_tesla)
    if on_iteration is not None:
        on_iteration(1.0)
    noise = slope_variance(line, settings.offset_smoothing_mm, voxels).sqrt_().mul_(sigma).div_(radians)
    return voxels.spread(line.slope / radians), voxels.spread(noise)


@dataclass(frozen=True)
class _Echoes:
    """Phase [rad] and squared magnitude of the mask's voxels, both `(echo, voxel)`, and the echo times [s]."""

    phase: Tensor
    weight: Tensor
    times: tuple[float, ...]

    def residual(self, echo: int, line: Line) -> Tensor:
        """Return what the line leaves in an echo [rad], within half a turn, `(voxel,)`."""
        left = self.phase[echo] - line.at(self.times[echo])
        return left.sub_((left / TURN).round_(), alpha=TURN)

    def among(self, chosen: Tensor) -> "_Echoes":
        """Return the echoes of some voxels only."""
        return _Echoes(self.phase[:, chosen], self.weight[:, chosen], self.times)


def _descend(
    echoes: _Echoes, line: Line, settings: NonlinearFitSettings, on_iteration: OnIteration | None = None
) -> Tensor:
    """Move the lines in place to the least misfit of the complex values; return the misfit `(voxel,)`."""
    for iteration in range(settings.iterations):
        if on_iteration is not None:
            on_iteration(_DESCENT_SHARE * iteration / settings.iterations)
        force, turn = torch.zeros_like(line.slope), torch.zeros_like(line.slope)
        for echo, time in enumerate(echoes.times):
            pull = echoes.residual(echo, line).sin_().mul_(echoes.weight[echo])
            force.add_(pull)
            turn.add_(pull, alpha=time)
        slope = turn.addcmul_(line.centre, force, value=-1).div_(line.lever)
        intercept = force.div_(line.total).addcmul_(slope, line.centre, value=-1)
        line.slope.add_(slope)
        line.intercept.add_(intercept)
        if float(intercept.add_(slope, alpha=echoes.times[-1]).abs_().mean()) < settings.tolerance:
            break
    misfit = torch.zeros_like(line.slope)
    for echo in range(len(echoes.times)):
        misfit.addcmul_(echoes.weight[echo], echoes.residual(echo, line).cos_().neg_().add_(1))
    return misfit


def _retry_without_each_echo(echoes: _Echoes, line: Line, misfit: Tensor, settings: NonlinearFitSettings) -> None:
    """Start suspicious voxels again from the lines through all echoes but one, and keep in place what fits best."""
    chosen = (misfit > _SUSPICIOUS * misfit.median()).nonzero().flatten()
    if chosen.numel() == 0:
        return
    few, best = echoes.among(chosen), misfit[chosen]
    intercept, slope = line.intercept[chosen], line.slope[chosen]
    sums = Line(*(getattr(line, item.name)[chosen] for item in fields(Line)))
    for left_out in range(len(echoes.times)):
        weight = few.weight.clone()
        weight[left_out] *= _ALMOST_NOTHING
        start = fit_line(few.phase, weight, echoes.times)
        trial = replace(sums, intercept=start.intercept, slope=start.slope)
        left = _descend(few, trial, settings)
        is_better = left < best
        best = torch.where(is_better, left, best)
        intercept = torch.where(is_better, trial.intercept, intercept)
        slope = torch.where(is_better, trial.slope, slope)
    line.intercept[chosen] = intercept
    line.slope[chosen] = slope


def _fit_slope_to_smooth_offset(
    echoes: _Echoes, line: Line, settings: NonlinearFitSettings, voxels: MaskedVoxels
) -> None:
    """Smooth the offsets as complex values, by their precision, and move the slopes in place to the least misfit."""
    if settings.offset_smoothing_mm <= 0:
        return
    precision = line.total * line.lever / line.moment
    real = voxels.blur(torch.cos(line.intercept).mul_(precision), settings.offset_smoothing_mm)
    imaginary = voxels.blur(torch.sin(line.intercept).mul_(precision), settings.offset_smoothing_mm)
    line.intercept.copy_(torch.atan2(imaginary, real))
    for _ in range(settings.iterations):
        slope = torch.zeros_like(line.slope)
        for echo, time in enumerate(echoes.times):
            slope.addcmul_(echoes.residual(echo, line).sin_(), echoes.weight[echo], value=time)
        slope.div_(line.moment)
        line.slope.add_(slope)
        if float(slope.abs_().mean()) * echoes.times[-1] < settings.tolerance:
            break


def run(inputs: Mapping[str, Tensor], context: StepContext, settings: NonlinearFitSettings) -> dict[str, Tensor]:
    """Fit the step's echoes; see `nonlinear_fit`."""
    total_field, noise = nonlinear_fit(
        inputs["unwrapped_phase"],
        inputs["magnitude"],
        inputs["mask"],
        context.echo_times_s,
        field_strength(context),
        context.grid,
        settings,
        context.on_iteration,
    )
    return {"total_field": total_field, "field_noise": noise}


NONLINEAR_FIT = Method(
    name="nonlinear_fit",
    citation="Liu 2013, doi:10.1002/mrm.24272",
    run=run,
    settings=NonlinearFitSettings,
    inputs=("unwrapped_phase", "magnitude", "mask"),
    outputs=("total_field", "field_noise"),
    memory_volumes=8.0,
)
