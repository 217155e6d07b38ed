"""LN-QSM: one step from the total field, where sources in the brain pay for their norm and those outside do not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d

from pipeline.errors import NotConverged, UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.dipole import dipole_kernel
from pipeline.operators.fourier import (
    forward_transform,
    inverse_transform,
    scale_spectrum,
    transform_over,
    volume_with_room,
)
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
    """What is to be solved on one grid: the half spectrum of the kernel, and what is known in the window of the mask.

    `inside`, `field` and `precision` have the shape of the window, for all three are zero beyond it.
    """

    grid: Grid
    kernel: Tensor
    window: tuple[slice, slice, slice]
    inside: Tensor
    field: Tensor
    precision: Tensor

    def field_of(self, sources: Tensor) -> Tensor:
        """Return the field of sources `(z, y, x)` on the whole grid."""
        return inverse_transform(scale_spectrum(forward_transform(sources), self.kernel), self.grid.shape)

    def field_over(self, sources: Tensor) -> Tensor:
        """Return the field of sources whose memory has room for their spectrum, in that memory."""
        return inverse_transform(scale_spectrum(transform_over(sources), self.kernel), self.grid.shape)

    def placed(self, part: Tensor) -> Tensor:
        """Return a volume of the whole grid that is zero around what the window holds."""
        whole = part.new_zeros(self.grid.shape)
        whole[self.window] = part
        return whole


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
    field = (total_field - total_field[mask].median())[frame.inner]
    inside, precision = mask[frame.inner], _precision(mask, field_noise)[frame.inner].clone()
    kernel = dipole_kernel(frame.grid, dtype=field.dtype, device=field.device)
    fine = _Problem(frame.grid, kernel, frame.window, inside, field.where(inside, 0.0), precision)
    del field, precision
    solution = _solved(fine, settings, settings.levels - 1, on_iteration, 0.0)
    if not bool(torch.isfinite(solution).all()):
        raise NotConverged("LN-QSM diverged; the field or its noise holds extreme values. Check the mask.")
    explained = frame.restore(fine.field_of(solution)) * mask
    susceptibility = frame.restore(solution) * mask
    del solution
    local_field = frame.restore(fine.field_of(frame.embed(susceptibility))) * mask
    return susceptibility, local_field, explained


def _visibility(problem: _Problem) -> Tensor:
    """Return the diagonal of D W² D: how strongly the data see a source in each voxel."""
    point = torch.zeros_like(problem.kernel[0, 0, 0]).expand(problem.grid.shape).clone()
    point[0, 0, 0] = 1.0
    response = transform_over(problem.field_of(point).square_())
    del point
    seen = inverse_transform(response.mul_(forward_transform(problem.placed(problem.precision))), problem.grid.shape)
    return seen.clamp_min_(float(seen[problem.window][problem.inside].median()) * _LEAST_VISIBILITY)


def _halved(fine: _Problem) -> _Problem:
    """Return the problem on half the resolution; blocks that the mask cuts give no data."""
    z, y, x = (size // 2 for size in fine.grid.shape)
    dz, dy, dx = (2 * step for step in fine.grid.voxel_size_mm)
    grid = replace(fine.grid, shape=(z, y, x), voxel_size_mm=(dz, dy, dx))
    part = _pooled(fine.placed(fine.inside.to(fine.field.dtype)))
    precision = _pooled(fine.placed(fine.precision))
    field = _pooled(fine.placed(fine.precision * fine.field)) / precision.clamp_min(1e-12)
    precision = torch.where(part > 0.99, precision, 0.0)
    field = torch.where(precision > 0, field, 0.0)
    inside = part > 0.5
    window = _window(inside)
    kernel = dipole_kernel(grid, dtype=field.dtype, device=field.device)
    return _Problem(grid, kernel, window, inside[window], field[window], precision[window])


def _window(inside: Tensor) -> tuple[slice, slice, slice]:
    """Return the least box that holds a mask; all of the grid where it is empty."""
    places = inside.nonzero()
    if places.numel() == 0:
        return slice(None), slice(None), slice(None)
    first, last = places.amin(0).tolist(), places.amax(0).tolist()
    z, y, x = (slice(low, high + 1) for low, high in zip(first, last, strict=True))
    return z, y, x


def _pooled(volume: Tensor) -> Tensor:
    return avg_pool3d(volume[None, None], 2)[0, 0]


def _solved(problem: _Problem, settings: LnQsmSettings, coarser: int, told: OnIteration | None, begun: float) -> Tensor:
    """Solve on a grid, starting from the solution on coarser ones."""
    rounds, iterations = settings.coarse_rounds, settings.coarse_iterations
    if coarser == settings.levels - 1:
        rounds, iterations = settings.rounds, settings.inner_iterations
    share = 1.0 / settings.levels
    middle = begun + share * coarser
    # The start has no name here: it becomes the solution, in the same memory.
    return _reweighted(
        problem,
        _start(problem, settings, coarser, told, begun),
        settings,
        rounds,
        iterations,
        _between(told, middle, middle + share),
    )


def _start(problem: _Problem, settings: LnQsmSettings, coarser: int, told: OnIteration | None, begun: float) -> Tensor:
    """Return the solution on the next coarser grid, or zeros where there is none."""
    if not coarser:
        return problem.field.new_zeros(problem.grid.shape)
    coarse = _halved(problem)
    solution = _solved(coarse, settings, coarser - 1, told, begun)
    return _doubled(solution, coarse.placed(coarse.inside), problem.placed(problem.inside))


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
    for number in range(rounds):
        penalty = _penalty_strength(problem, solution, settings)
        scale = _scale(problem, penalty, settings.norm_weight)
        operator = _operator(problem, penalty, scale, settings.norm_weight)
        # One voxel of eight tells well enough whether the map still moves.
        before = solution[::2, ::2, ::2].clone()
        solution.div_(scale)
        residual = problem.field_of(problem.placed(problem.precision * problem.field)).mul_(scale)
        tolerance = _PRECISION * float(residual.norm())
        if bool(solution.any()):
            residual.sub_(operator(solution))
        part = _between(told, number / rounds, (number + 1) / rounds)
        conjugate_gradient(
            operator,
            residual,
            solution,
            n_iterations=iterations,
            tolerance=tolerance,
            on_iteration=None if part is None else _counted(part, iterations),
            in_place=True,
        ).mul_(scale)
        del residual, operator, penalty, scale
        sample = solution[::2, ::2, ::2]
        if float(before.sub_(sample).norm()) <= settings.tolerance * float(sample.norm()):
            break
    if told is not None:
        told(1.0)
    return solution


def _operator(problem: _Problem, penalty: Tensor, scale: Tensor, norm_weight: float) -> Callable[[Tensor], Tensor]:
    """Return the quadratic of one round in the scaled unknown."""
    window, spacing, outside = problem.window, problem.grid.voxel_size_mm, ~problem.inside

    def apply(scaled: Tensor) -> Tensor:
        source = torch.mul(scaled, scale, out=volume_with_room(problem.grid.shape, scaled))
        seen = problem.field_over(source)
        del source
        known = seen[window] * problem.precision
        seen.zero_()[window] = known
        del known
        result = problem.field_over(seen)
        part = scaled[window] * scale[window]
        add_gradient_penalty(result[window], part, penalty, spacing, problem.inside)
        result[window].add_(part.masked_fill_(outside, 0.0), alpha=norm_weight)
        return result.mul_(scale)

    return apply


def _penalty_strength(problem: _Problem, solution: Tensor, settings: LnQsmSettings) -> Tensor:
    """Return λ/|∇χ| of the map inside the mask, in its window."""
    length = gradient_length(solution[problem.window] * problem.inside, problem.grid.voxel_size_mm)
    # Nothing is known yet of a map of zeros: to ask it to stay flat would move all sources out of the mask.
    strength = settings.regularisation if bool(solution.any()) else 0.0
    return length.square_().add_(settings.smoothing**2).rsqrt_().mul_(strength)


def _scale(problem: _Problem, penalty: Tensor, norm_weight: float) -> Tensor:
    """Return one over the root of the quadratic's diagonal, in whose unit all voxels are seen alike."""
    diagonal = _visibility(problem)
    known = diagonal[problem.window]
    known.add_(problem.inside, alpha=norm_weight)
    add_penalty_diagonal(known, penalty, problem.grid.voxel_size_mm, problem.inside)
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
    memory_volumes=8.5,
)
