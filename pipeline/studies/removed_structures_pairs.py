"""Pairs of scans that differ by one kind of thing only: with and without veins, rims and bleeds at known places."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from scipy import ndimage
from torch import Tensor

from pipeline.grid import Grid
from pipeline.operators.dipole import Dipole
from pipeline.operators.padding import fast_even_size
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.sample import Sample

_FINER = 2
"""Samples per voxel along each axis, of which shapes and their fields are averaged."""
_MARGIN_VOXELS = 16
_RING_VOXELS = (1.5, 4.0)
"""From where to where around a structure its surroundings are measured."""
_SPACING_VOXELS = 5.0
_LARGEST_SHARE_OF_OTHERS = 0.25
"""Of a structure's contrast, what the scene may hold at its place already."""
_CLEARANCE_VOXELS = 2.5
"""Between what a structure and its ring reach and the surface of the mask."""
_FOUND_BY_CHANCE = 300
_DECAY_PER_PPM = 6.0
"""Of the signal at an echo time of 20 ms at 3 T."""
_LARGEST_NOISE_PPM = 0.12


@dataclass(frozen=True)
class Structure:
    """A kind of thing with its size and contrast.

    Attributes
    ----------
    kind
        "vein", a straight tube; "rim", the shell of a ball; "bleed", a ball.
    diameter
        Of the tube or ball [voxel].
    ppm
        Its susceptibility above its surroundings [ppm].
    """

    kind: str
    diameter: float
    ppm: float

    @property
    def name(self) -> str:
        """Return what a table calls it."""
        return f"{self.kind}, {self.diameter:g} voxels, {self.ppm:g} ppm"

    @property
    def reach(self) -> float:
        """Return how far it extends from its middle [voxel]."""
        half = _VEIN_LENGTH / 2 if self.kind == "vein" else self.diameter / 2
        return half + _RING_VOXELS[1]

    def distance(self, points: Tensor, along: Tensor) -> Tensor:
        """Return the signed distance [voxel] of points `(3, …)` about its middle; `along` is a vein's direction."""
        if self.kind == "vein":
            height = torch.tensordot(along, points, 1)
            across = (points.square().sum(0) - height.square()).clamp_min(0).sqrt() - self.diameter / 2
            return torch.maximum(across, height.abs() - _VEIN_LENGTH / 2)
        away = points.square().sum(0).sqrt()
        if self.kind == "rim":
            return (away - (self.diameter - _RIM_THICKNESS) / 2).abs() - _RIM_THICKNESS / 2
        return away - self.diameter / 2


_VEIN_LENGTH, _RIM_THICKNESS = 9.0, 1.2

STRUCTURES = (
    Structure("vein", 1.0, 0.3),
    Structure("rim", 6.0, 0.05),
    Structure("bleed", 1.0, 0.8),
    Structure("vein", 1.0, 0.15),
    Structure("rim", 6.0, 0.1),
    Structure("bleed", 2.0, 0.2),
    Structure("vein", 2.0, 0.15),
    Structure("rim", 4.0, 0.15),
    Structure("bleed", 3.0, 0.4),
    Structure("bleed", 4.0, 0.8),
)
"""Blood in a vein is about 0.3 ppm above tissue, where it fills the voxel; a lesion's rim 0.1; a bleed 0.2 and more."""


@dataclass(frozen=True)
class Place:
    """Where a structure is, or would be: its voxels, and the ring around it that its contrast is measured against.

    `box` holds them, and `fine_share` is the part of each finer sample in it that the structure fills; `voxels` and
    `ring` are flat indices of the volume, and `share` the part of each of the voxels that it fills.
    """

    structure: Structure
    centre: tuple[float, float, float]
    box: tuple[slice, slice, slice]
    fine_share: Tensor
    voxels: Tensor
    share: Tensor
    ring: Tensor

    def contrast(self, susceptibility: Tensor) -> float:
        """Return the contrast of a map at this place, over that which the structure makes there: 1 as it should be.

        The contrast is the mean over its voxels, weighed by what it fills of them, less the median of the ring.
        """
        values = susceptibility.flatten().double()
        weights = self.share.double()
        inside = float((values[self.voxels] * weights).sum() / weights.sum())
        own = self.structure.ppm * float(weights.square().sum() / weights.sum())
        return (inside - float(values[self.ring].median())) / own


