"""MEDI: nonlinear dipole inversion whose edges may lie only where the magnitude has them; MEDI+0 sets CSF to zero."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import NotConverged, UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.gradient import add_weighted_laplacian, gradient_length
from pipeline.operators.padding import frame_around
from pipeline.susceptibility.dipole_inversion.cerebrospinal_fluid import cerebrospinal_fluid
from pipeline.susceptibility.dipole_inversion.spectral_least_squares import SpectralDipole, least_squares
from pipeline.susceptibility.relaxometry import log_linear

_LARGEST_WEIGHT = 2.0
# In a region without penalty the preconditioner still needs to be positive.
_LEAST_SHARE_PENALISED = 0.05


@dataclass(frozen=True)
class MediSettings:
    """Settings of MEDI."""

    regularisation: float = setting(
        2e-4, "ppm·mm", "weight of the penalised gradients against the squared field error", minimum=1e-8
    )
    edge_fraction: float = setting(
        0.3, "1", "share of the strongest gradients of the magnitude that are not penalised", minimum=0.0, maximum=0.9
    )
    radians_per_ppm: float = setting(
        6.4, "rad/ppm", "phase of one ppm in the nonlinear data term; 6.4 is 8 ms at 3 T", minimum=0.01, maximum=100.0
    )
    smoothing: float = setting(1e-3, "ppm/mm", "gradients below this are treated as noise", minimum=1e-6)
    outlier: float = setting(
        6.0, "1", "weighted residuals beyond this many standard deviations lose weight", minimum=1.0
    )
    rounds: int = setting(6, "1", "Gauss-Newton steps at most", minimum=1, maximum=100)
    inner_iterations: int = setting(12, "1", "conjugate gradient steps in each of them", minimum=1, maximum=1000)
    tolerance: float = setting(0.02, "1", "stop where a step changes the map by less than this share", minimum=0.0)
    margin: int = setting(8, "voxel", "least padding around the mask", minimum=4, maximum=128)


@dataclass(frozen=True)
class MediZeroSettings(MediSettings):
    """Settings of MEDI+0."""

    csf_weight: float = setting(
        0.1, "1", "weight of the variation inside CSF against the squared field error", minimum=0.0
    )
    csf_largest_r2star: float = setting(5.0, "1/s", "CSF decays more slowly than this", minimum=0.1, maximum=100.0)


def morphology_enabled_inversion(
    local_field: Tensor,
    mask: Tensor,
    magnitude: Tensor,
    field_noise: Tensor,
    grid: Grid,
    settings: MediSettings,
    csf: Tensor | None = None,
    csf_weight: float = 0.0,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Minimise ½‖W(exp(i s D χ) − exp(i s f))‖²/s² + λ Σ |M_G ∇χ| + ½ c ‖χ − its mean‖² over CSF.

    Parameters
    ----------
    local_field
        Field without background `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`; the result is zero outside.
    magnitude
        Echo images `(echo, z, y, x)`, or one image `(z, y, x)` [arbitrary]: their edges are spared by the penalty.
    field_noise
        Standard deviation of the field `(z, y, x)` [ppm].
    grid
        The grid with the direction of B0.
    settings
        Weights and stopping rule.
    csf
        Bool `(z, y, x)`: where the map should be uniform; its mean becomes zero. None asks for neither.
    csf_weight
        Weight c of that wish [1].
    on_iteration
        Told the fraction done.

    Returns
    -------
    Susceptibility `(z, y, x)` [ppm]; up to a constant without CSF, relative to CSF with it.

    Raises
    ------
    UnusableInput
        Shapes disagree or the mask is empty.
    NotConverged
        The field holds extreme values.

    Source: Liu 2012, doi:10.1016/j.neuroimage.2011.08.082; nonlinear data term and outliers: Liu 2013,
    doi:10.1002/mrm.24272; MEDI+0: Liu 2018, doi:10.1002/mrm.26946.
    """
    for name, volume in (("local field", local_field), ("field noise", field_noise), ("magnitude", magnitude)):
        if volume.shape[-3:] != mask.shape:
            raise UnusableInput(f"The {name} has shape {tuple(volume.shape)} but the mask {tuple(mask.shape)}.")
    frame = frame_around(mask, grid, settings.margin)
    image = magnitude.square().sum(0).sqrt() if magnitude.dim() == 4 else magnitude
    edges = _edges(torch.where(mask, image, 0.0), mask, grid, settings.edge_fraction)
    smooth = ~frame.embed(edges)
    precision = frame.embed(_precision(mask, field_noise))
    field = frame.embed(torch.where(mask, local_field, 0.0))
    dipole = SpectralDipole.on(frame.grid, field)
    fluid = None if csf is None else frame.embed(csf & mask)
    solution = _gauss_newton(dipole, field, precision, smooth, fluid, csf_weight, settings, on_iteration)
    susceptibility = frame.restore(solution)
    if csf is not None:
        susceptibility = susceptibility - susceptibility[csf & mask].mean()
    return susceptibility * mask


