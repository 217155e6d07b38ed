"""One factor at a time: noise, tilt of B0, shape of the voxels and coverage of a slab, each around one centre.

The truth is made once on samples finer than any voxel. Its field is computed there for a direction of B0, and both are
averaged over the voxels: what differs between two levels is that factor alone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.errors import InvalidRecipe
from pipeline.grid import Grid
from pipeline.simulation.anatomy import AIR_ABOVE_TISSUE_PPM
from pipeline.simulation.families import FAMILIES, find_family
from pipeline.simulation.forward import relative_field
from pipeline.simulation.sampling import SamplingGrid
from pipeline.simulation.scanner import ISOCENTRE_MM
from pipeline.studies.accuracy import LESIONS
from pipeline.studies.cases import ECHO_TIMES_S, least_field_noise
from pipeline.training.datasets.field import PatchField, tilted
from pipeline.training.datasets.recipe import DataRecipe
from pipeline.training.datasets.stream import sample
from pipeline.training.evaluation_trials import COMPOSITE, HEAD_SEEDS, STREAMS, Amount, Trial, random_regions

AZIMUTH_DEG = 25.0
"""Of B0 about the first axis wherever it is tilted, so that no axis of the grid is special."""
_NOISE_AT_SNR_1_PPM = 0.096
"""Median noise of the field of a head at 3 T whose image has an SNR of 1, about as its five echoes give it."""
_PATCH_SHAPE, _PATCH_MM = (72, 64, 64), 1.0
_HEAD_SHAPE, _HEAD_MM = (144, 180, 144), 1.1
_FIRST_PATCH = 1000
"""Index of the first patch of an axis, beyond those of the comparison of methods."""


@dataclass(frozen=True)
class Level:
    """What is set for one trial; the defaults are the centre.

    Attributes
    ----------
    snr
        Mean magnitude of the first echo over the noise of one channel.
    tilt_deg
        Angle between B0 and the slices' normal.
    aspect
        Thickness of a slice over the other edges of a voxel: 1, 2 or 3.
    coverage_mm
        Height of the slab in the middle of the head; 0 is the whole.
    """

    snr: float = 60.0
    tilt_deg: float = 0.0
    aspect: int = 1
    coverage_mm: float = 0.0


CENTRE = Level()
AXES: dict[str, dict[str, Level]] = {
    "SNR": {f"SNR {snr:g}": Level(snr=snr) for snr in (20.0, 60.0, 150.0)},
    "tilt": {f"{tilt:g}°": Level(tilt_deg=tilt) for tilt in (0.0, 20.0, 40.0, 60.0)},
    "voxel": {f"1 : {aspect}": Level(aspect=aspect) for aspect in (1, 2, 3)},
    "slab": {f"{mm:g} mm" if mm else "whole": Level(coverage_mm=mm) for mm in (32.0, 64.0, 96.0, 128.0, 0.0)},
}
"""Levels of each factor by their names. A patch has no slab."""


@dataclass(frozen=True)
class AxisPlan:
    """All levels of one patch or head, which are made of one truth."""

    generator: str
    stream: str
    index: int

    @property
    def name(self) -> str:
        """Return how it is called."""
        return f"{self.generator} {self.index}, one factor at a time"

    @property
    def is_first_patch(self) -> bool:
        """Tell whether it is the one patch on which slow networks are computed too."""
        return self.generator == COMPOSITE and self.index == _FIRST_PATCH

    @property
    def levels(self) -> list[Level]:
        """Return each level once, the centre first."""
        axes = [levels for axis, levels in AXES.items() if axis != "slab" or self.generator != COMPOSITE]
        return list(dict.fromkeys([CENTRE, *(level for levels in axes for level in levels.values())]))


def axis_plans(amount: Amount, stream: str) -> list[AxisPlan]:
    """Return the truths on which the factors are varied: patches first, then a head of each family."""
    patches = [AxisPlan(COMPOSITE, stream, _FIRST_PATCH + index) for index in range(amount.axis_patches)]
    families = list(FAMILIES)[: amount.axis_heads]
    return patches + [AxisPlan(family, stream, number) for number, family in enumerate(families)]


def axis_trials(plan: AxisPlan) -> Iterator[tuple[Level, Trial]]:
    """Yield the trial of every level, the centre first; the same for the same plan."""
    source = fine_patch(plan) if plan.generator == COMPOSITE else fine_head(plan)
    for number, level in enumerate(plan.levels):
        yield level, source.trial(level, 100 * plan.index + number)


@dataclass(frozen=True)
class FinePatch:
    """A patch of the held-out generator on fine cubes, without faults of the measurement.

    `susceptibility` [ppm], `magnitude` and relative noise `(z, y, x)`; the noise has a median of 1 in the mask.
    """

    susceptibility: Tensor
    magnitude: Tensor
    noise: Tensor
    mask: Tensor
    seed: int

    def trial(self, level: Level, seed: int) -> Trial:
        """Return the patch as it is measured at a level."""
        grid = Grid(_PATCH_SHAPE, (_PATCH_MM,) * 3, tilted(level.tilt_deg, AZIMUTH_DEG))
        field = PatchField.of(self.susceptibility, grid, grid.shape).at(grid.b0_direction)
        pool = (level.aspect, 1, 1)
        mask = averaged(self.mask.float(), pool) > 0.5
        noise = averaged(self.noise, pool) * (_NOISE_AT_SNR_1_PPM / level.snr) * mask
        labels, names = random_regions(mask, self.seed)
        return Trial(
            local_field=_noisy(averaged(field, pool), noise, mask, seed),
            field_noise=noise,
            mask=mask,
            susceptibility=averaged(self.susceptibility, pool) * mask,
            magnitude=averaged(self.magnitude, pool)[None],
            grid=_pooled(grid, pool),
            labels=labels,
            label_names=names,
        )


def fine_patch(plan: AxisPlan) -> FinePatch:
    """Make the truth of a patch."""
    recipe = replace(
        DataRecipe().held_out(),
        shape=_PATCH_SHAPE,
        finest_mm=(_PATCH_MM, _PATCH_MM),
        aspect_max=1.0,
        axial_share=1.0,
        noise_ppb=(1.0, 1.0),
        residual_background_share=0.0,
        mask_error_share=0.0,
        outlier_share=0.0,
    )
    drawn = sample(recipe, STREAMS[plan.stream], plan.index)
    return FinePatch(drawn.susceptibility, drawn.magnitude, 1e3 * drawn.field_noise, drawn.mask, plan.index)


@dataclass(frozen=True)
class FineHead:
    """A head on fine cubes: susceptibility of the brain [ppm], its signal, and its labels, each `(z, y, x)`."""

    susceptibility: Tensor
    brain: Tensor
    proton_density: Tensor
    r2star: Tensor
    labels: Tensor
    names: dict[int, str]

    def trial(self, level: Level, seed: int) -> Trial:
        """Return the head as it is measured at a level, with a perfect removal of everything outside the slab."""
        slab = self._slab(level.coverage_mm)
        chi, brain = self.susceptibility[slab], self.brain[slab]
        direction = tilted(level.tilt_deg, AZIMUTH_DEG)
        pool = (2 * level.aspect, 2, 2)
        mask = averaged(brain, pool) > 0.5
        magnitude = self._echoes(slab, pool)
        signal_noise = float(magnitude[0][mask].mean()) / level.snr
        noise = least_field_noise(magnitude, signal_noise, ECHO_TIMES_S, 3.0) * mask
        fine = Grid((len(chi), chi.shape[1], chi.shape[2]), (_HEAD_MM,) * 3, direction)
        return Trial(
            local_field=_noisy(averaged(_field(chi, direction), pool), noise, mask, seed),
            field_noise=noise,
            mask=mask,
            susceptibility=averaged(chi, pool) * mask,
            magnitude=magnitude,
            grid=_pooled(fine, pool),
            labels=_majority(self.labels[slab], self.names, pool),
            label_names={label: name for label, name in self.names.items() if name not in LESIONS},
            echo_times_s=ECHO_TIMES_S,
            r2star=averaged(self.r2star[slab], pool) * mask,
        )

    def _slab(self, coverage_mm: float) -> slice:
        """Return the planes of a slab about the deep grey matter, whole voxels of any thickness."""
        planes = len(self.susceptibility)
        if not coverage_mm:
            return slice(0, planes)
        wanted = min(planes, 2 * round(coverage_mm / (2 * _HEAD_MM)))
        nuclei = (self.labels > 0).nonzero()[:, 0].double()
        first = round(float(nuclei.median())) - wanted // 2
        first = min(max(first, 0), planes - wanted)
        return slice(first, first + wanted)

    def _echoes(self, slab: slice, pool: tuple[int, int, int]) -> Tensor:
        density, rate = self.proton_density[slab], self.r2star[slab]
        return torch.stack([averaged(density * torch.exp(-time * rate), pool) for time in ECHO_TIMES_S])


def fine_head(plan: AxisPlan) -> FineHead:
    """Make the truth of a head.

    Raises
    ------
    InvalidRecipe
        The family has no head of that number.
    """
    seeds = HEAD_SEEDS[plan.stream]
    if plan.index >= len(seeds):
        raise InvalidRecipe(f"There are {len(seeds)} heads of a family; number {plan.index} is none of them.")
    head = find_family(plan.generator).head(seeds[plan.index])
    x, y, z = (
        middle - (size - 1) / 2 * _HEAD_MM for middle, size in zip(ISOCENTRE_MM, reversed(_HEAD_SHAPE), strict=True)
    )
    steps = ((0.0, 0.0, _HEAD_MM), (0.0, _HEAD_MM, 0.0), (_HEAD_MM, 0.0, 0.0))
    grid = SamplingGrid(_HEAD_SHAPE, (x, y, z), steps)
    parts = [head.sample(slab, _HEAD_MM) for _, slab in grid.slabs(24)]
    brain = torch.cat([part.brain for part in parts])
    return FineHead(
        susceptibility=(torch.cat([part.susceptibility for part in parts]) + AIR_ABOVE_TISSUE_PPM) * brain,
        brain=brain,
        proton_density=torch.cat([part.proton_density for part in parts]),
        r2star=torch.cat([part.r2star for part in parts]),
        labels=torch.cat([part.labels for part in parts]),
        names=head.label_names,
    )


def averaged(values: Tensor, pool: tuple[int, int, int]) -> Tensor:
    """Return the means over the samples of every voxel; a last voxel that is not full is left out."""
    return torch.nn.functional.avg_pool3d(values[None], pool)[0]


def _pooled(grid: Grid, pool: tuple[int, int, int]) -> Grid:
    shape = [size // n for size, n in zip(grid.shape, pool, strict=True)]
    voxel = [edge * n for edge, n in zip(grid.voxel_size_mm, pool, strict=True)]
    return Grid((shape[0], shape[1], shape[2]), (voxel[0], voxel[1], voxel[2]), grid.b0_direction)


def _field(chi: Tensor, direction: tuple[float, float, float]) -> Tensor:
    """Return the field of a head whose periodic repetitions are half a head away."""
    margins = [math.ceil(size / 4 / 8) * 8 for size in chi.shape]
    widths = [width for margin in reversed(margins) for width in (margin, margin)]
    padded = torch.nn.functional.pad(chi, widths)
    inner = tuple(slice(margin, margin + size) for margin, size in zip(margins, chi.shape, strict=True))
    return relative_field(padded, (_HEAD_MM,) * 3, direction)[inner]


def _noisy(field: Tensor, noise: Tensor, mask: Tensor, seed: int) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    return (field + noise * torch.randn(field.shape, generator=chance)) * mask


def _majority(labels: Tensor, names: dict[int, str], pool: tuple[int, int, int]) -> Tensor:
    """Return the label that fills at least half of each voxel, else 0."""
    found = averaged(torch.zeros(labels.shape), pool).to(torch.int32)
    for label in names:
        found.masked_fill_(averaged((labels == label).float(), pool) >= 0.5, label)
    return found
