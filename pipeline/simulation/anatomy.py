"""The tables of the head phantom: what each tissue is, and where each structure lies.

Positions are millimetres in patient coordinates (x to the left, y to the back, z to the head) about the middle of the
brain; structures given on the left are mirrored to the right. Sizes follow textbook anatomy roughly: the phantom has to
pose the same problems as a head, not to be one. Susceptibilities and relaxation rates are typical of an adult at 3 T
(Lim 2013, doi:10.1016/j.neuroimage.2013.05.082; Sun 2015, doi:10.1002/hbm.22526).
"""

import math
from dataclasses import dataclass

import torch

from pipeline.simulation.shapes import Ellipsoid, Point, Shape, Tube


@dataclass(frozen=True)
class Tissue:
    """What a voxel full of one tissue shows.

    `susceptibility_ppm` is relative to water, `proton_density` what is left of it after T1 saturation [1 = water],
    `r2star_per_s` without the dephasing that the simulated field causes by itself.
    """

    susceptibility_ppm: float
    proton_density: float
    r2star_per_s: float


AIR_ABOVE_TISSUE_PPM = 9.4

TISSUES: dict[str, Tissue] = {
    "soft tissue": Tissue(0.05, 0.70, 30.0),
    "eye": Tissue(0.0, 0.55, 3.0),
    "bone": Tissue(-2.1, 0.06, 300.0),
    "cerebrospinal fluid": Tissue(0.0, 0.58, 2.0),
    "grey matter": Tissue(0.018, 0.82, 17.0),
    "white matter": Tissue(-0.030, 0.72, 21.0),
    "vein": Tissue(0.32, 0.62, 45.0),
    "bleed": Tissue(0.80, 0.45, 80.0),
    "calcification": Tissue(-0.40, 0.35, 50.0),
}


@dataclass(frozen=True)
class Nucleus:
    """A deep nucleus of one hemisphere: its shapes on the left, its susceptibility on either side [ppm]."""

    name: str
    shapes: tuple[Shape, ...]
    left_ppm: float
    right_ppm: float
    proton_density: float
    r2star_per_s: float


# The two sides differ on purpose: a map turned left for right must not pass.
NUCLEI: tuple[Nucleus, ...] = (
    Nucleus("thalamus", (Ellipsoid((11.5, 14.0, 7.0), (7.5, 13.5, 8.5), 25.0),), 0.012, 0.006, 0.76, 20.0),
    Nucleus(
        "caudate nucleus",
        (
            Ellipsoid((13.0, -16.0, 6.5), (5.5, 10.0, 9.0), 8.0),
            Tube(((13.5, -10.0, 14.0), (16.5, 4.0, 19.0), (21.0, 20.0, 17.0)), (4.2, 3.4, 2.4)),
        ),
        0.052,
        0.044,
        0.78,
        22.0,
    ),
    Nucleus("putamen", (Ellipsoid((27.0, -3.0, 2.5), (5.0, 15.5, 10.5), 11.0),), 0.056, 0.047, 0.76, 25.0),
    Nucleus(
        "globus pallidus externus", (Ellipsoid((20.8, -2.0, 0.5), (2.6, 9.5, 7.0), 17.0),), 0.135, 0.122, 0.68, 38.0
    ),
    Nucleus(
        "globus pallidus internus", (Ellipsoid((16.2, 0.5, -1.5), (2.5, 7.0, 5.0), 22.0),), 0.118, 0.106, 0.68, 36.0
    ),
    Nucleus("red nucleus", (Ellipsoid((5.3, 16.0, -9.5), (3.4, 3.7, 4.4)),), 0.105, 0.095, 0.70, 31.0),
    Nucleus(
        "substantia nigra", (Ellipsoid((10.0, 9.0, -12.5), (2.5, 6.5, 5.0), 38.0, 20.0),), 0.125, 0.112, 0.69, 34.0
    ),
    Nucleus("dentate nucleus", (Ellipsoid((14.5, 49.0, -34.0), (5.5, 8.5, 4.6), 18.0),), 0.092, 0.083, 0.74, 27.0),
)

BLEED = Ellipsoid((33.0, -34.0, 26.0), (3.4, 4.0, 3.2))
CALCIFICATION = Ellipsoid((-29.0, 36.0, 28.0), (3.0, 3.3, 2.8))


def _both(*shapes: Shape) -> tuple[Shape, ...]:
    return tuple(side for shape in shapes for side in (shape, shape.mirrored()))


BRAIN_STEM: tuple[Shape, ...] = (
    Ellipsoid((0.0, 17.0, -29.0), (15.0, 13.0, 15.0)),
    Tube(((0.0, 14.0, -8.0), (0.0, 22.0, -40.0), (0.0, 29.0, -66.0)), (15.0, 11.0, 7.0)),
)

BRAIN: tuple[Shape, ...] = (
    Ellipsoid((0.0, 5.0, 20.0), (67.0, 83.0, 55.0)),
    *_both(
        Ellipsoid((41.0, -6.0, -19.0), (22.0, 37.0, 21.0), 8.0),
        Ellipsoid((21.0, 50.0, -36.0), (29.0, 26.0, 21.0)),
    ),
    *BRAIN_STEM,
)

FACE: tuple[Shape, ...] = (
    Ellipsoid((0.0, -38.0, -48.0), (54.0, 54.0, 58.0)),
    Ellipsoid((0.0, -95.0, -38.0), (13.0, 14.0, 20.0)),
    Ellipsoid((0.0, -76.0, -4.0), (34.0, 18.0, 24.0)),
    Tube(((0.0, 18.0, -50.0), (0.0, 30.0, -120.0), (0.0, 34.0, -190.0)), (52.0, 54.0, 62.0)),
)