def _gauss_newton(
    dipole: SpectralDipole,
    field: Tensor,
    precision: Tensor,
    smooth: Tensor,
    fluid: Tensor | None,
    fluid_weight: float,
    settings: MediSettings,
    told: OnIteration | None,
) -> Tensor:
    """Solve linearised problems, each with gradient weights and outlier weights from the last map."""
    solution, explained = torch.zeros_like(field), torch.zeros_like(field)
    scale = settings.radians_per_ppm
    for number in range(settings.rounds):
        residual = torch.sin((field - explained).mul_(scale)).div_(scale)
        trusted = precision if number == 0 else precision * _trust(residual, precision, settings.outlier)
        weights = _penalty_weights(solution, smooth, dipole.grid, settings, number == 0)
        level = settings.regularisation / settings.smoothing if number == 0 else _mean_weight(weights, dipole.grid)
        improved = least_squares(
            dipole,
            residual.add_(explained),
            trusted,
            _prior(weights, fluid, fluid_weight),
            (dipole.frequency_squared * level).clamp_min_(1e-9),
            solution,
            settings.inner_iterations,
            1e-2,
            _part(told, number, settings.rounds),
        )
        change, size = float((improved - solution).norm()), float(improved.norm())
        solution, explained = improved, dipole.field(improved)
        if not size < float("inf"):
            raise NotConverged("MEDI diverged; the field or its noise holds extreme values. Check the mask.")
        if change <= settings.tolerance * size:
            break
    if told is not None:
        told(1.0)
    return solution


def _prior(
    weights: tuple[Tensor, Tensor, Tensor], fluid: Tensor | None, fluid_weight: float
) -> Callable[[Tensor], Tensor]:
    """Return the operator of the quadratic penalties on an image."""

    def apply(image: Tensor) -> Tensor:
        result = torch.zeros_like(image)
        add_weighted_laplacian(result, image, weights)
        if fluid is not None and fluid_weight > 0:
            inside = image[fluid]
            result[fluid] += fluid_weight * (inside - inside.mean())
        return result

    return apply


def _penalty_weights(
    solution: Tensor, smooth: Tensor, grid: Grid, settings: MediSettings, is_first: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return λ/|∇χ| for the differences along each axis, zero at the edges of the magnitude."""
    if is_first:
        length = torch.full_like(solution, settings.regularisation / settings.smoothing)
    else:
        length = gradient_length(solution, grid.voxel_size_mm)
        length.square_().add_(settings.smoothing**2).rsqrt_().mul_(settings.regularisation)
    length *= smooth
    sizes = [size - 1 for size in length.shape]
    z, y, x = (length.narrow(axis, 0, sizes[axis]) / step**2 for axis, step in enumerate(grid.voxel_size_mm))
    return z, y, x


def _mean_weight(weights: tuple[Tensor, Tensor, Tensor], grid: Grid) -> float:
    """Return the mean of λ/|∇χ| over the voxels, as one number for the preconditioner."""
    means = [float(weight.mean()) * step**2 for weight, step in zip(weights, grid.voxel_size_mm, strict=True)]
    return max(sum(means) / 3, 1e-9)


def _edges(image: Tensor, mask: Tensor, grid: Grid, edge_fraction: float) -> Tensor:
    """Return where the magnitude is steepest inside the mask."""
    steepness = gradient_length(image, grid.voxel_size_mm)
    inside = steepness[mask]
    rank = max(1, min(inside.numel(), round((1 - edge_fraction) * inside.numel())))
    return mask & (steepness > inside.kthvalue(rank).values)


def _precision(mask: Tensor, noise: Tensor) -> Tensor:
    reference = noise[mask].median()
    return torch.where(mask, (reference / noise.clamp_min(1e-9)).clamp_max(_LARGEST_WEIGHT), 0.0).square_()


def _trust(residual: Tensor, precision: Tensor, limit: float) -> Tensor:
    """Return factors below one for weighted residuals beyond `limit` standard deviations."""
    weighted = residual.abs().mul_(precision.sqrt())
    spread = weighted[precision > 0].square().mean().sqrt()
    return (limit * spread / weighted.clamp_min_(1e-12)).clamp_max_(1.0).square_()


def _part(told: OnIteration | None, number: int, rounds: int) -> OnIteration | None:
    if told is None:
        return None
    return lambda fraction: told((number + fraction) / rounds)


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: MediSettings) -> dict[str, Tensor]:
    return {"susceptibility": _inverted(artefacts, context, settings)}


def _run_zero(artefacts: Mapping[str, Tensor], context: StepContext, settings: MediZeroSettings) -> dict[str, Tensor]:
    mask, csf = artefacts["mask"], artefacts.get("region")
    if csf is None:
        r2star = artefacts.get("r2star")
        if r2star is None:
            r2star = log_linear(artefacts["magnitude"], mask, context.echo_times_s)
        csf = cerebrospinal_fluid(r2star, mask, context.grid, settings.csf_largest_r2star)
    csf = csf.bool() & mask
    if not bool(csf.any()):
        raise UnusableInput("The region of cerebrospinal fluid holds no voxel of the mask; give another region.")
    return {"susceptibility": _inverted(artefacts, context, settings, csf, settings.csf_weight)}


def _inverted(
    artefacts: Mapping[str, Tensor],
    context: StepContext,
    settings: MediSettings,
    csf: Tensor | None = None,
    csf_weight: float = 0.0,
) -> Tensor:
    return morphology_enabled_inversion(
        artefacts["local_field"],
        artefacts["mask"],
        artefacts["magnitude"],
        artefacts["field_noise"],
        context.grid,
        settings,
        csf,
        csf_weight,
        context.on_iteration,
    )


MEDI = Method(
    name="medi",
    citation="Liu 2012, doi:10.1016/j.neuroimage.2011.08.082; Liu 2013, doi:10.1002/mrm.24272",
    run=_run,
    settings=MediSettings,
    inputs=("local_field", "mask", "magnitude", "field_noise"),
    outputs=("susceptibility",),
)
MEDI_0 = Method(
    name="medi_0",
    citation="Liu 2018, doi:10.1002/mrm.26946",
    run=_run_zero,
    settings=MediZeroSettings,
    inputs=("local_field", "mask", "magnitude", "field_noise"),
    outputs=("susceptibility",),
    optional_inputs=("region", "r2star"),
)
