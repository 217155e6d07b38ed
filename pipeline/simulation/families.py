"""Families of random heads of different character, so that no method is judged on the anatomy it was tuned on.

A seed decides a head: sizes, places and susceptibilities of the nuclei, textures, veins, lesions and air. Methods are
tuned on heads of one set of seeds and reported on another (`pipeline/studies/cases.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.errors import UnknownMethod
from pipeline.method import nearest
from pipeline.simulation.anatomy import TISSUES
from pipeline.simulation.phantom import Head, Structure, adult_head
from pipeline.simulation.shapes import Ellipsoid, Point, Shape, Tube

_COARSE, _FINE = 3, 4
"""Where the head's lattice keeps its two textures; see `adult_head`."""
_LESIONS = ("Bleed", "Calcification")
_GREAT_VEIN_MM = 0.95


@dataclass(frozen=True)
class Family:
    """Heads of one character: what they are like, and how one is made from a seed."""

    name: str
    description: str
    head: Callable[[int], Head]


def piecewise_smooth_head(seed: int) -> Head:
    """Return a head of even tissues: no texture, no lesion, great veins only; a slow shade lies over everything."""
    head = _varied_head(seed)
    values = head.lattice.values.clone()
    values[_COARSE] = _slow_field(values[_COARSE].shape, seed)
    values[_FINE] = 0.0
    kept = tuple(part for part in head.structures if part.name not in _LESIONS and not _is_small_vein(part))
    return replace(head, lattice=replace(head.lattice, values=values), structures=kept)


def textured_head(seed: int) -> Head:
    """Return a head of uneven tissues with many thin veins, a bleed of 0.8 ppm and a calcification of −0.4 ppm.

    Its texture is strong and ribbed, without the flat patches that total variation favours.
    """
    head = _varied_head(seed)
    chance = torch.Generator().manual_seed(seed + 1)
    values = head.lattice.values.clone()
    ribs = (values[_COARSE] * 2.5).sin() * 1.2
    values[_FINE] = 1.6 * values[_FINE] + ribs
    values[_COARSE] = 1.8 * values[_COARSE]
    veins = tuple(Structure("vein", _thin_vein(chance), TISSUES["vein"]) for _ in range(60))
    moved = tuple(_moved_lesion(part, chance) if part.name in _LESIONS else part for part in head.structures)
    return replace(head, lattice=replace(head.lattice, values=values), structures=(*veins, *moved))


def strong_background_head(seed: int) -> Head:
    """Return a head whose sinuses, mastoids and ear canals are large and come within millimetres of the brain."""
    head = _varied_head(seed)
    chance = torch.Generator().manual_seed(seed + 2)
    wide = _between(chance, 0.9, 1.25)
    sides: list[Shape] = [
        Ellipsoid((12.0, -80.0, 2.0), (13.0 * wide, 11.0, 15.0), 10.0),
        Ellipsoid((52.0, 30.0, -36.0), (11.0, 13.0 * wide, 13.0)),
        Ellipsoid((44.0, 14.0, -44.0), (9.0, 9.0, 8.0 * wide)),
        Ellipsoid((16.0, -46.0, -29.0), (10.0, 14.0 * wide, 8.0)),
    ]
    middle = Ellipsoid((0.0, -22.0, -36.0), (14.0, 12.0, 10.0 * wide))
    air = (*head.air_cells, middle, *(side for shape in sides for side in (shape, shape.mirrored())))
    return replace(head, air_cells=air)


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("piecewise_smooth", "even tissues under a slow shade, no lesion", piecewise_smooth_head),
        Family("textured", "ribbed texture, thin veins, a bleed and a calcification", textured_head),
        Family("strong_background", "large air cells within millimetres of the brain", strong_background_head),
    )
}


