"""A digital head of known susceptibility, defined everywhere in space: any voxel, matrix and tilt can sample it.

The head is a painting: large parts are level sets of smooth distance fields, small parts are shapes laid over them, and
each edge is softened over one sample. Susceptibility is held relative to air, because the head then ends where it ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.simulation import anatomy
from pipeline.simulation.anatomy import AIR_ABOVE_TISSUE_PPM, NUCLEI, TISSUES, Tissue
from pipeline.simulation.sampling import Lattice, SamplingGrid
from pipeline.simulation.shapes import Shape, blended

LATTICE_LOW = (-110.0, -130.0, -130.0)
LATTICE_HIGH = (110.0, 130.0, 110.0)
LATTICE_SPACING_MM = 2.0

FLUID_MM = 2.5
"""Thickness of the fluid between brain and skull."""
SKULL_MM = 8.5
"""Distance from the brain to the outer face of the skull."""
SKIN_MM = 14.5
"""Distance from the brain to the skin."""

SULCUS_DEPTH_MM = 17.0
_BRAIN_AND_SKIN, _TEXTURES = slice(0, 2), slice(2, 5)


@dataclass(frozen=True)
class Structure:
    """A shape of one tissue; `label` is its number in the label map, 0 where it has none."""

    name: str
    shape: Shape
    tissue: Tissue
    label: int = 0


@dataclass
class TissueSample:
    """The head at the samples of a grid, each `(z, y, x)`.

    `susceptibility` [ppm] is relative to air, `proton_density` [1 = water], `r2star` [1/s]; `labels` numbers the
    labelled structures; `brain` is the share of the sample that is brain (0 to 1).
    """

    susceptibility: Tensor
    proton_density: Tensor
    r2star: Tensor
    labels: Tensor
    brain: Tensor

    @classmethod
    def of_air(cls, shape: Sequence[int]) -> "TissueSample":
        """Return samples full of air."""
        empty = [torch.zeros(*shape) for _ in range(4)]
        return cls(empty[0], empty[1], empty[2], torch.zeros(*shape, dtype=torch.uint8), empty[3])

    def cover(self, share: Tensor, tissue: Tissue, box: tuple[slice, ...], label: int = 0) -> None:
        """Lay a tissue over a share (0 to 1) of every sample in a box."""
        relative_to_air = tissue.susceptibility_ppm - AIR_ABOVE_TISSUE_PPM
        self.susceptibility[box].lerp_(torch.full_like(share, relative_to_air), share)
        self.proton_density[box].lerp_(torch.full_like(share, tissue.proton_density), share)
        self.r2star[box].lerp_(torch.full_like(share, tissue.r2star_per_s), share)
        self.labels[box].masked_fill_(share > 0.5, label)

    def empty(self, share: Tensor, box: tuple[slice, ...]) -> None:
        """Fill a share (0 to 1) of every sample in a box with air."""
        for values in (self.susceptibility, self.proton_density, self.brain):
            values[box].mul_(1 - share)
        self.labels[box].masked_fill_(share > 0.5, 0)


@dataclass(frozen=True)
class Head:
    """A head: smooth fields (distance to brain and skin, folds, textures), structures in the brain, cells of air."""

    lattice: Lattice
    structures: tuple[Structure, ...]
    eyes: tuple[Shape, ...]
    air_cells: tuple[Shape, ...]

    @property
    def label_names(self) -> dict[int, str]:
        """Map each label to the name of its structure."""
        return {part.label: part.name for part in self.structures if part.label}

    def sample(self, grid: SamplingGrid, edge_mm: float) -> TissueSample:
        """Sample the head on a grid.

        Parameters
        ----------
        grid
            Where the samples lie.
        edge_mm
            Width over which an edge is softened, best the distance between samples.

        Returns
        -------
            The tissues at the samples.
        """
        points = grid.points()
        sample = TissueSample.of_air(grid.shape)
        to_brain, to_skin = self.lattice.at(points, _BRAIN_AND_SKIN)
        if bool((to_skin > edge_mm).all()):
            return sample
        everywhere = (slice(None),) * 3
        sample.cover(_inside(to_skin, edge_mm), TISSUES["soft tissue"], everywhere)
        self._lay_shapes(sample, grid, points, self.eyes, TISSUES["eye"], edge_mm)
        to_skull = torch.maximum(to_brain - SKULL_MM, to_skin + 3.0)
        sample.cover(_inside(to_skull, edge_mm), TISSUES["bone"], everywhere)
        sample.cover(_inside(to_brain - FLUID_MM, edge_mm), TISSUES["cerebrospinal fluid"], everywhere)
        self._hollow(sample, grid, points, to_brain, to_skin, edge_mm)
        self._fill_brain(sample, points, to_brain, edge_mm)
        self._lay_structures(sample, grid, points, to_brain, edge_mm)
        return sample

    def _lay_shapes(
        self,
        sample: TissueSample,
        grid: SamplingGrid,
        points: Tensor,
        shapes: Sequence[Shape],
        tissue: Tissue,
        edge_mm: float,
    ) -> None:
        for shape in shapes:
            box = grid.box_around(*shape.sphere_around())
            if box is not None:
                sample.cover(_inside(shape.distance(points[(slice(None), *box)]), edge_mm), tissue, box)

    def _hollow(
        self,
        sample: TissueSample,
        grid: SamplingGrid,
        points: Tensor,
        to_brain: Tensor,
        to_skin: Tensor,
        edge_mm: float,
    ) -> None:
        """Cut the air cells out of bone and soft tissue, but neither out of the brain and its fluid nor of the skin."""
        for shape in self.air_cells:
            box = grid.box_around(*shape.sphere_around())
            if box is None:
                continue
            distance = shape.distance(points[(slice(None), *box)])
            distance = torch.maximum(distance, FLUID_MM - to_brain[box])
            opens = shape in anatomy.OPEN_TO_THE_OUTSIDE
            distance = distance if opens else torch.maximum(distance, to_skin[box] + 3.0)
            sample.empty(_inside(distance, edge_mm), box)

    def _fill_brain(self, sample: TissueSample, points: Tensor, to_brain: Tensor, edge_mm: float) -> None:
        """Lay white matter, the folded cortex and the fluid in its furrows inside the brain's surface."""
        sample.brain.copy_(_inside(to_brain, edge_mm))
        within = sample.brain > 0
        depth, x, y, z = -to_brain[within], *(points[axis][within] for axis in range(3))
        position = torch.stack((x, y, z))
        fold, coarse, fine = self.lattice.at(position, _TEXTURES)
        # The cortex follows the zero level of a smooth random field, as the walls of furrows do.
        to_furrow = torch.maximum(fold.abs() * _MM_PER_FOLD, (depth - SULCUS_DEPTH_MM).clamp_min(0) * 1.5)
        to_falx = torch.maximum(x.abs(), -anatomy.CORPUS_CALLOSUM.distance(position))
        to_falx = torch.where(z > -6.0, to_falx, 9.0)
        to_fluid = torch.minimum(to_furrow - _FURROW_HALF_MM, to_falx - 0.9)
        in_stem = -blended(anatomy.BRAIN_STEM, position, 4.0)
        to_fluid = torch.maximum(to_fluid, in_stem)
        to_cortex = torch.maximum(torch.minimum(to_fluid, depth) - _CORTEX_MM, in_stem)
        brain = TissueSample.of_air(depth.shape)
        everything = (slice(None),)
        brain.cover(torch.ones_like(depth), TISSUES["white matter"], everything)
        brain.cover(_inside(to_cortex, edge_mm), TISSUES["grey matter"], everything)
        texture = 0.006 * fine + 0.005 * coarse
        brain.susceptibility += texture
        brain.r2star += 90.0 * texture
        brain.proton_density *= 1 + 0.02 * coarse
        brain.cover(_inside(to_fluid, edge_mm), TISSUES["cerebrospinal fluid"], everything)
        share = sample.brain[within]
        for whole, part in (
            (sample.susceptibility, brain.susceptibility),
            (sample.proton_density, brain.proton_density),
            (sample.r2star, brain.r2star),
        ):
            whole[within] = torch.lerp(whole[within], part, share)

    def _lay_structures(
        self, sample: TissueSample, grid: SamplingGrid, points: Tensor, to_brain: Tensor, edge_mm: float
    ) -> None:
        for part in self.structures:
            centre, radius = part.shape.sphere_around()
            box = grid.box_around(centre, radius + 1.0)
            if box is None:
                continue
            inside = points[(slice(None), *box)]
            coarse, fine = self.lattice.at(inside, slice(3, 5))
            # Borders waver by half a millimetre, and structures are as uneven inside as the matter around them.
            distance = torch.maximum(part.shape.distance(inside) + 0.4 * fine, to_brain[box])
            share = _inside(distance, edge_mm)
            sample.cover(share, part.tissue, box, part.label)
            sample.susceptibility[box] += share * (0.004 * fine + 0.003 * coarse)


