"""LN-QSM: one step from the total field, where sources in the brain pay for their norm and those outside do not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d

from pipeline.errors import NotConverged, UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.dipole import AXES, Dipole
from pipeline.operators.gradient import gradient_length
from pipeline.operators.padding import frame_around
from pipeline.solvers.conjugate_gradient import conjugate_gradient
from pipeline.susceptibility.dipole_inversion.gradient_penalty import add_gradient_penalty, add_penalty_diagonal

_LARGEST_WEIGHT = 2.0
# How far the diagonal of the problem may lie below its median inside the mask: limits the steps of distant sources.
_LEAST_VISIBILITY = 0.1
_PRECISION = 1e-5


@dataclass(frozen=True)
class LnQsmSettings:
    """Settings of LN-QSM."""

    regularisation: float = setting(
        4e-4, "ppm·mm", "weight of the total variation against the squared field error", minimum=0.0
    )
    norm_weight: float = setting(
        3e-4, "1", "weight of the squared susceptibility in the mask against the squared field error", minimum=0.0
    )
    smoothing: float = setting(1e-3, "ppm/mm", "gradients below this are treated as noise", minimum=1e-6)
    levels: int = setting(3, "1", "grids: the full one, and coarser ones that give its start", minimum=1, maximum=4)
    coarse_rounds: int = setting(4, "1", "reweightings on each coarser grid", minimum=1, maximum=100)
    coarse_iterations: int = setting(60, "1", "conjugate gradient steps per reweighting there", minimum=1, maximum=1000)
    rounds: int = setting(4, "1", "reweightings on the full grid at most", minimum=1, maximum=100)
    inner_iterations: int = setting(25, "1", "conjugate gradient steps per reweighting", minimum=1, maximum=1000)
    tolerance: float = setting(5e-3, "1", "stop where a round changes the map by less than this share", minimum=0.0)
    margin: int = setting(12, "voxel", "least padding around the mask", minimum=4, maximum=128)


@dataclass(frozen=True)
class _Problem:
    """What is to be solved on one grid; volumes `(z, y, x)`."""

    grid: Grid
    dipole: Dipole
    inside: Tensor
    field: Tensor
    precision: Tensor
    visibility: Tensor


def least_norm_inversion(
    total_field: Tensor,
    mask: Tensor,
    field_noise: Tensor,
    grid: Grid,
    settings: LnQsmSettings,
    on_iteration: OnIteration | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Minimise ½‖W(D χ − B)‖² + λ Σ |M∇χ| + ½ μ‖Mχ‖² over sources inside and around the mask M.

    The norm makes the solution unique: what sources outside the mask can explain, they explain.

    Parameters
    ----------
    total_field
        Relative field `(z, y, x)` [ppm], used inside the mask.
    mask
        Bool `(z, y, x)`.
    field_noise
        Standard deviation of the total field `(z, y, x)` [ppm].
    grid
        The grid with the direction of B0.
    settings
        Weights, numbers of steps and stopping rule.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Susceptibility [ppm]; its field, the local field [ppm]; the field of all sources inside and outside [ppm]. All
    `(z, y, x)`, zero outside the mask.

    Raises
    ------
    UnusableInput
        Shapes disagree or the mask is empty.
    NotConverged
        The field holds extreme values.

    Source: Sun 2018, NeuroImage 179:166; reweighting: Vogel & Oman 1996, doi:10.1137/0917016.
    """
    for name, volume in (("total field", total_field), ("field noise", field_noise)):
        if volume.shape != mask.shape:
            raise UnusableInput(f"The {name} has shape {tuple(volume.shape)} but the mask {tuple(mask.shape)}.")
    frame = frame_around(mask, grid, settings.margin, multiple=2**settings.levels)
    centred = torch.where(mask, total_field - total_field[mask].median(), 0.0)
    fine = _problem(frame.grid, frame.embed(centred), frame.embed(mask), frame.embed(_precision(mask, field_noise)))
    solution = _solved(fine, settings, settings.levels - 1, on_iteration, 0.0)
    if not bool(torch.isfinite(solution).all()):
        raise NotConverged("LN-QSM diverged; the field or its noise holds extreme values. Check the mask.")
    explained = fine.dipole(solution)
    solution *= fine.inside
    local_field = fine.dipole(solution)
    susceptibility, local_field, explained = (
        frame.restore(volume) * mask for volume in (solution, local_field, explained)
    )
    return susceptibility, local_field, explained


def _problem(grid: Grid, field: Tensor, inside: Tensor, precision: Tensor) -> _Problem:
    dipole = Dipole.on(grid, field)
    return _Problem(grid, dipole, inside, field, precision, _visibility(dipole, precision, inside))


def _visibility(dipole: Dipole, precision: Tensor, inside: Tensor) -> Tensor:
    """Return the diagonal of D W² D: how strongly the data see a source in each voxel."""
    point = torch.zeros_like(precision)
    point[0, 0, 0] = 1.0
    response = torch.fft.rfftn(dipole(point).square_())
    seen = torch.fft.irfftn(torch.fft.rfftn(precision).mul_(response), s=dipole.shape)
    return seen.clamp_min_(float(seen[inside].median()) * _LEAST_VISIBILITY)