@dataclass(frozen=True)
class Pair:
    """A scan without the structures and the same scan with them.

    `present` are their places; `decoys` are places of the same footprints where neither scan has one; `far` are voxels
    of the mask away from all structures.
    """

    without: Sample
    with_them: Sample
    present: tuple[Place, ...]
    decoys: tuple[Place, ...]
    far: Tensor


def removed_structure_pair(
    scene: Sample, structures: Sequence[Structure], chance: Chance, largest_number: int = 5
) -> Pair | None:
    """Lay structures into a scan, each where the scene holds nothing like it; None where no place is found.

    Their susceptibility adds to the scene's and their field to its field, from shapes finer than a voxel; they dim the
    image as iron does, and the noise of the field grows by as much. All else, noise included, is the same.

    Parameters
    ----------
    scene
        The scan without them.
    structures
        In order of preference; each is laid once at most.
    chance
        Decides places and directions.
    largest_number
        How many are laid at most.
    """
    depth = torch.from_numpy(ndimage.distance_transform_edt(_padded(scene.mask))[1:-1, 1:-1, 1:-1]).float()
    taken: list[Place] = []
    present: list[Place] = []
    decoys: list[Place] = []
    for structure in structures:
        if len(present) >= largest_number:
            break
        place = _free_place(scene, structure, depth, taken, chance)
        if place is None:
            continue
        present.append(place)
        taken.append(place)
        decoy = _free_place(scene, structure, depth, taken, chance)
        if decoy is not None:
            decoys.append(decoy)
            taken.append(decoy)
    if not present:
        return None
    return Pair(scene, _with_structures(scene, present, chance), tuple(present), tuple(decoys), _far(scene, present))


def pairs_of(
    scenes: Sequence[Sample], structures: Sequence[Structure], seed: int, largest_number: int = 5
) -> Iterator[Pair]:
    """Yield a pair for every scene that has room, the structures in another order for each; the same for one seed."""
    for number, scene in enumerate(scenes):
        first = number * largest_number % len(structures)
        order = [*structures[first:], *structures[:first]]
        pair = removed_structure_pair(
            scene, order, Chance(f"pair/{seed}/{number}", torch.device("cpu")), largest_number
        )
        if pair is not None:
            yield pair


def _free_place(
    scene: Sample, structure: Structure, depth: Tensor, taken: Sequence[Place], chance: Chance
) -> Place | None:
    """Return a place within the mask and away from others, where the truth's own contrast is slight."""
    for _ in range(_FOUND_BY_CHANCE):
        z, y, x = (chance.uniform(0, size - 1) for size in scene.grid.shape)
        along = torch.tensor(chance.direction())
        if float(depth[round(z), round(y), round(x)]) < structure.reach + _CLEARANCE_VOXELS:
            continue
        if any(
            math.dist((z, y, x), other.centre) < structure.reach + other.structure.reach + _SPACING_VOXELS
            for other in taken
        ):
            continue
        place = _place(structure, (z, y, x), along, scene.grid.shape)
        if abs(place.contrast(scene.susceptibility)) <= _LARGEST_SHARE_OF_OTHERS:
            return place
    return None