def find_family(name: str) -> Family:
    """Return the family of that name.

    Raises
    ------
    UnknownMethod
        There is none; the sentence names the nearest right one.
    """
    if name not in FAMILIES:
        raise UnknownMethod(f"There is no phantom family '{name}'; {nearest(name, FAMILIES)}")
    return FAMILIES[name]


def _varied_head(seed: int) -> Head:
    """Return the adult head with nuclei of random size, place and susceptibility; folds and veins follow the seed."""
    head = adult_head(seed)
    chance = torch.Generator().manual_seed(seed)
    variations: dict[str, tuple[Point, float, float]] = {}
    structures = []
    for part in head.structures:
        if not part.label or part.name in _LESIONS:
            structures.append(part)
            continue
        # A nucleus made of several shapes moves and grows as one.
        shift, scale, strength = variations.setdefault(part.name, _variation(chance))
        tissue = replace(part.tissue, susceptibility_ppm=part.tissue.susceptibility_ppm * strength)
        structures.append(replace(part, shape=_varied(part.shape, shift, scale), tissue=tissue))
    return replace(head, structures=tuple(structures))


def _variation(chance: torch.Generator) -> tuple[Point, float, float]:
    """Return a shift [mm], a scale of size and a factor of susceptibility."""
    shift = (_between(chance, -1.5, 1.5), _between(chance, -2.0, 2.0), _between(chance, -1.5, 1.5))
    return shift, _between(chance, 0.92, 1.2), _between(chance, 0.7, 1.4)


def _varied(shape: Shape, shift: Point, scale: float) -> Shape:
    if isinstance(shape, Ellipsoid):
        radii = tuple(scale * radius for radius in shape.radii)
        return replace(shape, centre=_sum(shape.centre, shift), radii=(radii[0], radii[1], radii[2]))
    assert isinstance(shape, Tube)
    knots = tuple(_sum(knot, shift) for knot in shape.knots)
    return replace(shape, knots=knots, radii=tuple(scale * radius for radius in shape.radii))


def _moved_lesion(part: Structure, chance: torch.Generator) -> Structure:
    """Return a lesion of random size somewhere in the white matter of its hemisphere."""
    assert isinstance(part.shape, Ellipsoid)
    side = 1.0 if part.shape.centre[0] > 0 else -1.0
    centre = (side * _between(chance, 26.0, 38.0), _between(chance, -36.0, 40.0), _between(chance, 24.0, 36.0))
    scale = _between(chance, 0.8, 1.4)
    radii = tuple(scale * radius for radius in part.shape.radii)
    return replace(part, shape=Ellipsoid(centre, (radii[0], radii[1], radii[2])))


def _thin_vein(chance: torch.Generator) -> Tube:
    """Return a bent vein of 0.3 to 0.7 mm radius at a random place in the upper brain."""
    start = (_between(chance, -45.0, 45.0), _between(chance, -55.0, 60.0), _between(chance, 0.0, 55.0))
    knots = [start]
    for _ in range(2):
        step = (_between(chance, -11.0, 11.0), _between(chance, -11.0, 11.0), _between(chance, -11.0, 11.0))
        knots.append(_sum(knots[-1], step))
    radius = _between(chance, 0.35, 0.7)
    return Tube(tuple(knots), (radius, 0.9 * radius, 0.3))


def _is_small_vein(part: Structure) -> bool:
    return part.name == "vein" and isinstance(part.shape, Tube) and max(part.shape.radii) < _GREAT_VEIN_MM


def _slow_field(shape: torch.Size, seed: int) -> Tensor:
    """Return a field of unit variance that changes over centimetres."""
    knots = torch.randn((1, 1, 6, 6, 6), generator=torch.Generator().manual_seed(seed + 3))
    field = torch.nn.functional.interpolate(knots, size=tuple(shape), mode="trilinear", align_corners=True)[0, 0]
    return field / field.std()


def _between(chance: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=chance))


def _sum(first: Point, second: Point) -> Point:
    return first[0] + second[0], first[1] + second[1], first[2] + second[2]