_FURROW_HALF_MM, _CORTEX_MM, _MM_PER_FOLD = 0.8, 2.8, 3.4


def adult_head(seed: int = 20261121) -> Head:
    """Build the head; the seed decides folds, textures and small veins.

    Returns
    -------
        A head of about 1.5 litres of brain, with nuclei on both sides, ventricles, veins, a bleed (+0.8 ppm), a
        calcification (−0.4 ppm), skull, skin, face, neck, eyes and the air of nose, sinuses and ears.
    """
    grid = Lattice.grid(LATTICE_LOW, LATTICE_HIGH, LATTICE_SPACING_MM)
    points = grid.points()
    to_brain = blended(anatomy.BRAIN, points, 7.0)
    face = blended(anatomy.FACE, points, 12.0)
    to_skin = torch.minimum(to_brain - SKIN_MM, face)
    chance = torch.Generator().manual_seed(seed)
    textures = [_smooth_noise(grid.shape, width / LATTICE_SPACING_MM, chance) for width in (4.0, 7.0, 2.4)]
    lattice = Lattice(torch.stack((to_brain, to_skin, *textures)), LATTICE_LOW, LATTICE_SPACING_MM)
    return Head(lattice, _structures(seed), anatomy.EYES, anatomy.AIR_CELLS)


