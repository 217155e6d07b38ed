"""Soups of solids and of level sets: random sizes, places, turns, edges and susceptibilities, no anatomy at all."""

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.training.datasets.canvas import Canvas, Scene, Solid, Triple, inside
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.fields import smooth_field, wave_field

_MEDIAN_PPM, _SPREAD = 0.06, 0.9
_LARGEST_PPM = 2.0


def shapes(grid: Grid, chance: Chance) -> Scene:
    """Return a soup: soft level sets of random fields below, ellipsoids, boxes and cylinders laid over them.

    Sizes are log-uniform from two voxels to half the volume, edges from one voxel to a quarter of a size.
    """
    canvas = Canvas(grid, chance)
    if chance.happens(0.6):
        _lay_level_sets(canvas, chance)
    if chance.happens(0.4):
        bumpy = canvas.edge_mm * chance.log_uniform(2.0, 8.0)
        canvas.bumps = smooth_field(grid, bumpy, chance).mul_(0.3 * bumpy * chance.uniform(0.2, 1.0))
    for _ in range(chance.integer(12, 60)):
        solid, size = random_solid(canvas, chance)
        edge = size * chance.log_uniform(0.02, 0.25)
        canvas.lay_solid(solid, limited(chance.signed(_MEDIAN_PPM, _SPREAD)), chance.uniform(0.3, 1.2), edge)
    if chance.happens(0.5):
        shade = smooth_field(grid, extent_mm(grid) / chance.uniform(2.0, 5.0), chance)
        canvas.susceptibility.add_(shade, alpha=chance.log_normal(0.015, 0.7))
    return canvas.scene(random_support(canvas, chance))


def limited(ppm: float) -> float:
    """Return a susceptibility [ppm] kept within what tissue, blood and calcium reach."""
    return max(-_LARGEST_PPM, min(_LARGEST_PPM, ppm))


def extent_mm(grid: Grid) -> float:
    """Return the least edge of the whole volume [mm]."""
    return min(size * step for size, step in zip(grid.shape, grid.voxel_size_mm, strict=True))


def random_place(grid: Grid, chance: Chance, share: float = 1.0) -> Triple:
    """Return a point anywhere in the inner share of the volume [mm from its middle]."""
    half = [share * size * step / 2 for size, step in zip(grid.shape, grid.voxel_size_mm, strict=True)]
    return chance.uniform(-half[0], half[0]), chance.uniform(-half[1], half[1]), chance.uniform(-half[2], half[2])


def random_solid(canvas: Canvas, chance: Chance) -> tuple[Solid, float]:
    """Return a solid of random kind, size, turn and place, and its mean radius [mm]."""
    size = chance.log_uniform(canvas.edge_mm, extent_mm(canvas.grid) / 4)
    radii = [size * chance.log_uniform(0.5, 2.0) for _ in range(3)]
    kind = chance.choice(("ellipsoid", "box", "cylinder"), (0.5, 0.25, 0.25))
    place = random_place(canvas.grid, chance)
    return Solid(kind, place, (radii[0], radii[1], radii[2]), chance.rotation()), size


def random_support(canvas: Canvas, chance: Chance) -> Tensor:
    """Return the distance [mm] to the surface of a random object: often the whole volume, else a wavy ellipsoid."""
    if chance.happens(0.3):
        return torch.full(canvas.grid.shape, -1e3, device=chance.device)
    half = [size * step / 2 for size, step in zip(canvas.grid.shape, canvas.grid.voxel_size_mm, strict=True)]
    radii = [length * chance.uniform(0.7, 1.25) for length in half]
    place = random_place(canvas.grid, chance, 0.25)
    level = Solid("ellipsoid", place, (radii[0], radii[1], radii[2])).distance(canvas.points)
    waviness = min(half) * chance.uniform(0.0, 0.15)
    return level.add_(smooth_field(canvas.grid, min(half) / 2, chance), alpha=waviness)


def _lay_level_sets(canvas: Canvas, chance: Chance) -> None:
    """Cut a random field at several levels, as a contour map is coloured, and paint each band."""
    length = chance.log_uniform(4 * canvas.edge_mm, extent_mm(canvas.grid) / 2)
    if chance.happens(0.5):
        field, slope = smooth_field(canvas.grid, length, chance), 2.0 / length
    else:
        field, slope = wave_field(canvas.grid, 2 * length, chance), 3.0 / length
    # A step of one voxel's width in space is a step of about slope × voxel in the field.
    width = canvas.edge_mm * slope * chance.uniform(1.0, 2.5)
    threshold = -1.5
    while threshold < 1.5:
        share = inside(threshold - field, width)
        canvas.lay(share, limited(chance.signed(_MEDIAN_PPM / 2, _SPREAD)), chance.uniform(0.4, 1.1))
        threshold += chance.uniform(0.4, 1.4)
