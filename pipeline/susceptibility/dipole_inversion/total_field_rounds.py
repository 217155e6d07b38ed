"""Explain a field by sources inside and outside the mask: reweighted least squares on coarser and coarser grids."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import NotConverged
from pipeline.method import OnIteration
from pipeline.operators.fourier import transform_over
from pipeline.operators.gradient import forward_difference
from pipeline.solvers.conjugate_gradient import conjugate_gradient
from pipeline.susceptibility.dipole_inversion.total_field_grids import Problem, refined, steepness

_OUTLIER = 8.0
_START_OUTLIER = 10.0
_MAD_TO_SIGMA = 1.4826
# Some sources have no field at all (a uniform one, for instance): without a ridge they collect rounding errors.
_RIDGE = 1e-6
_PRECISION = 1e-6


@dataclass(frozen=True)
class Effort:
    """How often the weights are renewed on one grid, and how many conjugate gradient steps each of them gets."""

    rounds: int
    iterations: int
    restoring_rounds: int = 0
    """How many of the last rounds are also given the field that the solution before them left unexplained."""

    def cost(self, problem: Problem) -> float:
        """Return the work in steps times voxels."""
        return self.rounds * self.iterations * math.prod(problem.grid.shape)


@dataclass(frozen=True)
class _Quadratic:
    """The least squares problem of one round; data terms on the problem's window, the rest on its frame.

    `strength` is the penalty of a squared gradient, λ/|∇χ| where the susceptibility should be smooth.
    """

    problem: Problem
    precision: Tensor
    strength: Tensor
    inverse_diagonal: Tensor

    def __call__(self, source: Tensor) -> Tensor:
        """Apply D W² D + ∇ᵀ λ ∇ and the ridge."""
        field = self.problem.dipole(source)
        field[self.problem.window].mul_(self.precision)
        for axis, kept in enumerate(self.problem.window):
            field.narrow(axis, 0, kept.start).zero_()
            field.narrow(axis, kept.stop, field.shape[axis] - kept.stop).zero_()
        return self.add_penalty(self.problem.dipole.from_spectrum(transform_over(field)), source)

    def adjoint(self, field: Tensor) -> Tensor:
        """Return the sources D W² f of a field on the window."""
        framed = self.inverse_diagonal.new_zeros(self.problem.grid.shape)
        torch.mul(field, self.precision, out=framed[self.problem.window])
        return self.problem.dipole(framed)

    def add_penalty(self, target: Tensor, source: Tensor) -> Tensor:
        """Add the penalty's and the ridge's gradient to a target, in place."""
        window = self.problem.window
        inner, volume, inside = target[window], source[window], self.problem.inside[window]
        for axis, step in enumerate(self.problem.grid.voxel_size_mm):
            size = volume.shape[axis] - 1
            # Links are made anew at every step: three of them would take as many volumes. The strength is zero outside
            # the mask, so that only a link's far end is asked for.
            flow = forward_difference(volume, axis).mul_(self.strength.narrow(axis, 0, size))
            flow.mul_(inside.narrow(axis, 1, size))
            inner.narrow(axis, 0, size).sub_(flow, alpha=step**-2)
            inner.narrow(axis, 1, size).add_(flow, alpha=step**-2)
        return target.addcdiv_(source, self.inverse_diagonal, value=_RIDGE)

    def precondition(self, residual: Tensor) -> Tensor:
        """Divide by the diagonal: in its unit all voxels are seen alike."""
        return residual * self.inverse_diagonal


def explain(
    problems: list[Problem],
    efforts: list[Effort],
    regularisation: float,
    smoothing: float,
    told: OnIteration | None = None,
) -> Tensor:
    """Find the sources that explain the field, on the coarsest grid first; each solution is the start of the next.

    Parameters
    ----------
    problems
        The problem on the fine grid, then on the coarser ones, which are given up on the way.
    efforts
        The effort on each of them.
    regularisation
        λ [ppm·mm].
    smoothing
        Gradient below which total variation becomes quadratic [ppm/mm].
    told
        Told the fraction done.

    Returns
    -------
    Sources on the frame of the fine grid `(z, y, x)` [ppm].

    Raises
    ------
    NotConverged
        The sources found explain the field worse than none.
    """
    costs = [effort.cost(problem) for effort, problem in zip(efforts, problems, strict=True)]
    solution = torch.zeros_like(problems[-1].visibility, dtype=problems[-1].field.dtype)
    done = 0.0
    for depth in reversed(range(len(problems))):
        if depth + 1 < len(problems):
            solution = refined(solution, problems[depth + 1], problems[depth])
            del problems[depth + 1]
        share = costs[depth] / sum(costs)
        listener = _scaled(told, done, done + share)
        solution = _reweighted_rounds(problems[depth], solution, efforts[depth], regularisation, smoothing, listener)
        done += share
    _refuse_divergence(problems[0], solution)
    return solution


def _reweighted_rounds(
    problem: Problem,
    solution: Tensor,
    effort: Effort,
    regularisation: float,
    smoothing: float,
    told: OnIteration | None,
) -> Tensor:
    """Solve weighted least squares again and again, with weights from the last solution."""
    unexplained: Tensor | None = None
    for number in range(effort.rounds):
        # Also before the first round of a grid, where the start explains little yet: a wrong voxel that is fitted once
        # takes many rounds to be forgotten.
        limit = _OUTLIER if number else _START_OUTLIER
        if number >= max(1, effort.rounds - effort.restoring_rounds):
            unexplained = _trusted_misfit(problem, solution, limit, unexplained)
        quadratic, residual, tolerance = _prepared(problem, solution, unexplained, limit, regularisation, smoothing)
        listener = _scaled(told, number / effort.rounds, (number + 1) / effort.rounds)
        solution = conjugate_gradient(
            quadratic,
            residual,
            solution,
            n_iterations=effort.iterations,
            tolerance=tolerance,
            preconditioner=quadratic.precondition,
            on_iteration=_counted(listener, effort.iterations),
            in_place=True,
        )
        # Freed before the next ones are made.
        del quadratic, residual
    return solution


def _trusted_misfit(problem: Problem, solution: Tensor, limit: float, sum_so_far: Tensor | None) -> Tensor:
    """Return what a solution leaves of the field, outliers shortened, beside what those before it left.

    A penalised solution loses contrast in proportion to its penalty; given what it left once more, the next one finds
    the loss, while the noise in it is smoothed by the same penalty.

    Source: Osher 2005, doi:10.1137/040605412.
    """
    misfit = problem.field - problem.dipole(solution)[problem.window]
    misfit.mul_(_trust(problem, misfit, limit))
    return misfit if sum_so_far is None else misfit.add_(sum_so_far)


def _prepared(
    problem: Problem,
    solution: Tensor,
    unexplained: Tensor | None,
    limit: float,
    regularisation: float,
    smoothing: float,
) -> tuple[_Quadratic, Tensor, float]:
    """Return the quadratic of one round, its residual at the last solution, and the residual that is small enough."""
    is_start = not bool(solution.any())
    misfit = problem.field - problem.dipole(solution)[problem.window]
    weight = problem.weight if is_start else problem.weight * _trust(problem, misfit, limit)
    quadratic = _quadratic(problem, solution, weight.square(), 0.0 if is_start else regularisation, smoothing)
    right_side = quadratic.adjoint(problem.field)
    tolerance = _PRECISION * math.sqrt(float((right_side.square_() * quadratic.inverse_diagonal).sum()))
    del right_side
    if unexplained is not None:
        misfit += unexplained
    # The residual from the misfit keeps digits that a difference of two large right sides would lose.
    residual = quadratic.add_penalty(quadratic.adjoint(misfit).neg_(), solution).neg_()
    return quadratic, residual, tolerance


def _quadratic(
    problem: Problem, solution: Tensor, precision: Tensor, regularisation: float, smoothing: float
) -> _Quadratic:
    """Build the quadratic whose penalty λ/|∇χ| equals the total variation at the last solution."""
    inside = problem.inside[problem.window]
    squared = steepness(solution[problem.window], inside, problem.grid.voxel_size_mm)
    strength = squared.add_(smoothing**2).rsqrt_().mul_(problem.stiffness).mul_(regularisation)
    diagonal = problem.visibility.to(solution.dtype)
    inner = diagonal[problem.window]
    for axis, step in enumerate(problem.grid.voxel_size_mm):
        size = inner.shape[axis] - 1
        link = strength.narrow(axis, 0, size) * inside.narrow(axis, 1, size)
        inner.narrow(axis, 0, size).add_(link, alpha=step**-2)
        inner.narrow(axis, 1, size).add_(link, alpha=step**-2)
    return _Quadratic(problem, precision, strength, diagonal.reciprocal_())


def _trust(problem: Problem, misfit: Tensor, limit: float) -> Tensor:
    """Return factors below one for voxels whose weighted misfit lies beyond `limit` robust standard deviations."""
    distance = (misfit * problem.weight).abs_()
    spread = _MAD_TO_SIGMA * distance[problem.weight > 0].median()
    return (limit * spread / distance.clamp_min_(1e-12)).clamp_max_(1.0)


def _refuse_divergence(problem: Problem, solution: Tensor) -> None:
    """Refuse a solution that explains the typical voxel's field worse than no source at all."""
    seen = problem.weight > 0
    misfit = problem.dipole(solution)[problem.window] - problem.field
    left = (misfit * problem.weight)[seen].abs().median()
    before = (problem.field * problem.weight)[seen].abs().median()
    # Written so that NaN is refused too.
    if not bool(left <= before):
        raise NotConverged("The inversion diverged: its map does not explain the field. Check the mask and the field.")


def _counted(told: OnIteration | None, iterations: int) -> Callable[[int], None] | None:
    if told is None:
        return None
    return lambda step: told(step / iterations)


def _scaled(told: OnIteration | None, start: float, end: float) -> OnIteration | None:
    if told is None:
        return None
    return lambda fraction: told(start + (end - start) * fraction)
