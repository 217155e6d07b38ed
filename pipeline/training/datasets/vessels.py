"""Veins and lesions: branching tubes thinner than a voxel or wider, bleeds, calcifications and rims."""

import math

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.training.datasets.canvas import Canvas, Scene, Solid, inside
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.fields import rough_field, smooth_field
from pipeline.training.datasets.shapes import extent_mm, limited, random_place, random_support

_STEP_VOXELS = 1.5
"""Length of one piece of a vessel, in the least edge of a voxel."""
_LARGEST_RADIUS_VOXELS = 1.8


def vessels(grid: Grid, chance: Chance) -> Scene:
    """Return thin strong sources on weak uneven tissue: a tree of veins, bleeds, calcifications and rims."""
    canvas = Canvas(grid, chance)
    canvas.susceptibility.add_(smooth_field(grid, extent_mm(grid) / 4, chance), alpha=chance.log_normal(0.012, 0.6))
    grain = rough_field(grid, chance.uniform(1.5, 3.5), chance)
    canvas.susceptibility.add_(grain, alpha=chance.log_normal(0.008, 0.7))
    for _ in range(chance.integer(1, 3)):
        lay_veins(canvas, chance, chance.integer(5, 24), limited(chance.log_normal(0.3, 0.6)))
    lay_lesions(canvas, chance, chance.integer(0, 8))
    return canvas.scene(random_support(canvas, chance))


def lay_veins(canvas: Canvas, chance: Chance, n_branches: int, ppm: float) -> None:
    """Lay a tree of veins of one susceptibility [ppm] anywhere in the volume, its radii from 0.25 to 1.8 voxels."""
    points, radii = _tree(canvas, chance, n_branches)
    share = tube_share(canvas.grid, points[:, :-1].flatten(0, 1), points[:, 1:].flatten(0, 1), radii.flatten())
    canvas.lay(share.to(chance.device), ppm, 0.5)


def lay_lesions(canvas: Canvas, chance: Chance, count: int) -> None:
    """Lay bleeds (0.1 to 2 ppm), calcifications (−0.1 to −1 ppm) and rims of iron, each of its own size and turn."""
    for _ in range(count):
        kind = chance.choice(("bleed", "calcification", "rim"), (0.45, 0.3, 0.25))
        smallest = 2.0 if kind == "rim" else 0.6
        size = chance.log_uniform(smallest * canvas.edge_mm, max(6.0 * canvas.edge_mm, 3.0))
        radii = [size * chance.uniform(0.7, 1.3) for _ in range(3)]
        place = canvas.turn @ torch.tensor(random_place(canvas.grid, chance, 0.9)) + canvas.origin
        z, y, x = place.tolist()
        solid = Solid("ellipsoid", (z, y, x), (radii[0], radii[1], radii[2]), chance.rotation())
        if kind == "rim":
            _lay_rim(canvas, chance, solid)
        elif kind == "bleed":
            canvas.lay_solid(solid, chance.log_uniform(0.1, 2.0), chance.uniform(0.3, 0.7))
        else:
            canvas.lay_solid(solid, -chance.log_uniform(0.1, 1.0), chance.uniform(0.1, 0.5))


def _lay_rim(canvas: Canvas, chance: Chance, solid: Solid) -> None:
    """Lay a shell, open on one side in every other draw, over a core that differs little from its surroundings."""
    box = canvas.box_around(solid, canvas.edge_mm)
    if box is None:
        return
    points = canvas.points[(slice(None), *box)]
    distance = solid.distance(points)
    canvas.lay(inside(distance, canvas.edge_mm), chance.normal(0.02, 0.02), chance.uniform(0.8, 1.2), box)
    shell = distance.abs_().sub_(canvas.edge_mm * chance.uniform(0.3, 0.8))
    if chance.happens(0.5):
        towards = torch.tensor(chance.direction(), device=chance.device)
        centre = torch.tensor(solid.centre, device=chance.device)
        height = torch.tensordot(towards, points, 1).sub_(towards @ centre)
        shell = torch.maximum(shell, height.sub_(chance.uniform(-0.3, 0.8) * min(solid.radii)))
    canvas.lay(inside(shell, canvas.edge_mm), chance.log_uniform(0.04, 0.35), 0.7, box)