def _structures(seed: int) -> tuple[Structure, ...]:
    """Return everything that is laid over white and grey matter, in order."""
    fluid, vein = TISSUES["cerebrospinal fluid"], TISSUES["vein"]
    parts = [Structure("ventricle", shape, fluid) for shape in anatomy.VENTRICLES]
    label = 0
    for nucleus in NUCLEI:
        for side, value in (("Left", nucleus.left_ppm), ("Right", nucleus.right_ppm)):
            label += 1
            tissue = Tissue(value, nucleus.proton_density, nucleus.r2star_per_s)
            shapes = nucleus.shapes if side == "Left" else tuple(shape.mirrored() for shape in nucleus.shapes)
            parts += [Structure(f"{side} {nucleus.name}", shape, tissue, label) for shape in shapes]
    parts += [Structure("vein", shape, vein) for shape in anatomy.veins(seed)]
    parts.append(Structure("Bleed", anatomy.BLEED, TISSUES["bleed"], label + 1))
    parts.append(Structure("Calcification", anatomy.CALCIFICATION, TISSUES["calcification"], label + 2))
    return tuple(parts)


def _smooth_noise(shape: tuple[int, int, int], width: float, chance: torch.Generator) -> Tensor:
    """Return noise of unit variance, smoothed by a Gaussian of a width [knots]."""
    noise = torch.randn(shape, generator=chance)
    reach = int(3 * width) + 1
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float32)
    weights = torch.exp(-0.5 * (offsets / width).square())
    for axis in range(3):
        moved = noise.movedim(axis, -1)
        flat = moved.reshape(-1, 1, moved.shape[-1])
        padded = torch.nn.functional.pad(flat, (reach, reach), mode="circular")
        smooth = torch.nn.functional.conv1d(padded, weights.reshape(1, 1, -1))
        noise = smooth.reshape(moved.shape).movedim(-1, axis)
    return noise / noise.std()


def _inside(distance: Tensor, edge_mm: float) -> Tensor:
    """Return the share (0 to 1) of a sample that lies inside a surface at a signed distance [mm]."""
    return (0.5 - distance / edge_mm).clamp(0, 1)
