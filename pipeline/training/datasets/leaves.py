"""Dead leaves: lumpy, faceted and pinched bodies of every size that hide one another, each with a filling of its own.

Sizes fall as a power law, and what is laid later hides what was there, as in the dead leaves of Lee 2001 (International
Journal of Computer Vision 41:35).
"""

import math

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.training.datasets.canvas import Canvas, Scene, Solid, inside
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.fields import rough_field, smooth_field, wave_field
from pipeline.training.datasets.shapes import extent_mm, limited, random_place, random_support

_MEDIAN_PPM, _SPREAD = 0.055, 0.8
_VOXELS_PAINTED = 7
"""All leaves together touch at most so many times the volume, which bounds the time."""
_WAVES_PER_LUMP = 4


def leaves(grid: Grid, chance: Chance) -> Scene:
    """Return bodies laid over one another, plain, sloping or with a grain inside, on uneven ground."""
    canvas = Canvas(grid, chance)
    grain = _grain(canvas, chance)
    if chance.happens(0.5):
        canvas.susceptibility.add_(grain.flip(0), alpha=chance.log_normal(0.01, 0.7))
    smallest, largest = canvas.edge_mm * 1.2, extent_mm(grid) * chance.uniform(0.15, 0.4)
    exponent = chance.uniform(-1.0, 2.0)
    kinds = chance.choice((("lump",), ("facets",), ("pinched",), ("lump", "facets", "pinched")), (0.25, 0.2, 0.1, 0.45))
    left = _VOXELS_PAINTED * math.prod(grid.shape)
    for _ in range(int(chance.log_uniform(30, 130))):
        size = power_law(smallest, largest, exponent, chance)
        left -= _lay_leaf(canvas, chance, chance.choice(kinds), size, grain)
        if left < 0:
            break
    return canvas.scene(random_support(canvas, chance))


def power_law(smallest: float, largest: float, exponent: float, chance: Chance) -> float:
    """Draw a size whose density falls as size^−exponent between two bounds."""
    part = 1.0 - exponent
    if abs(part) < 1e-3:
        return chance.log_uniform(smallest, largest)
    low, high = smallest**part, largest**part
    return float((low + chance.uniform(0.0, 1.0) * (high - low)) ** (1 / part))


def _grain(canvas: Canvas, chance: Chance) -> Tensor:
    kind = chance.choice(("rough", "smooth", "waves"))
    if kind == "rough":
        return rough_field(canvas.grid, chance.uniform(0.0, 4.0), chance, extent_mm(canvas.grid) / 3)
    if kind == "smooth":
        return smooth_field(canvas.grid, canvas.edge_mm * chance.log_uniform(1.5, 8.0), chance)
    return wave_field(canvas.grid, canvas.edge_mm * chance.log_uniform(4.0, 16.0), chance, chance.integer(3, 16))


def _lay_leaf(canvas: Canvas, chance: Chance, kind: str, size: float, grain: Tensor) -> int:
    """Lay one body of a mean radius [mm] and return how many voxels it touched."""
    radii = [size * chance.log_uniform(0.6, 1.6) for _ in range(3)]
    centre, turn = random_place(canvas.grid, chance), chance.rotation()
    distance_of = {"lump": _lump, "facets": _facets, "pinched": _pinched}[kind]
    # Lumps and facets reach beyond their radii by up to a half.
    hull = Solid("ellipsoid", centre, (1.5 * radii[0], 1.5 * radii[1], 1.5 * radii[2]), turn)
    width = max(canvas.edge_mm, size * chance.log_uniform(0.01, 0.2))
    box = canvas.box_around(hull, width)
    if box is None:
        return 0
    points = canvas.points[(slice(None), *box)]
    carry = (turn / torch.tensor(radii)[:, None]).to(points.device)
    own = (carry @ points.flatten(1)).sub_((carry @ points.new_tensor(centre))[:, None])
    distance = distance_of(own, chance).mul_(min(radii)).reshape(points.shape[1:])
    share = inside(distance, width)
    canvas.signal[box].lerp_(points.new_tensor(chance.uniform(0.4, 1.2)), share)
    canvas.susceptibility[box].lerp_(_filling(own, grain[box], chance), share)
    return distance.numel()


def _filling(own: Tensor, grain: Tensor, chance: Chance) -> Tensor:
    """Return what a leaf is filled with [ppm]: one value, and to that a slope or a grain."""
    ppm = limited(chance.signed(_MEDIAN_PPM, _SPREAD))
    kind = chance.choice(("plain", "slope", "grain"), (0.4, 0.3, 0.3))
    if kind == "grain":
        return grain.mul(chance.log_normal(0.02, 0.7)).add_(ppm)
    if kind == "plain":
        return torch.full_like(grain, ppm)
    slope = own.new_tensor(chance.direction()) * (chance.uniform(0.2, 1.0) * ppm)
    return (slope @ own).add_(ppm).reshape(grain.shape)


def _lump(own: Tensor, chance: Chance) -> Tensor:
    """Return the distance to a star-shaped body: a sphere whose radius varies with the direction."""
    radius = own.square().sum(0).sqrt_().clamp_min_(1e-6)
    strength = chance.uniform(0.05, 0.45) / _WAVES_PER_LUMP
    waves = [[part * chance.uniform(1.5, 6.0) for part in chance.direction()] for _ in range(_WAVES_PER_LUMP)]
    phases = own.new_tensor([chance.uniform(0.0, 2 * math.pi) for _ in range(_WAVES_PER_LUMP)])
    bulges = (own.new_tensor(waves) @ (own / radius)).add_(phases[:, None]).sin_().sum(0)
    return radius.sub_(1).sub_(bulges, alpha=strength)


def _facets(own: Tensor, chance: Chance) -> Tensor:
    """Return the distance to a convex body with flat faces."""
    faces = [chance.direction() for _ in range(chance.integer(4, 12))]
    away = own.new_tensor([chance.uniform(0.4, 1.0) for _ in faces])
    cut = (own.new_tensor(faces) @ own).sub_(away[:, None]).amax(0)
    # Few faces may leave a body open; a sphere closes it.
    return torch.maximum(cut, own.square().sum(0).sqrt_().sub_(1.4))


def _pinched(own: Tensor, chance: Chance) -> Tensor:
    """Return the distance to a superquadric: from a star with sharp arms to nearly a box."""
    power = chance.log_uniform(0.6, 6.0)
    reach = own.abs().clamp_min_(1e-4).log_().mul_(power).exp_().sum(0)
    return reach.log_().div_(power).exp_().sub_(1)
