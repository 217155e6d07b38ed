"""Robust total-field inversion: one step from the total field to susceptibility, without background field removal."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d

from pipeline.errors import NotConverged, UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.dipole import Dipole
from pipeline.operators.gradient import add_weighted_laplacian, gradient_length
from pipeline.operators.padding import Frame, frame_around
from pipeline.solvers.conjugate_gradient import conjugate_gradient

_OUTLIER = 3.0
_START_OUTLIER = 10.0
_MAD_TO_SIGMA = 1.4826
_LARGEST_WEIGHT = 3.0
# Some sources have no field at all (a uniform one, for instance): without a ridge they collect rounding errors.
_RIDGE = 1e-6
_PRECISION = 1e-5


@dataclass(frozen=True)
class RobustSettings:
    """Settings of the robust total-field inversion."""

    regularisation: float = setting(
        3e-4, "ppm·mm", "weight of the total variation against the squared field error", minimum=0.0
    )
    outside_scale: float = setting(
        10.0,
        "1",
        "how many times larger sources outside the brain may be taken in one step",
        minimum=1.0,
        maximum=1000.0,
    )
    smoothing: float = setting(
        1e-3, "ppm/mm", "gradients below this are treated as noise by the total variation", minimum=1e-6
    )
    edge_fraction: float = setting(
        0.3, "1", "share of the strongest gradients of the late echoes not penalised", minimum=0.0, maximum=0.9
    )
    levels: int = setting(3, "1", "grids: the full one, and coarser ones that give its start", minimum=1, maximum=4)
    coarse_rounds: int = setting(10, "1", "reweightings on each coarser grid", minimum=1, maximum=100)
    coarse_iterations: int = setting(
        100, "1", "conjugate gradient steps per reweighting there", minimum=1, maximum=1000
    )
    rounds: int = setting(6, "1", "reweightings on the full grid", minimum=1, maximum=100)
    iterations: int = setting(30, "1", "conjugate gradient steps per reweighting", minimum=1, maximum=1000)
    margin: int = setting(16, "voxel", "least padding around the mask", minimum=4, maximum=128)


@dataclass(frozen=True)
class _Problem:
    """What is to be solved on one grid: arrays `(z, y, x)` on the frame, except `smooth` on its window."""

    grid: Grid
    window: tuple[slice, slice, slice]
    dipole: Dipole
    inside: Tensor
    visibility: Tensor
    field: Tensor
    weight: Tensor
    smooth: Tensor
    settings: RobustSettings


def invert_total_field(
    total_field: Tensor,
    mask: Tensor,
    magnitude: Tensor,
    field_noise: Tensor,
    grid: Grid,
    settings: RobustSettings,
    on_iteration: OnIteration | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the susceptibility whose field, with that of sources outside the mask, explains the total field.

    Minimises ½‖W(D χ − B)‖² + λ Σ |∇χ| over the padded volume by reweighted least squares. Total variation acts inside
    the mask only and spares the strongest edges of the magnitude; sources outside are free, and enter scaled by
    `outside_scale`, so that conjugate gradients explain the background by them first. After every round voxels whose
    field is explained badly lose weight. A solution on half the resolution is the start.

    Parameters
    ----------
    total_field
        Relative field `(z, y, x)` [ppm], used inside the mask.
    mask
        Bool `(z, y, x)`.
    magnitude
        Echo images `(echo, z, y, x)`, or one image `(z, y, x)` [arbitrary].
    field_noise
        Standard deviation of the total field `(z, y, x)` [ppm].
    grid
        The grid with the direction of B0.
    settings
        Weights and numbers of iterations.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Susceptibility [ppm]; its field, the local field [ppm]; the field of all sources, inside and outside, which should
    equal the total field up to noise [ppm]. All `(z, y, x)`, zero outside the mask.

    Raises
    ------
    UnusableInput
        Shapes disagree or the mask is empty.
    NotConverged
        The field holds extreme values.

    Source: after Liu 2017, doi:10.1002/mrm.26331 (preconditioned total-field inversion); Liu 2012,
    doi:10.1002/mrm.24272 (edge mask); Vogel & Oman 1996, doi:10.1137/0917016 (lagged diffusivity).
    """
    for name, volume in (("total field", total_field), ("field noise", field_noise)):
        if volume.shape != mask.shape:
            raise UnusableInput(f"The {name} has shape {tuple(volume.shape)} but the mask {tuple(mask.shape)}.")
    frame = frame_around(mask, grid, settings.margin, multiple=2**settings.levels)
    fine = _fine_problem(frame, total_field, mask, magnitude, field_noise, settings)
    levels = [fine]
    while len(levels) < settings.levels:
        levels.append(_halved(levels[-1]))
    solution = _from_coarse_to_fine(levels, settings, on_iteration)
    explained = fine.dipole(solution)
    _refuse_divergence(fine, explained)
    brain = torch.where(fine.inside, solution, 0.0)
    local_field, explained = fine.dipole(brain), explained + total_field[mask].median()
    return frame.restore(brain) * mask, frame.restore(local_field) * mask, frame.restore(explained) * mask


