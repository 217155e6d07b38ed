"""Space split again and again by planes, as a crystal cleaves: polyhedra of unequal sizes with or without walls."""

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.training.datasets.canvas import Canvas, Scene, inside
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.fields import rough_field, smooth_field
from pipeline.training.datasets.shapes import extent_mm, limited, random_support

_PROBES = 1500
"""Points by which the middle of every part is estimated."""
_UNSPLIT = 1e4


def facets(grid: Grid, chance: Chance) -> Scene:
    """Return parts of a space that was split time and again, each with a value of its own and sometimes a grain."""
    canvas = Canvas(grid, chance, chance.rotation())
    _bend(canvas, chance)
    depth = chance.integer(4, 8)
    part, to_wall = _split(canvas, depth, chance)
    sizes = torch.randn(2**depth, generator=chance.tables).mul_(chance.uniform(0.2, 1.0)).exp_()
    ppm = torch.randn(2**depth, generator=chance.tables).sign_().mul_(sizes).mul_(chance.log_normal(0.035, 0.5))
    if chance.happens(0.4):
        # A few values only, as a few tissues have.
        values = torch.tensor([limited(chance.signed(0.05, 0.7)) for _ in range(chance.integer(2, 4))])
        ppm = values[torch.randint(len(values), (2**depth,), generator=chance.tables)]
    signal = torch.rand(2**depth, generator=chance.tables).mul_(0.6).add_(0.5)
    canvas.susceptibility.copy_(softened(ppm.clamp_(-1.0, 1.0).to(chance.device)[part]))
    if chance.happens(0.4):
        strength = torch.rand(2**depth, generator=chance.tables).square_().mul_(chance.log_normal(0.03, 0.6))
        grain = rough_field(grid, chance.uniform(0.5, 3.5), chance, extent_mm(grid) / 4)
        canvas.susceptibility.add_(grain.mul_(strength.to(chance.device)[part]))
    canvas.signal.copy_(signal.to(chance.device)[part])
    if chance.happens(0.5):
        wall = inside(to_wall.sub_(canvas.edge_mm * chance.log_uniform(0.3, 2.0)), canvas.edge_mm)
        canvas.lay(wall, limited(chance.signed(0.07, 0.6)), chance.uniform(0.5, 1.2))
    if chance.happens(0.4):
        shade = smooth_field(grid, extent_mm(grid) / chance.uniform(2.0, 8.0), chance)
        canvas.susceptibility.add_(shade, alpha=chance.log_normal(0.012, 0.7))
    return canvas.scene(random_support(Canvas(grid, chance), chance))


def softened(values: Tensor) -> Tensor:
    """Return values `(z, y, x)` averaged over a voxel and half of each neighbour along every axis."""
    for axis in range(3):
        inner = values.narrow(axis, 1, values.shape[axis] - 2).mul(2)
        inner.add_(values.narrow(axis, 0, values.shape[axis] - 2)).add_(values.narrow(axis, 2, values.shape[axis] - 2))
        values = values.clone()
        values.narrow(axis, 1, values.shape[axis] - 2).copy_(inner.div_(4))
    return values


def _bend(canvas: Canvas, chance: Chance) -> None:
    if chance.happens(0.5):
        length = extent_mm(canvas.grid) * chance.log_uniform(0.1, 0.6)
        strength = 0.25 * length * chance.uniform(0.1, 1.0)
        for axis in range(3):
            canvas.points[axis].add_(smooth_field(canvas.grid, length, chance), alpha=strength)


def _split(canvas: Canvas, depth: int, chance: Chance) -> tuple[Tensor, Tensor]:
    """Return the number of the part of every voxel, below 2^depth, and the distance to the nearest plane [mm]."""
    half = torch.tensor(canvas.grid.shape) * torch.tensor(canvas.grid.voxel_size_mm) / 2
    probes = (torch.rand((_PROBES, 3), generator=chance.tables) * 2 - 1) * half @ canvas.turn.T
    probe_part = torch.zeros(_PROBES, dtype=torch.long)
    points = canvas.points.flatten(1)
    part = torch.zeros(points.shape[1], dtype=torch.long, device=points.device)
    to_wall = torch.full((points.shape[1],), _UNSPLIT, device=points.device)
    is_upright, stop = chance.happens(0.25), chance.uniform(0.0, 0.25)
    for level in range(depth):
        planes = _planes(probes, probe_part, 2**level, is_upright, stop if level > 2 else 0.0, chance)
        height = _height(points, part, planes.to(points.device))
        to_wall = torch.minimum(to_wall, height.abs())
        part = part.mul_(2).add_(height > 0)
        probe_part = 2 * probe_part + (_height(probes.T, probe_part, planes) > 0)
    return part.reshape(canvas.grid.shape), to_wall.reshape(canvas.grid.shape)


def _planes(probes: Tensor, probe_part: Tensor, n_parts: int, is_upright: bool, stop: float, chance: Chance) -> Tensor:
    """Return normal and offset `(4, part)` of a plane near the middle of each part; some lie far off and split none."""
    counts = torch.zeros(n_parts).index_add_(0, probe_part, torch.ones(len(probes))).clamp_min_(1)
    middles = torch.zeros(n_parts, 3).index_add_(0, probe_part, probes) / counts[:, None]
    spread = torch.zeros(n_parts).index_add_(0, probe_part, (probes - middles[probe_part]).square().sum(1))
    shift = torch.randn((n_parts, 3), generator=chance.tables) * (spread / counts).sqrt()[:, None] * 0.3
    normals = torch.randn((n_parts, 3), generator=chance.tables)
    if is_upright:
        normals = torch.eye(3)[torch.randint(3, (n_parts,), generator=chance.tables)]
    normals = torch.nn.functional.normalize(normals, dim=1)
    offsets = -(normals * (middles + shift)).sum(1)
    is_last = torch.rand(n_parts, generator=chance.tables) < stop
    offsets = torch.where(is_last, _UNSPLIT, offsets)
    return torch.cat((normals, offsets[:, None]), 1).T.contiguous()


def _height(points: Tensor, part: Tensor, planes: Tensor) -> Tensor:
    """Return the height of points `(3, point)` [mm] over the plane of the part that each lies in."""
    height = planes[3][part]
    for axis in range(3):
        height.addcmul_(points[axis], planes[axis][part])
    return height