def _place(
    structure: Structure, centre: tuple[float, float, float], along: Tensor, shape: tuple[int, int, int]
) -> Place:
    half = math.ceil(structure.reach) + 1
    z, y, x = (slice(round(at) - half, round(at) + half + 1) for at in centre)
    axes = [torch.arange(cut.start, cut.stop) for cut in (z, y, x)]
    fine = _fine_share(structure, centre, along, axes)
    share = torch.nn.functional.avg_pool3d(fine[None], _FINER)[0]
    positions = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    from_centre = positions - torch.tensor(centre)[:, None, None, None]
    distance = structure.distance(from_centre, along)
    in_ring = (distance > _RING_VOXELS[0]) & (distance <= _RING_VOXELS[1])
    if structure.kind == "rim":
        in_ring &= from_centre.square().sum(0).sqrt() > structure.diameter / 2
    flat = (positions[0] * shape[1] + positions[1]) * shape[2] + positions[2]
    is_filled = share > 0
    return Place(structure, centre, (z, y, x), fine, flat[is_filled], share[is_filled], flat[in_ring])


def _fine_share(
    structure: Structure, centre: tuple[float, float, float], along: Tensor, axes: Sequence[Tensor]
) -> Tensor:
    """Return which part of finer samples about a place the structure fills, edges softened over one of them."""
    offsets = (torch.arange(_FINER) + 0.5) / _FINER - 0.5
    fine_axes = [(axis[:, None] + offsets).flatten() - at for axis, at in zip(axes, centre, strict=True)]
    points = torch.stack(torch.meshgrid(*fine_axes, indexing="ij"))
    return (0.5 - structure.distance(points, along) * _FINER).clamp(0, 1)


def _with_structures(scene: Sample, places: Sequence[Place], chance: Chance) -> Sample:
    """Return the scene with the structures' susceptibility, field, lost signal and noise."""
    fine = torch.zeros([_FINER * size for size in scene.grid.shape])
    for place in places:
        z, y, x = (slice(_FINER * cut.start, _FINER * cut.stop) for cut in place.box)
        fine[z, y, x] += place.structure.ppm * place.fine_share
    added = _pooled(fine)
    dimming = (-_DECAY_PER_PPM * added.abs()).exp()
    noise = (scene.field_noise / dimming).clamp_max(_LARGEST_NOISE_PPM).maximum(scene.field_noise)
    extra = (noise.square() - scene.field_noise.square()).clamp_min(0).sqrt() * chance.noise(*scene.grid.shape)
    truth = scene.susceptibility + added
    return replace(
        scene,
        susceptibility=(truth - truth[scene.mask].mean()) * scene.mask,
        local_field=(scene.local_field + _field(fine, scene.grid) + extra) * scene.mask,
        field_noise=noise * scene.mask,
        magnitude=scene.magnitude * dimming,
    )


def _field(fine: Tensor, grid: Grid) -> Tensor:
    """Return the voxels' mean field [ppm] of finer samples that stand alone in a wider space."""
    wide = [fast_even_size(size + 2 * _FINER * _MARGIN_VOXELS) for size in fine.shape]
    padding = [part for size, whole in zip(fine.shape[::-1], wide[::-1], strict=True) for part in (0, whole - size)]
    z, y, x = (step / _FINER for step in grid.voxel_size_mm)
    finer = Grid((wide[0], wide[1], wide[2]), (z, y, x), grid.b0_direction)
    field = Dipole.on(finer, fine)(torch.nn.functional.pad(fine, padding))
    return _pooled(field[: fine.shape[0], : fine.shape[1], : fine.shape[2]])


def _pooled(fine: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool3d(fine[None], _FINER)[0]


def _far(scene: Sample, places: Sequence[Place]) -> Tensor:
    """Return the voxels of the mask that no structure and no ring reaches, bool `(z, y, x)`."""
    near = torch.zeros(scene.grid.shape, dtype=torch.bool)
    for place in places:
        near.view(-1)[place.voxels] = True
        near.view(-1)[place.ring] = True
    reach = math.ceil(_RING_VOXELS[1])
    return scene.mask & ~torch.from_numpy(ndimage.binary_dilation(near.numpy(), iterations=reach))


def _padded(mask: Tensor) -> Tensor:
    return torch.nn.functional.pad(mask, (1,) * 6)
