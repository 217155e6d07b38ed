"""Random heads: nested bent ellipsoids, a folded cortex, ventricles, deep nuclei, veins and lesions.

They have the looks of a brain and none of the measures of the held-out heads of `pipeline.simulation`: places, sizes
and susceptibilities spread widely, and the folds are level sets of waves of one length instead of smoothed noise.
Points are (z to the head, y to the back, x to the left) [mm] about the middle of the brain.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.training.datasets.canvas import Canvas, Scene, Solid, Triple, inside
from pipeline.training.datasets.chance import Chance, rotation_about
from pipeline.training.datasets.fields import enlarged, rough_field, smooth_field, wave_field
from pipeline.training.datasets.vessels import lay_lesions, lay_veins

_UP = torch.tensor([1.0, 0.0, 0.0])
_MIRROR = torch.diag(torch.tensor([1.0, 1.0, -1.0]))
_BEND_MM, _BEND_SPACING_MM = 2.6, 30.0
_DOME_MM = (56.0, 82.0, 66.0)
_N_WAVES = 24
_STRAIGHTNESS = 0.55
"""0: folds wind through the brain in any direction; 1: they go straight down from its surface."""


@dataclass(frozen=True)
class Nucleus:
    """A deep nucleus of one side: place and radii [mm], turn about the vertical [degree], susceptibility [ppm]."""

    centre: Triple
    radii: Triple
    turn_deg: float
    ppm: float
    deviation_ppm: float
    signal: float


# Means and twice the standard deviations over adults of Lim 2013, doi:10.1016/j.neuroimage.2013.05.082, rounded.
NUCLEI: dict[str, Nucleus] = {
    "thalamus": Nucleus((6.0, 13.0, 11.0), (9.0, 14.0, 8.0), 25.0, 0.01, 0.02, 0.90),
    "caudate head": Nucleus((7.0, -17.0, 13.0), (9.0, 9.0, 5.5), 10.0, 0.05, 0.04, 0.90),
    "caudate body": Nucleus((19.0, 6.0, 16.5), (4.0, 17.0, 3.5), 14.0, 0.05, 0.04, 0.90),
    "putamen": Nucleus((3.0, -3.0, 26.0), (10.0, 15.0, 5.5), 12.0, 0.06, 0.06, 0.85),
    "outer pallidum": Nucleus((1.0, -2.0, 20.0), (6.5, 9.5, 2.8), 18.0, 0.14, 0.08, 0.72),
    "inner pallidum": Nucleus((-1.5, 1.0, 15.8), (5.0, 6.5, 2.5), 22.0, 0.12, 0.08, 0.72),
    "subthalamic nucleus": Nucleus((-6.0, 11.0, 11.0), (2.5, 4.5, 2.5), 30.0, 0.09, 0.06, 0.78),
    "red nucleus": Nucleus((-9.0, 16.0, 5.2), (4.0, 3.6, 3.4), 0.0, 0.11, 0.07, 0.78),
    "substantia nigra": Nucleus((-12.0, 10.0, 9.5), (5.0, 6.0, 2.5), 35.0, 0.13, 0.08, 0.75),
    "dentate nucleus": Nucleus((-34.0, 50.0, 15.0), (4.8, 8.5, 5.5), 15.0, 0.10, 0.06, 0.82),
    "hippocampus": Nucleus((-14.0, 14.0, 28.0), (4.5, 18.0, 5.0), 20.0, 0.0, 0.02, 1.0),
}

_VENTRICLES: tuple[tuple[Triple, Triple, float], ...] = (
    ((9.0, -28.0, 8.0), (9.0, 11.0, 3.5), 20.0),
    ((17.0, -2.0, 8.0), (5.0, 27.0, 4.5), 8.0),
    ((9.0, 31.0, 20.0), (9.0, 9.0, 6.5), 30.0),
    ((5.0, 49.0, 22.0), (4.0, 14.0, 4.0), 0.0),
    ((-12.0, 8.0, 32.0), (4.0, 17.0, 3.0), 12.0),
)
_MIDDLE_VENTRICLES: tuple[tuple[Triple, Triple], ...] = (
    ((0.0, 6.0, 0.0), (10.0, 13.0, 2.2)),
    ((-36.0, 37.0, 0.0), (9.0, 4.5, 7.0)),
)


@dataclass(frozen=True)
class _Outline:
    """Distances [mm] to the surfaces of brain and stem, to the border of the cerebellum (negative in it), and folds."""

    brain: Tensor
    to_cerebellum: Tensor
    stem: Tensor
    folds: Tensor


@dataclass(frozen=True)
class _Matter:
    """Susceptibility [ppm] and signal of the three great tissues in one head."""

    white: float
    grey: float
    fluid: float
    white_signal: float
    grey_signal: float
    fluid_signal: float

    @classmethod
    def drawn(cls, chance: Chance) -> "_Matter":
        return cls(
            chance.normal(-0.03, 0.015),
            chance.normal(0.02, 0.015),
            chance.normal(0.0, 0.008),
            chance.uniform(0.7, 1.0),
            chance.uniform(0.75, 1.05),
            chance.uniform(0.45, 1.3),
        )


def heads(grid: Grid, chance: Chance) -> Scene:
    """Return a part of a random brain, or all of it where the voxels are large enough."""
    scale = chance.uniform(0.8, 1.12)
    canvas = _placed(grid, chance, scale)
    outline = _outline(canvas, chance, scale)
    matter = _Matter.drawn(chance)
    _fill(canvas, chance, matter, outline)
    canvas.bumps = smooth_field(grid, 6.0, chance).mul_(0.6)
    _lay_ventricles(canvas, chance, matter, scale)
    _lay_nuclei(canvas, chance, scale)
    grain = rough_field(grid, chance.uniform(1.5, 3.5), chance, 30.0)
    canvas.susceptibility.add_(grain, alpha=chance.log_normal(0.005, 0.5))
    lay_veins(canvas, chance, chance.integer(6, 30), abs(chance.normal(0.3, 0.1)))
    if chance.happens(0.35):
        lay_lesions(canvas, chance, chance.integer(1, 5))
    canvas.susceptibility.mul_(chance.log_normal(1.0, 0.35))
    return canvas.scene(outline.brain.sub_(chance.uniform(0.0, 2.5)))


def _placed(grid: Grid, chance: Chance, scale: float) -> Canvas:
    """Return a canvas somewhere in the brain, turned as heads lie, its space bent so that no two sides are alike."""
    turn = chance.rotation(180.0 if chance.happens(0.1) else 22.0)
    origin = []
    for radius, size, step in zip((52.0, 72.0, 58.0), grid.shape, grid.voxel_size_mm, strict=True):
        spare = max(8.0, radius * scale - 0.3 * size * step)
        origin.append(chance.uniform(-spare, spare))
    canvas = Canvas(grid, chance, turn, (origin[0], origin[1], origin[2]))
    for axis in range(3):
        canvas.points[axis].add_(smooth_field(grid, _BEND_SPACING_MM, chance), alpha=_BEND_MM)
    canvas.slack_mm = 3 * _BEND_MM
    return canvas


def _outline(canvas: Canvas, chance: Chance, scale: float) -> _Outline:
    """Return distances and folds; smooth as they are, they are found on every other voxel."""
    shape = [size // 2 + 1 for size in canvas.grid.shape]
    points = enlarged(canvas.points, (shape[0], shape[1], shape[2]))
    waves = _folds(points, chance, scale)
    points[2].abs_()

    def part(centre: Triple, radii: Triple) -> Tensor:
        z, y, x = (scale * (place + chance.normal(0.0, 1.5) * (place != 0.0)) for place in centre)
        a, b, c = (scale * radius * chance.uniform(0.92, 1.08) for radius in radii)
        return Solid("ellipsoid", (z, y, x), (a, b, c)).distance(points)

    dome = part((18.0, 3.0, 0.0), _DOME_MM)
    temple = part((-17.0, -6.0, 40.0), (22.0, 36.0, 22.0))
    cerebellum = part((-37.0, 50.0, 19.0), (21.0, 26.0, 28.0))
    stem = part((-38.0, 20.0, 0.0), (46.0, 12.0, 13.0))
    cerebrum = _blended(dome, temple, 8.0)
    brain = _blended(_blended(cerebrum, cerebellum, 4.0), stem, 4.0)
    to_cerebellum = cerebellum - cerebrum
    return _Outline(*enlarged(torch.stack((brain, to_cerebellum, stem, waves)), canvas.grid.shape))


def _folds(points: Tensor, chance: Chance, scale: float) -> Tensor:
    """Return waves of one length over the surface of the brain, whose zero level is at a distance in mm nearby.

    They change slowly along a line out of the middle, so that furrows go down from the surface.
    """
    wavelength = scale * chance.uniform(19.0, 27.0)
    stretched = points / (scale * points.new_tensor(_DOME_MM))[:, None, None, None]
    radius = stretched.square_().sum(0).sqrt_().clamp_min_(0.5)
    waves = torch.tensor([chance.direction() for _ in range(_N_WAVES)], device=chance.device)
    phases = torch.tensor([chance.uniform(0.0, 2 * math.pi) for _ in range(_N_WAVES)], device=chance.device)
    spread = (points / radius.pow_(_STRAIGHTNESS)).flatten(1)
    folds = (waves @ spread).mul_(2 * math.pi / wavelength).add_(phases[:, None]).cos_().sum(0)
    # A wave's component along the surface is on average √(2/3) of its length.
    return folds.mul_(math.sqrt(2 / _N_WAVES) * wavelength / (2 * math.pi) * math.sqrt(1.5)).reshape(radius.shape)


def _blended(first: Tensor, second: Tensor, width_mm: float) -> Tensor:
    """Return the distance to the union of two bodies, the crease between them rounded over a width [mm]."""
    overlap = (width_mm - (first - second).abs_()).clamp_min_(0).square_().div_(4 * width_mm)
    return torch.minimum(first, second).sub_(overlap)


def _fill(canvas: Canvas, chance: Chance, matter: _Matter, outline: _Outline) -> None:
    """Lay white matter, the folded cortex around it and the fluid in its furrows."""
    to_fluid = _distance_to_fluid(canvas, chance, outline)
    core = 1.5 - outline.stem
    canvas.susceptibility.fill_(matter.white)
    canvas.signal.fill_(matter.white_signal)
    tracts = smooth_field(canvas.grid, chance.uniform(8.0, 20.0), chance)
    canvas.susceptibility.add_(tracts, alpha=chance.log_normal(0.008, 0.5))
    cortex_mm = chance.uniform(2.0, 3.6)
    # The stem has neither cortex nor furrows; its distance keeps both away.
    to_cortex = torch.maximum(to_fluid - cortex_mm, core)
    canvas.lay(inside(to_cortex, canvas.edge_mm), matter.grey, matter.grey_signal)
    to_furrow = torch.maximum(to_fluid, torch.minimum(core, -outline.brain))
    canvas.lay(inside(to_furrow, canvas.edge_mm), matter.fluid, matter.fluid_signal)


def _distance_to_fluid(canvas: Canvas, chance: Chance, outline: _Outline) -> Tensor:
    """Return the distance [mm] to the fluid: outside the brain, between its halves and in the furrows of both."""
    z, y, x = canvas.points
    halves = (x + smooth_field(canvas.grid, 25.0, chance).mul_(1.2)).abs_().sub_(chance.uniform(0.4, 1.3))
    core = ((z - 4.0) / 24.0).square_().add_(((y - 4.0) / 44.0).square_()).sqrt_()
    halves = torch.maximum(halves, (1.0 - core).mul_(24.0))
    halves = torch.maximum(halves, -12.0 - z)
    surface = torch.minimum(halves, -outline.brain)
    fine = chance.uniform(7.0, 10.0)
    leaves = wave_field(canvas.grid, fine, chance).abs_().mul_(fine / (2 * math.pi)).add_(0.4)
    furrow = torch.where(outline.to_cerebellum < 0, leaves, outline.folds.abs()).sub_(chance.uniform(0.3, 1.1))
    # Furrows of the inner walls are shallower than those of the outer surface.
    deepest = smooth_field(canvas.grid, 15.0, chance).mul_(3.0).add_(chance.uniform(11.0, 18.0))
    beyond = torch.minimum(halves + 8.0, -outline.brain).sub_(deepest)
    return torch.minimum(torch.maximum(furrow, beyond), surface)


def _lay_both(canvas: Canvas, chance: Chance, solid: Solid, ppm: float, signal: float, unlike_ppm: float = 0.0) -> None:
    """Lay a solid and its mirror image, whose susceptibility differs a little."""
    z, y, x = solid.centre
    mirrored = Solid(solid.kind, (z, y, -x), solid.radii, solid.turn @ _MIRROR)
    canvas.lay_solid(solid, ppm, signal)
    canvas.lay_solid(mirrored, ppm + chance.normal(0.0, unlike_ppm), signal)


def _lay_ventricles(canvas: Canvas, chance: Chance, matter: _Matter, scale: float) -> None:
    wide = chance.log_normal(1.0, 0.3)
    for place, radii, turn_deg in _VENTRICLES:
        solid = _varied(chance, place, radii, turn_deg, scale, wide)
        _lay_both(canvas, chance, solid, matter.fluid, matter.fluid_signal)
    for place, radii in _MIDDLE_VENTRICLES:
        canvas.lay_solid(_varied(chance, place, radii, 0.0, scale, wide), matter.fluid, matter.fluid_signal)


def _lay_nuclei(canvas: Canvas, chance: Chance, scale: float) -> None:
    iron = chance.log_normal(1.0, 0.3)
    for nucleus in NUCLEI.values():
        solid = _varied(chance, nucleus.centre, nucleus.radii, nucleus.turn_deg, scale, 1.0)
        ppm = chance.normal(nucleus.ppm, nucleus.deviation_ppm) * iron
        _lay_both(canvas, chance, solid, ppm, nucleus.signal, 0.3 * nucleus.deviation_ppm)


def _varied(chance: Chance, place: Triple, radii: Triple, turn_deg: float, scale: float, width: float) -> Solid:
    """Return an ellipsoid near its place in the table, its size and turn a little different."""
    z, y, x = (scale * (value + chance.normal(0.0, 1.2) * (value != 0.0)) for value in place)
    a, b, c = (scale * radius * width * chance.uniform(0.85, 1.2) for radius in radii)
    turn = rotation_about(_UP, math.radians(turn_deg + chance.normal(0.0, 6.0)))
    return Solid("ellipsoid", (z, y, x), (a, b, c), turn @ chance.rotation(10.0))
