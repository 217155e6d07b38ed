"""Algebra of random fields: fields of random spectra through random curves, multiplied, added or cut by one another."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.training.datasets.canvas import Canvas, Scene
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.fields import rough_field, smooth_field, sparse_field, wave_field
from pipeline.training.datasets.shapes import extent_mm, random_support

_LARGEST_DEVIATIONS = 12.0
"""Products and exponentials have tails without end; they are cut at so many standard deviations."""
_LARGEST_PPM = 1.5


def levels(grid: Grid, chance: Chance) -> Scene:
    """Return two to four random fields, each bent by a curve, joined by products, sums, cuts and least values."""
    canvas = Canvas(grid, chance)
    made = _curved(_any_field(canvas, chance), chance)
    for _ in range(chance.choice((1, 2, 3), (0.5, 0.35, 0.15))):
        made = _joined(made, _curved(_any_field(canvas, chance), chance), canvas, chance)
    made.sub_(made.mean()).div_(made.std().clamp_min(1e-6)).clamp_(-_LARGEST_DEVIATIONS, _LARGEST_DEVIATIONS)
    canvas.signal.add_(made.clamp(-2, 2), alpha=chance.uniform(-0.15, 0.15))
    made.mul_(chance.log_normal(0.04, 0.5)).clamp_(-_LARGEST_PPM, _LARGEST_PPM)
    canvas.susceptibility = made
    return canvas.scene(random_support(canvas, chance))


def _any_field(canvas: Canvas, chance: Chance) -> Tensor:
    """Return a field of unit variance of random kind, scale and, in half of the draws, random stretch."""
    grid = canvas.grid
    if chance.happens(0.5):
        stretched = [step * chance.log_uniform(0.5, 2.0) for step in grid.voxel_size_mm]
        grid = replace(grid, voxel_size_mm=(stretched[0], stretched[1], stretched[2]))
    scale = chance.log_uniform(2.0 * canvas.edge_mm, extent_mm(grid) / 2)
    kind = chance.choice(("rough", "smooth", "waves", "sparse"), (0.3, 0.35, 0.2, 0.15))
    if kind == "rough":
        return rough_field(grid, chance.uniform(1.0, 5.0), chance, max(scale, 8.0 * canvas.edge_mm))
    if kind == "smooth":
        return smooth_field(grid, scale, chance)
    if kind == "waves":
        return wave_field(grid, 2.0 * scale, chance, chance.integer(2, 24))
    return sparse_field(grid, max(scale, 2.5 * canvas.edge_mm), chance.log_uniform(0.02, 0.4), chance)


def _steps(field: Tensor, chance: Chance) -> Tensor:
    steepness = chance.log_uniform(1.5, 20.0)
    return field.sub_(chance.uniform(-1.5, 1.5)).mul_(steepness).tanh_()


def _exponential(field: Tensor, chance: Chance) -> Tensor:
    return field.mul_(chance.uniform(-1.2, 1.2)).exp_()


def _sawtooth(field: Tensor, chance: Chance) -> Tensor:
    field.mul_(chance.uniform(0.2, 0.9)).add_(chance.uniform(0.0, 1.0))
    return field.sub_(field.floor()).sub_(0.5)


def _plateaus(field: Tensor, chance: Chance) -> Tensor:
    return field.mul_(chance.uniform(0.5, 1.5)).add_(chance.uniform(0.0, 1.0)).round_()


def _shrunk(field: Tensor, chance: Chance) -> Tensor:
    return torch.nn.functional.softshrink(field, chance.uniform(0.5, 2.0))


def _straight(field: Tensor, chance: Chance) -> Tensor:
    return field.add_(chance.uniform(-1.0, 1.0))


_CURVES: tuple[Callable[[Tensor, Chance], Tensor], ...] = (
    _straight,
    _steps,
    _exponential,
    _sawtooth,
    _plateaus,
    _shrunk,
)


def _curved(field: Tensor, chance: Chance) -> Tensor:
    return chance.choice(_CURVES, (0.15, 0.3, 0.15, 0.15, 0.1, 0.15))(field, chance)


def _joined(first: Tensor, second: Tensor, canvas: Canvas, chance: Chance) -> Tensor:
    """Return two fields as one."""
    way = chance.choice(("product", "sum", "cut", "least"), (0.35, 0.25, 0.3, 0.1))
    if way == "product":
        return first.mul_(second)
    if way == "sum":
        return first.add_(second, alpha=chance.log_uniform(0.2, 2.0))
    if way == "least":
        return torch.minimum(first, second)
    length = extent_mm(canvas.grid) * chance.log_uniform(0.08, 0.5)
    border = smooth_field(canvas.grid, length, chance).add_(chance.uniform(-0.8, 0.8))
    # A field of this length changes by about 2 in its length, so this is an edge of a voxel or two.
    steepness = length / (2.0 * canvas.edge_mm) * chance.log_uniform(0.2, 1.0)
    return first.lerp_(second, border.mul_(min(steepness, math.e**4)).sigmoid_())