def _refuse_divergence(problem: _Problem, explained: Tensor) -> None:
    """Refuse a solution that explains the typical voxel's field worse than no source at all."""
    inside = problem.inside
    left = ((explained - problem.field) * problem.weight)[inside].abs().median()
    before = (problem.field * problem.weight)[inside].abs().median()
    # Written so that NaN is refused too.
    if not bool(left <= before):
        raise NotConverged("The inversion diverged: its map does not explain the field. Check the mask and the field.")


def _from_coarse_to_fine(levels: list[_Problem], settings: RobustSettings, told: OnIteration | None) -> Tensor:
    """Solve on every grid, the coarsest first; each solution is the start of the next."""
    solution = torch.zeros_like(levels[-1].field)
    # A step on a grid of half resolution costs an eighth.
    coarse = settings.coarse_rounds * settings.coarse_iterations
    costs = [settings.rounds * settings.iterations] + [coarse / 8**depth for depth in range(1, len(levels))]
    done = 0.0
    for depth in reversed(range(len(levels))):
        rounds = settings.coarse_rounds if depth else settings.rounds
        iterations = settings.coarse_iterations if depth else settings.iterations
        share = costs[depth] / sum(costs)
        if depth + 1 < len(levels):
            solution = _doubled(solution, levels[depth + 1], levels[depth])
        solution = _reweighted_rounds(levels[depth], solution, rounds, iterations, _scaled(told, done, done + share))
        done += share
    return solution


