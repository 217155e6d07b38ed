"""The held-out generator: sloping cells of a Voronoi tessellation, sheets of a gyroid, coils, onions and crackle.

No training generator makes any of these; what comes nearest are the flat-faced parts of `facets` and the sloping
fillings of `leaves`. It is never trained on; what a network does on it says how far it reaches beyond what it was
shown.
"""

import math

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.training.datasets.canvas import Canvas, Scene, Solid, inside
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.shapes import extent_mm, limited, random_place, random_support

_FEWEST_CELLS, _MOST_CELLS = 12, 40


def composite(grid: Grid, chance: Chance) -> Scene:
    """Return cells with sloping shades, sheets of a gyroid, coils of wire and onions of shells."""
    canvas = Canvas(grid, chance, chance.rotation())
    _lay_cells(canvas, chance)
    if chance.happens(0.7):
        _lay_sheets(canvas, chance)
    for _ in range(chance.integer(0, 3)):
        _lay_onion(canvas, chance)
    for _ in range(chance.integer(1, 4)):
        _lay_coil(canvas, chance)
    _add_crackle(canvas, chance)
    return canvas.scene(random_support(Canvas(grid, chance), chance))


def _lay_cells(canvas: Canvas, chance: Chance) -> None:
    """Divide space into the cells of random seeds (Voronoi, under a stretched metric) with a ramp inside each."""
    count = chance.integer(_FEWEST_CELLS, _MOST_CELLS)
    seeds = torch.tensor([random_place(canvas.grid, chance) for _ in range(count)])
    stretch = torch.tensor([chance.uniform(0.6, 1.6) for _ in range(3)])
    seeds = (seeds @ canvas.turn.T * stretch).to(chance.device)
    points = canvas.points.flatten(1) * stretch.to(chance.device)[:, None]
    distances = seeds.square().sum(1)[:, None] - 2 * (seeds @ points)
    cell = distances.argmin(0)
    ppm = torch.tensor([limited(chance.signed(0.035, 0.7)) for _ in range(count)], device=chance.device)
    signal = torch.tensor([chance.uniform(0.5, 1.1) for _ in range(count)], device=chance.device)
    slopes = torch.tensor([chance.direction() for _ in range(count)], device=chance.device)
    slopes = slopes * chance.uniform(0.0, 0.08) / extent_mm(canvas.grid)
    rel = points - seeds.T[:, cell]
    ramp = rel.mul_(slopes.T[:, cell]).sum(0)
    canvas.susceptibility.copy_((ppm[cell] + ramp).reshape(canvas.grid.shape))
    canvas.signal.copy_(signal[cell].reshape(canvas.grid.shape))


def _lay_sheets(canvas: Canvas, chance: Chance) -> None:
    """Lay the walls of a gyroid, a surface that folds periodically, fading with the distance from a point."""
    period = extent_mm(canvas.grid) * chance.uniform(0.15, 0.4)
    sines = canvas.points.mul(2 * math.pi / period)
    cosines = sines.cos()
    sines.sin_()
    gyroid = sines[0] * cosines[1] + sines[1] * cosines[2] + sines[2] * cosines[0]
    thickness = chance.uniform(0.7, 2.0) * canvas.edge_mm
    distance = gyroid.abs_().mul_(period / (2 * math.pi * 1.3)).sub_(thickness / 2)
    place = _place(canvas, chance)
    away = (canvas.points - place[:, None, None, None]).square_().sum(0)
    share = inside(distance, canvas.edge_mm).mul_(away.div_(-(extent_mm(canvas.grid) ** 2) / 4).exp_())
    canvas.lay(share, limited(chance.signed(0.06, 0.5)), chance.uniform(0.5, 1.1))


def _lay_onion(canvas: Canvas, chance: Chance) -> None:
    """Lay shells around a point, like the rings of an onion, alternating in sign."""
    place = _place(canvas, chance)
    radius = extent_mm(canvas.grid) * chance.uniform(0.08, 0.2)
    z, y, x = place.tolist()
    box = canvas.box_around(Solid("ellipsoid", (z, y, x), (radius, radius, radius)), canvas.edge_mm)
    if box is None:
        return
    away = (canvas.points[(slice(None), *box)] - place[:, None, None, None]).square_().sum(0).sqrt_()
    rings = chance.integer(1, 4)
    share = inside(away - radius, canvas.edge_mm)
    ppm = limited(chance.signed(0.08, 0.6))
    shade = away.mul_(2 * math.pi * rings / radius).cos_().mul_(ppm)
    painted = canvas.susceptibility[box]
    painted.lerp_(shade, share)


def _lay_coil(canvas: Canvas, chance: Chance) -> None:
    """Lay a helix of thin wire around an axis of the painter's space."""
    size = extent_mm(canvas.grid)
    place = _place(canvas, chance)
    points = canvas.points - place[:, None, None, None]
    first, second, third = points[chance.choice(((0, 1, 2), (1, 2, 0), (2, 0, 1)), None), ...]
    radius, pitch = size * chance.uniform(0.06, 0.2), size * chance.uniform(0.15, 0.4)
    wire = chance.uniform(0.5, 1.6) * canvas.edge_mm
    turned = torch.atan2(third, second).div_(2 * math.pi)
    along = first / pitch - turned
    along = along.sub_(along.round()).mul_(pitch)
    ring = second.square().add_(third.square()).sqrt_().sub_(radius)
    distance = along.square_().add_(ring.square_()).sqrt_().sub_(wire)
    distance = torch.maximum(distance, first.abs().sub_(size * chance.uniform(0.2, 0.5)))
    canvas.lay(inside(distance, canvas.edge_mm), limited(chance.signed(0.25, 0.5)), 0.5)


def _add_crackle(canvas: Canvas, chance: Chance) -> None:
    """Add rectified noise of two voxels' grain: skewed, as no Gaussian texture is."""
    noise = chance.noise(*canvas.grid.shape)
    for axis in range(3):
        noise = noise + noise.roll(1, axis)
    noise = noise.div_(8**0.5).abs_().sub_(math.sqrt(2 / math.pi))
    canvas.susceptibility.add_(noise, alpha=chance.log_normal(0.008, 0.6))


def _place(canvas: Canvas, chance: Chance) -> Tensor:
    """Return a random point in the painter's space `(3,)` [mm]."""
    return (canvas.turn @ torch.tensor(random_place(canvas.grid, chance, 0.8))).to(chance.device)
