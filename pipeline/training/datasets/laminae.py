"""Stripes, sheets, checkers and fans: layers along a bent coordinate, periodic or of random widths."""

import math

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.training.datasets.canvas import Canvas, Scene
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.fields import smooth_field
from pipeline.training.datasets.shapes import extent_mm, random_place, random_support

_KNOTS_PER_VOXEL = 4
_LARGEST_PPM = 1.0


def laminae(grid: Grid, chance: Chance) -> Scene:
    """Return one to three systems of layers, each in a region of its own, on uneven ground."""
    canvas = Canvas(grid, chance)
    shade = smooth_field(grid, extent_mm(grid) / chance.uniform(1.5, 5.0), chance)
    canvas.susceptibility.add_(shade, alpha=chance.log_normal(0.012, 0.7))
    _bend(canvas, chance)
    for number in range(chance.integer(1, 3)):
        system = _system(canvas, chance)
        system.sub_(system.mean()).div_(system.std().clamp_min(1e-6)).mul_(chance.log_normal(0.035, 0.5))
        system.clamp_(-_LARGEST_PPM, _LARGEST_PPM)
        canvas.signal.add_(system, alpha=chance.uniform(-2.0, 2.0)).clamp_(0.2, 2.0)
        if number == 0 and chance.happens(0.6):
            canvas.susceptibility.add_(system)
        else:
            region = smooth_field(grid, extent_mm(grid) * chance.uniform(0.15, 0.5), chance)
            share = region.add_(chance.uniform(-0.7, 0.7)).mul_(chance.log_uniform(3.0, 15.0)).sigmoid_()
            canvas.susceptibility.lerp_(system.add_(chance.normal(0.0, 0.03)), share)
    return canvas.scene(random_support(Canvas(grid, chance), chance))


def _bend(canvas: Canvas, chance: Chance) -> None:
    """Bend the space of the painter smoothly, in a fifth of the draws not at all."""
    if chance.happens(0.2):
        return
    length = extent_mm(canvas.grid) * chance.log_uniform(0.15, 0.7)
    strength = 0.3 * length * chance.uniform(0.1, 1.0)
    for axis in range(3):
        canvas.points[axis].add_(smooth_field(canvas.grid, length, chance), alpha=strength)


def _system(canvas: Canvas, chance: Chance) -> Tensor:
    """Return layers across one direction, around an axis as a fan, or the product of two or three such."""
    kind = chance.choice(("plane", "fan", "checker"), (0.55, 0.2, 0.25))
    if kind == "fan":
        return _layered(_angle(canvas, chance), canvas, chance)
    made = _layered(_height(canvas, chance), canvas, chance)
    for _ in range(chance.integer(1, 2) if kind == "checker" else 0):
        made.mul_(_layered(_height(canvas, chance), canvas, chance))
    return made


def _height(canvas: Canvas, chance: Chance) -> Tensor:
    towards = canvas.points.new_tensor(chance.direction())
    return (towards @ canvas.points.flatten(1)).reshape(canvas.grid.shape)


def _angle(canvas: Canvas, chance: Chance) -> Tensor:
    """Return the angle about a random axis, as the length of its arc at a third of the volume [mm]."""
    turn = chance.rotation().to(canvas.points.device)
    place = canvas.points.new_tensor(random_place(canvas.grid, chance))
    across = (turn[:2] @ canvas.points.flatten(1)).sub_((turn[:2] @ place)[:, None])
    return torch.atan2(across[0], across[1]).mul_(extent_mm(canvas.grid) / 3).reshape(canvas.grid.shape)


def _layered(coordinate: Tensor, canvas: Canvas, chance: Chance) -> Tensor:
    """Return what a table of layers holds at every value of a coordinate [mm]."""
    step = canvas.edge_mm / _KNOTS_PER_VOXEL
    low, high = (float(bound) for bound in torch.aminmax(coordinate))
    table = _table(int((high - low) / step) + 3, chance).to(coordinate.device)
    at = coordinate.sub(low).div_(step)
    first = at.long()
    return torch.lerp(table[first], table[first + 1], at.sub_(first))


def _table(length: int, chance: Chance) -> Tensor:
    """Return layers as values at knots `_KNOTS_PER_VOXEL` to a voxel, softened over a voxel `(length,)`."""
    kind = chance.choice(("layers", "square", "saw", "sine", "lines", "walk"), (0.35, 0.15, 0.1, 0.1, 0.15, 0.15))
    period = _KNOTS_PER_VOXEL * chance.log_uniform(3.0, 24.0)
    place = torch.arange(length) / period + chance.uniform(0.0, 1.0)
    if kind == "sine":
        return place.mul_(2 * math.pi).sin_()
    if kind == "saw":
        made = place - place.floor()
    elif kind == "square":
        made = (place - place.floor() < chance.uniform(0.15, 0.85)).float()
    elif kind == "walk":
        made = torch.randn(length, generator=chance.tables).cumsum(0)
        made = made - torch.linspace(0.0, float(made[-1]), length)
    else:
        made = _uneven(length, period, kind == "lines", chance)
    return torch.nn.functional.avg_pool1d(made[None], _KNOTS_PER_VOXEL + 1, 1, _KNOTS_PER_VOXEL // 2)[0]


def _uneven(length: int, period: float, is_thin: bool, chance: Chance) -> Tensor:
    """Return layers of log-normal widths and Gaussian values, or thin lines between wide gaps."""
    made = torch.zeros(length)
    first = 0
    while first < length:
        width = max(2, int(chance.log_normal(period, 0.7)))
        line = int(_KNOTS_PER_VOXEL * chance.uniform(0.8, 2.5)) if is_thin else width
        made[first : first + line] = chance.normal()
        first += width + (line if is_thin else 0)
    return made