VENTRICLES: tuple[Shape, ...] = (
    *_both(
        Tube(
            (
                (5.0, -26.0, 8.0),
                (6.5, -8.0, 15.0),
                (9.0, 12.0, 20.0),
                (20.0, 33.0, 13.0),
                (31.0, 22.0, -6.0),
                (33.0, 2.0, -14.0),
            ),
            (3.8, 4.6, 4.4, 5.2, 3.0, 2.0),
        ),
        Tube(((20.0, 33.0, 13.0), (19.0, 55.0, 10.0)), (4.4, 2.0)),
    ),
    Ellipsoid((0.0, 7.0, 0.0), (2.0, 13.0, 9.0)),
    Tube(((0.0, 17.0, -4.0), (0.0, 26.0, -18.0), (0.0, 33.0, -26.0)), (1.4, 1.2, 1.6)),
    Ellipsoid((0.0, 35.5, -33.0), (7.0, 4.5, 8.0)),
)

EYES: tuple[Shape, ...] = _both(Ellipsoid((31.0, -73.0, -30.0), (12.0, 12.0, 12.0)))

OPEN_TO_THE_OUTSIDE: tuple[Shape, ...] = _both(
    Tube(((50.0, 13.0, -40.0), (64.0, 12.0, -41.0), (90.0, 10.0, -41.0)), (5.0, 3.0, 3.5))
)
"""The ear canals."""

AIR_CELLS: tuple[Shape, ...] = (
    *OPEN_TO_THE_OUTSIDE,
    *_both(
        Ellipsoid((11.0, -82.0, -4.0), (11.0, 8.0, 13.0), 10.0),
        Ellipsoid((25.0, -56.0, -58.0), (12.0, 14.0, 14.0)),
        Ellipsoid((55.0, 27.0, -41.0), (8.0, 10.0, 12.0)),
    ),
    Ellipsoid((1.0, -23.0, -43.0), (13.0, 12.0, 9.0)),
    Ellipsoid((0.0, -52.0, -33.0), (11.0, 15.0, 10.0)),
    Ellipsoid((0.0, -66.0, -54.0), (8.0, 22.0, 14.0)),
    Tube(((0.0, -36.0, -60.0), (0.0, -22.0, -90.0), (0.0, -18.0, -190.0)), (8.0, 7.0, 8.0)),
)

CORPUS_CALLOSUM = Ellipsoid((0.0, 6.0, 10.0), (60.0, 40.0, 20.0))


def veins(seed: int) -> tuple[Shape, ...]:
    """Return the veins: the great ones in their places, small ones strewn by a seed."""
    chance = torch.Generator().manual_seed(seed)
    great: tuple[Shape, ...] = (
        Tube(((0.0, 26.0, 14.0), (0.0, 44.0, 4.0), (0.0, 78.0, 2.0)), (2.0, 2.0, 2.3)),
        *_both(
            Tube(((2.0, -10.0, 11.0), (2.5, 8.0, 13.0), (0.5, 26.0, 14.0)), (0.9, 1.1, 1.4)),
            Tube(((2.0, -10.0, 11.0), (11.0, -24.0, 15.0), (20.0, -32.0, 22.0)), (0.9, 0.7, 0.5)),
            Tube(((2.5, -8.0, 12.0), (15.0, 6.0, 14.5), (21.0, 18.0, 13.0)), (0.9, 0.8, 0.6)),
            Tube(((14.0, 20.0, -16.0), (15.0, 30.0, -6.0), (4.0, 36.0, 8.0)), (1.2, 1.3, 1.6)),
        ),
    )
    medullary = tuple(_medullary_vein(chance, index) for index in range(26))
    cortical = tuple(_cortical_vein(chance) for _ in range(22))
    return (*great, *medullary, *cortical)


def _uniform(chance: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=chance))


def _medullary_vein(chance: torch.Generator, index: int) -> Tube:
    """Return a thin vein that runs from a lateral ventricle outwards into the white matter."""
    side = 1.0 if index % 2 else -1.0
    along = _uniform(chance, -26.0, 36.0)
    start = (side * 13.0, along, 22.0 - 0.004 * along**2)
    reach = _uniform(chance, 14.0, 28.0)
    angle = math.radians(_uniform(chance, 5.0, 65.0))
    end = (
        start[0] + side * reach * math.cos(angle),
        along + _uniform(chance, -6.0, 6.0),
        start[2] + reach * math.sin(angle),
    )
    return Tube((start, end), (_uniform(chance, 0.6, 0.9), 0.35))


def _cortical_vein(chance: torch.Generator) -> Tube:
    """Return a vein that runs over the convexity of the brain, a few millimetres below its surface."""
    towards, height = _uniform(chance, 0.0, 2 * math.pi), _uniform(chance, 0.15, 0.8)
    bend = _uniform(chance, 0.25, 0.5)
    knots: list[Point] = []
    for step in range(4):
        angle, level = towards + 0.12 * step, min(height + bend * step / 3, 0.97)
        ring = math.sqrt(1 - level**2)
        knots.append((63.0 * ring * math.sin(angle), 5.0 + 79.0 * ring * math.cos(angle), 20.0 + 51.0 * level))
    return Tube(tuple(knots), tuple(_uniform(chance, 0.7, 1.5) for _ in knots))