def _halved(fine: _Problem) -> _Problem:
    """Return the problem on half the resolution; blocks that the mask cuts give no data."""
    z, y, x = (size // 2 for size in fine.grid.shape)
    dz, dy, dx = (2 * step for step in fine.grid.voxel_size_mm)
    grid = replace(fine.grid, shape=(z, y, x), voxel_size_mm=(dz, dy, dx))
    part = _pooled(fine.inside.to(fine.field.dtype))
    precision = torch.where(part > 0.99, _pooled(fine.precision), 0.0)
    field = torch.where(precision > 0, _pooled(fine.precision * fine.field) / precision.clamp_min(1e-12), 0.0)
    return _problem(grid, field, part > 0.5, precision)


def _pooled(volume: Tensor) -> Tensor:
    return avg_pool3d(volume[None, None], 2)[0, 0]


def _solved(problem: _Problem, settings: LnQsmSettings, coarser: int, told: OnIteration | None, begun: float) -> Tensor:
    """Solve on a grid, starting from the solution on coarser ones."""
    start = torch.zeros_like(problem.field)
    rounds, iterations = settings.coarse_rounds, settings.coarse_iterations
    if coarser == settings.levels - 1:
        rounds, iterations = settings.rounds, settings.inner_iterations
    share = 1.0 / settings.levels
    if coarser:
        coarse = _halved(problem)
        solution = _solved(coarse, settings, coarser - 1, told, begun)
        start = _doubled(solution, coarse.inside, problem.inside)
        begun += share * coarser
    return _reweighted(problem, start, settings, rounds, iterations, _between(told, begun, begun + share))


def _doubled(solution: Tensor, coarse_inside: Tensor, inside: Tensor) -> Tensor:
    """Return a coarse solution on the grid of twice the resolution; no source crosses the mask's border."""
    repeated, side = solution, coarse_inside
    for axis in range(3):
        repeated, side = repeated.repeat_interleave(2, axis), side.repeat_interleave(2, axis)
    return torch.where(side == inside, repeated, 0.0)


def _reweighted(
    problem: _Problem,
    solution: Tensor,
    settings: LnQsmSettings,
    rounds: int,
    iterations: int,
    told: OnIteration | None,
) -> Tensor:
    """Solve weighted least squares with the weights of the total variation from the last solution."""
    right_side = problem.dipole(problem.precision * problem.field)
    for number in range(rounds):
        penalty = _penalty_strength(problem, solution, settings)
        scale = _scale(problem, penalty, settings.norm_weight)
        operator = _operator(problem, penalty, scale, settings.norm_weight)
        scaled = solution / scale
        residual = right_side * scale
        tolerance = _PRECISION * float(residual.norm())
        if bool(scaled.any()):
            residual.sub_(operator(scaled))
        part = _between(told, number / rounds, (number + 1) / rounds)
        found = conjugate_gradient(
            operator,
            residual,
            scaled,
            n_iterations=iterations,
            tolerance=tolerance,
            on_iteration=None if part is None else _counted(part, iterations),
            in_place=True,
        ).mul_(scale)
        change, size = float(solution.sub_(found).norm()), float(found.norm())
        solution = found
        del found, scaled, residual, operator, penalty, scale
        if change <= settings.tolerance * size:
            break
    if told is not None:
        told(1.0)
    return solution


def _operator(problem: _Problem, penalty: Tensor, scale: Tensor, norm_weight: float) -> Callable[[Tensor], Tensor]:
    """Return the quadratic of one round in the scaled unknown."""

    def apply(scaled: Tensor) -> Tensor:
        source = scaled * scale
        seen = problem.dipole(source).mul_(problem.precision)
        spectrum = torch.fft.rfftn(seen, dim=AXES)
        del seen
        result = problem.dipole.from_spectrum(spectrum)
        del spectrum
        add_gradient_penalty(result, source, penalty, problem.grid.voxel_size_mm, problem.inside)
        result.add_(source.mul_(problem.inside), alpha=norm_weight)
        return result.mul_(scale)

    return apply


def _penalty_strength(problem: _Problem, solution: Tensor, settings: LnQsmSettings) -> Tensor:
    """Return λ/|∇χ| `(z, y, x)` of the map inside the mask."""
    length = gradient_length(solution * problem.inside, problem.grid.voxel_size_mm)
    # Nothing is known yet of a map of zeros: to ask it to stay flat would move all sources out of the mask.
    strength = settings.regularisation if bool(solution.any()) else 0.0
    return length.square_().add_(settings.smoothing**2).rsqrt_().mul_(strength)


def _scale(problem: _Problem, penalty: Tensor, norm_weight: float) -> Tensor:
    """Return one over the root of the quadratic's diagonal, in whose unit all voxels are seen alike."""
    diagonal = problem.visibility + norm_weight * problem.inside
    add_penalty_diagonal(diagonal, penalty, problem.grid.voxel_size_mm, problem.inside)
    return diagonal.rsqrt_()


def _precision(mask: Tensor, noise: Tensor) -> Tensor:
    reference = noise[mask].median()
    return torch.where(mask, (reference / noise.clamp_min(1e-9)).clamp_max(_LARGEST_WEIGHT), 0.0).square_()


def _between(told: OnIteration | None, start: float, end: float) -> OnIteration | None:
    if told is None:
        return None
    return lambda fraction: told(start + (end - start) * fraction)


def _counted(told: OnIteration, iterations: int) -> Callable[[int], None]:
    return lambda step: told(step / iterations)


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: LnQsmSettings) -> dict[str, Tensor]:
    susceptibility, local_field, explained = least_norm_inversion(
        artefacts["total_field"],
        artefacts["mask"],
        artefacts["field_noise"],
        context.grid,
        settings,
        context.on_iteration,
    )
    return {"susceptibility": susceptibility, "local_field": local_field, "explained_field": explained}


LN_QSM = Method(
    name="ln_qsm",
    citation="Sun 2018, NeuroImage 179:166",
    run=_run,
    settings=LnQsmSettings,
    inputs=("total_field", "mask", "field_noise"),
    outputs=("susceptibility", "local_field", "explained_field"),
)
