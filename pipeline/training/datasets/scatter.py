"""Grains and fibres: single voxels of log-normal strength, alone or in clouds, and bundles of thin parallel lines."""

import math

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.training.datasets.canvas import Canvas, Scene
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.facets import softened
from pipeline.training.datasets.fields import rough_field, smooth_field
from pipeline.training.datasets.shapes import extent_mm, limited, random_place, random_support
from pipeline.training.datasets.vessels import tube_share

_LARGEST_PPM = 2.0
_POINTS_PER_VOXEL = (1e-4, 0.02)
_PIECE_VOXELS = 1.5


def scatter(grid: Grid, chance: Chance) -> Scene:
    """Return weak uneven ground, clouds of points and bundles of fibres on it."""
    canvas = Canvas(grid, chance)
    shade = smooth_field(grid, extent_mm(grid) * chance.log_uniform(0.1, 0.6), chance)
    canvas.susceptibility.add_(shade, alpha=chance.log_normal(0.015, 0.7))
    if chance.happens(0.4):
        grain = rough_field(grid, chance.uniform(0.5, 3.5), chance)
        canvas.susceptibility.add_(grain, alpha=chance.log_normal(0.01, 0.7))
    for _ in range(chance.integer(0, 2)):
        _lay_bundle(canvas, chance)
    for _ in range(chance.integer(1, 3)):
        points = _cloud(canvas, chance)
        canvas.susceptibility.add_(points)
        canvas.signal.sub_(points.abs_().mul_(0.5)).clamp_min_(0.2)
    return canvas.scene(random_support(canvas, chance))


def _cloud(canvas: Canvas, chance: Chance) -> Tensor:
    """Return points of log-normal strength [ppm], anywhere or about a few middles, some of them soft."""
    count = max(4, int(math.prod(canvas.grid.shape) * chance.log_uniform(*_POINTS_PER_VOXEL)))
    half = torch.tensor(canvas.grid.shape) * torch.tensor(canvas.grid.voxel_size_mm) / 2
    if chance.happens(0.5):
        places = (torch.rand((count, 3), generator=chance.tables) * 2 - 1) * half
    else:
        middles = torch.tensor([random_place(canvas.grid, chance) for _ in range(chance.integer(1, 8))])
        spread = extent_mm(canvas.grid) * chance.log_uniform(0.04, 0.25)
        chosen = middles[torch.randint(len(middles), (count,), generator=chance.tables)]
        places = chosen + torch.randn((count, 3), generator=chance.tables) * spread
    # Many points are weak points: the whole cloud's power stays about the same.
    strength = min(1.0, 0.03 * math.sqrt(math.prod(canvas.grid.shape) / count)) * chance.log_normal(1.0, 0.4)
    ppm = torch.randn(count, generator=chance.tables).mul_(chance.uniform(0.3, 1.0)).exp_().mul_(strength)
    signs = torch.rand(count, generator=chance.tables) < chance.choice((0.0, 0.5, 1.0))
    ppm = torch.where(signs, -ppm, ppm).clamp_(-_LARGEST_PPM, _LARGEST_PPM)
    cloud = splat(canvas.grid, places, ppm).to(canvas.susceptibility.device)
    for _ in range(chance.integer(0, 2)):
        cloud = softened(cloud).mul_(2.0)
    return cloud.clamp_(-_LARGEST_PPM, _LARGEST_PPM)


def splat(grid: Grid, places: Tensor, ppm: Tensor) -> Tensor:
    """Return points `(point, 3)` [mm from the middle] shared between the eight voxels around each; off the grid none.

    Made on the CPU, where sums come in one order.
    """
    at = places / torch.tensor(grid.voxel_size_mm) + (torch.tensor(grid.shape) - 1) / 2
    low = at.floor()
    rest = at - low
    volume = torch.zeros(math.prod(grid.shape))
    size = torch.tensor(grid.shape)
    for corner in torch.cartesian_prod(*([torch.tensor([0, 1])] * 3)):
        index = low.long() + corner
        weight = torch.where(corner == 1, rest, 1 - rest).prod(1)
        weight = weight * ((index >= 0) & (index < size)).all(1)
        z, y, x = index.clamp_min(0).minimum(size - 1).unbind(1)
        volume.index_add_(0, (z * grid.shape[1] + y) * grid.shape[2] + x, weight * ppm)
    return volume.reshape(grid.shape)


def _lay_bundle(canvas: Canvas, chance: Chance) -> None:
    """Lay thin lines side by side that bend together, as fibres of a tract or threads of a net."""
    voxel = min(canvas.grid.voxel_size_mm)
    n_lines, n_pieces = chance.integer(4, 30), chance.integer(10, 40)
    along = torch.tensor(chance.direction())
    spread = extent_mm(canvas.grid) * chance.log_uniform(0.05, 0.4)
    starts = torch.tensor(random_place(canvas.grid, chance, 0.7)) + spread * torch.randn(
        (n_lines, 3), generator=chance.tables
    )
    if chance.happens(0.3):
        along = torch.nn.functional.normalize(torch.randn((n_lines, 1, 3), generator=chance.tables), dim=2)
    bend = torch.randn((1, n_pieces, 3), generator=chance.tables).mul_(chance.log_uniform(0.02, 0.3)).cumsum(1)
    headings = torch.nn.functional.normalize(along + bend, dim=2).expand(n_lines, n_pieces, 3)
    knots = torch.cat((torch.zeros(n_lines, 1, 3), headings.cumsum(1) * (_PIECE_VOXELS * voxel)), 1)
    # Lines begin half their length before the middle of the bundle.
    knots = knots - knots[:, n_pieces // 2, None] + starts[:, None]
    radius = torch.full((n_lines * n_pieces,), voxel * chance.log_uniform(0.3, 1.3))
    share = tube_share(canvas.grid, knots[:, :-1].flatten(0, 1), knots[:, 1:].flatten(0, 1), radius)
    canvas.lay(share.to(canvas.susceptibility.device), limited(chance.signed(0.2, 0.6)), chance.uniform(0.5, 1.1))