def _tree(canvas: Canvas, chance: Chance, n_branches: int) -> tuple[Tensor, Tensor]:
    """Return the knots `(branch, knot, 3)` [mm] of branches that leave older branches, and radii `(branch, piece)`."""
    voxel = min(canvas.grid.voxel_size_mm)
    step = _STEP_VOXELS * voxel
    n_pieces = max(4, int(chance.uniform(0.25, 0.6) * extent_mm(canvas.grid) / step))
    directions = torch.tensor([chance.direction() for _ in range(n_branches)])
    bend = chance.log_uniform(0.05, 0.3)
    turns = torch.randn((n_branches, n_pieces, 3), generator=chance.tables).mul_(bend).cumsum(1)
    headings = torch.nn.functional.normalize(directions[:, None] + turns, dim=2)
    paths = torch.cat((torch.zeros(n_branches, 1, 3), (headings * step).cumsum(1)), 1)
    radii = torch.empty(n_branches, n_pieces)
    for branch in range(n_branches):
        if branch == 0 or chance.happens(0.4):
            start = torch.tensor(random_place(canvas.grid, chance, 0.9))
            thick = chance.log_uniform(0.4, _LARGEST_RADIUS_VOXELS)
        else:
            parent, knot = chance.integer(0, branch - 1), chance.integer(1, n_pieces - 1)
            start, thick = paths[parent, knot], float(radii[parent, knot]) / voxel * chance.uniform(0.5, 0.9)
        paths[branch] += start
        radii[branch] = torch.linspace(max(thick, 0.25), max(0.5 * thick, 0.2), n_pieces) * voxel
    return paths, radii


def tube_share(grid: Grid, starts: Tensor, ends: Tensor, radii: Tensor) -> Tensor:
    """Return the share of every voxel that straight pieces `(piece, 3)` [mm] of a radius [mm] fill.

    Every piece looks only at the voxels near its middle; one thinner than a voxel fills a share of the voxel.
    """
    voxel = torch.tensor(grid.voxel_size_mm)
    edge = float(voxel.prod()) ** (1 / 3)
    reach = float((ends - starts).norm(dim=1).max()) / 2 + float(radii.max()) + edge / 2
    spans = [torch.arange(-(half := math.ceil(reach / step)), half + 1) for step in grid.voxel_size_mm]
    offsets = torch.cartesian_prod(*spans)
    middle = (torch.tensor(grid.shape) - 1) / 2
    nearest = ((starts + ends) / 2 / voxel + middle).round().long()
    index = nearest[:, None] + offsets
    rel = (index - middle) * voxel - starts[:, None]
    along = (ends - starts)[:, None]
    share_along = (rel * along).sum(2, keepdim=True).div_(along.square().sum(2, keepdim=True)).clamp_(0, 1)
    distance = rel.sub_(share_along * along).norm(dim=2)
    fill = inside(distance.sub_(radii[:, None]), edge)
    fill *= _fullness(radii / edge)[:, None]
    size = torch.tensor(grid.shape)
    fill *= ((index >= 0) & (index < size)).all(2)
    z, y, x = index.clamp_min_(0).minimum(size - 1).unbind(2)
    flat = (z * grid.shape[1] + y) * grid.shape[2] + x
    filled = torch.zeros(math.prod(grid.shape))
    filled.scatter_reduce_(0, flat.flatten(), fill.flatten(), "amax")
    return filled.reshape(grid.shape)


def _fullness(radius: Tensor) -> Tensor:
    """Return by what a softened cross-section is to be scaled so that it holds π r², for radii in voxels.

    Softened over one voxel, a disc holds π (r² + 1/12); a disc thinner than that is a cone that holds π (r + 1/2)³ / 3.
    """
    squared = radius.square()
    return torch.where(radius < 0.5, 3 * squared / (radius + 0.5) ** 3, squared / (squared + 1 / 12))