def _fine_problem(
    frame: Frame, field: Tensor, mask: Tensor, magnitude: Tensor, noise: Tensor, settings: RobustSettings
) -> _Problem:
    inside = frame.embed(mask)
    reference = noise[mask].median().clamp_min(torch.finfo(noise.dtype).tiny)
    weight = torch.where(mask, reference / noise.clamp_min(reference / _LARGEST_WEIGHT), 0.0)
    centred = torch.where(mask, field - field[mask].median(), 0.0)
    # Iron shows in the late echoes; edges of all echoes together would leave the red nuclei to total variation.
    image = magnitude[magnitude.shape[0] // 2 :].square().sum(0).sqrt() if magnitude.dim() == 4 else magnitude
    dipole, framed_weight = Dipole.on(frame.grid, field), frame.embed(weight)
    smooth = _smooth_places(image[frame.inner], mask[frame.inner], frame.grid, settings.edge_fraction)
    return _Problem(
        frame.grid,
        frame.window,
        dipole,
        inside,
        _visibility(dipole, inside, framed_weight, settings.outside_scale),
        frame.embed(centred),
        framed_weight,
        smooth,
        settings,
    )


def _smooth_places(image: Tensor, mask: Tensor, grid: Grid, edge_fraction: float) -> Tensor:
    """Return where inside the mask the magnitude is smooth, so that the susceptibility should be."""
    steepness = gradient_length(image, grid.voxel_size_mm)
    inside = steepness[mask]
    rank = max(1, min(inside.numel(), round((1 - edge_fraction) * inside.numel())))
    return mask & (steepness <= inside.kthvalue(rank).values)


def _halved(fine: _Problem) -> _Problem:
    """Return the problem on the grid of half resolution; blocks cut by the mask's border give no data."""
    z, y, x = (size // 2 for size in fine.grid.shape)
    dz, dy, dx = (2 * step for step in fine.grid.voxel_size_mm)
    grid = replace(fine.grid, shape=(z, y, x), voxel_size_mm=(dz, dy, dx))
    part = _pooled(fine.inside.to(fine.field.dtype))
    inside, full = part > 0.5, part > 0.99
    squared = fine.weight.square()
    mean_square = _pooled(squared)
    field = torch.where(full, _pooled(squared * fine.field) / mean_square.clamp_min(1e-12), 0.0)
    smooth = torch.zeros_like(fine.inside)
    smooth[fine.window] = fine.smooth
    everything = (slice(0, z), slice(0, y), slice(0, x))
    dipole, weight = Dipole.on(grid, field), torch.where(full, mean_square.sqrt(), 0.0)
    return _Problem(
        grid,
        everything,
        dipole,
        inside,
        _visibility(dipole, inside, weight, fine.settings.outside_scale),
        field,
        weight,
        (_pooled(smooth.to(field.dtype)) > 0.5) & inside,
        fine.settings,
    )


def _visibility(dipole: Dipole, inside: Tensor, weight: Tensor, outside_scale: float) -> Tensor:
    """Return Σ W² d², the diagonal of the data term: how strongly the data see a source in each voxel.

    Outside it falls with the sixth power of the distance; its floor is what limits the sources there.
    """
    # The point response of the dipole, from its spectrum.
    point = torch.zeros_like(weight)
    point[0, 0, 0] = 1.0
    response = torch.fft.rfftn(dipole(point).square_())
    seen = torch.fft.irfftn(torch.fft.rfftn(weight.square()).mul_(response), s=dipole.shape)
    return seen.clamp_min_(float(seen[inside].median()) / outside_scale**2)


def _pooled(volume: Tensor) -> Tensor:
    return avg_pool3d(volume[None, None], 2)[0, 0]


def _doubled(solution: Tensor, coarse: _Problem, fine: _Problem) -> Tensor:
    """Return a coarse solution on the fine grid; a source never crosses the mask's border."""
    repeated, side = solution, coarse.inside
    for axis in range(3):
        repeated, side = repeated.repeat_interleave(2, axis), side.repeat_interleave(2, axis)
    return torch.where(side == fine.inside, repeated, 0.0)


def _reweighted_rounds(
    problem: _Problem, solution: Tensor, rounds: int, iterations: int, told: Callable[[float], None] | None
) -> Tensor:
    """Solve weighted least squares again and again, with weights from the last solution."""
    for number in range(rounds):
        is_start = not bool(solution.any())
        # Also before the first round of a grid, where the start explains little yet: a wrong voxel that is fitted once
        # takes many rounds to be forgotten.
        limit = _OUTLIER if number else _START_OUTLIER
        precision = (problem.weight if is_start else problem.weight * _trust(problem, solution, limit)).square()
        penalty = _penalty_weights(problem, solution, is_start)
        solution = _least_squares(
            problem, solution, precision, penalty, iterations, _scaled(told, number / rounds, (number + 1) / rounds)
        )
    return solution


def _least_squares(
    problem: _Problem,
    solution: Tensor,
    precision: Tensor,
    penalty: tuple[Tensor, Tensor, Tensor],
    iterations: int,
    told: Callable[[float], None] | None,
) -> Tensor:
    """Minimise the quadratic of one round by conjugate gradients in the scaled unknown."""
    dipole, window = problem.dipole, problem.window
    scale = _scale(problem, penalty)

    def operator(scaled: Tensor) -> Tensor:
        source = scaled * scale
        result = dipole(dipole(source).mul_(precision))
        add_weighted_laplacian(result[window], source[window], penalty)
        return result.mul_(scale).add_(scaled, alpha=_RIDGE)

    start = solution / scale
    right_side = dipole(problem.field * precision).mul_(scale)
    tolerance = _PRECISION * float(right_side.norm())
    residual = right_side - operator(start)
    scaled = conjugate_gradient(
        operator,
        residual,
        start,
        n_iterations=iterations,
        tolerance=tolerance,
        on_iteration=None if told is None else (lambda step: told(step / iterations)),
    )
    return scaled * scale


def _scale(problem: _Problem, penalty: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Return one over the root of the quadratic's diagonal: in this unit all voxels are seen alike."""
    diagonal = problem.visibility.clone()
    window = diagonal[problem.window]
    for axis, weight in enumerate(penalty):
        size = window.shape[axis] - 1
        window.narrow(axis, 0, size).add_(weight)
        window.narrow(axis, 1, size).add_(weight)
    return diagonal.rsqrt_()


def _penalty_weights(problem: _Problem, solution: Tensor, first: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return λ/|∇χ| for the differences along each axis; zero across the mask's border and at magnitude edges."""
    window = problem.window
    susceptibility, inside = solution[window] * problem.inside[window], problem.inside[window]
    settings = problem.settings
    if first:
        length = torch.zeros_like(susceptibility)
    else:
        length = gradient_length(susceptibility, problem.grid.voxel_size_mm)
        length = (settings.regularisation / (length.square_().add_(settings.smoothing**2)).sqrt_()) * problem.smooth
    weights = []
    for axis, step in enumerate(problem.grid.voxel_size_mm):
        size = length.shape[axis] - 1
        both = inside.narrow(axis, 0, size) & inside.narrow(axis, 1, size)
        weights.append(length.narrow(axis, 0, size) * both / step**2)
    return weights[0], weights[1], weights[2]


def _trust(problem: _Problem, solution: Tensor, limit: float) -> Tensor:
    """Return factors below one for voxels whose weighted residual lies beyond `limit` robust standard deviations."""
    residual = (problem.dipole(solution) - problem.field).mul_(problem.weight).abs_()
    spread = _MAD_TO_SIGMA * residual[problem.weight > 0].median()
    return (limit * spread / residual.clamp_min(1e-12)).clamp_max_(1.0)


def _scaled(told: OnIteration | None, start: float, end: float) -> OnIteration | None:
    if told is None:
        return None
    return lambda fraction: told(start + (end - start) * fraction)


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: RobustSettings) -> dict[str, Tensor]:
    susceptibility, local_field, explained_field = invert_total_field(
        artefacts["total_field"],
        artefacts["mask"],
        artefacts["magnitude"],
        artefacts["field_noise"],
        context.grid,
        settings,
        context.on_iteration,
    )
    return {"susceptibility": susceptibility, "local_field": local_field, "explained_field": explained_field}


ROBUST = Method(
    name="robust",
    citation="after Liu 2017, doi:10.1002/mrm.26331, with residual reweighting",
    run=_run,
    settings=RobustSettings,
    inputs=("total_field", "mask", "magnitude", "field_noise"),
    outputs=("susceptibility", "local_field", "explained_field"),
)
