"""One training volume: susceptibility, the field that would be measured of it, and what is known beside it."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.errors import InvalidRecipe
from pipeline.grid import Grid
from pipeline.training.datasets.canvas import Scene
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.corruption import (
    magnitude_and_noise,
    outliers,
    residual_background,
    support_and_mask,
)
from pipeline.training.datasets.field import PatchField, cosmos_labels, tilted
from pipeline.training.datasets.generators import GENERATORS
from pipeline.training.datasets.mixing import mixed
from pipeline.training.datasets.recipe import DataRecipe

_SURROUNDING = 0.25
"""Width of what surrounds a cropped patch, on each side, as a share of the patch."""


@dataclass(frozen=True)
class Sample:
    """One training volume; tensors `(z, y, x)` on one device.

    `susceptibility` [ppm] has mean zero in the mask and is zero outside; `local_field` [ppm] holds noise and left-over
    background and is zero outside the mask; `field_noise` is its standard deviation [ppm]; `magnitude` is one image of
    arbitrary positive unit.
    """

    susceptibility: Tensor
    local_field: Tensor
    mask: Tensor
    field_noise: Tensor
    magnitude: Tensor
    grid: Grid
    generator: str


def made(recipe: DataRecipe, chance: Chance) -> Sample:
    """Make one sample of a recipe from its draws.

    Parameters
    ----------
    recipe
        The distribution.
    chance
        Decides everything else.

    Returns
    -------
    A sample on the device of the draws.

    Raises
    ------
    InvalidRecipe
        A generator of the recipe does not exist.
    """
    grid = _random_grid(recipe, chance)
    wide = _surrounded(grid) if recipe.mode == "cropped" else grid
    name, scene = _random_scene(recipe, wide, chance)
    support, wide_mask = support_and_mask(scene.level, wide, recipe, chance)
    # What the mask cuts off belongs to the background; background removal leaves a part of its field.
    left = torch.where(support & ~wide_mask, chance.uniform(0.0, 1.0), wide_mask.float())
    mean = _mean_inside(scene.susceptibility, wide_mask)
    patch = PatchField.of((scene.susceptibility - mean).mul_(support).mul_(left), wide, grid.shape)
    scene, mask = _cut(scene, patch), wide_mask[patch.kept]
    support = support[patch.kept]
    if not bool(mask.any()):
        mask = support = torch.ones_like(mask)
    magnitude, field_noise = magnitude_and_noise(scene, support, mask, grid, recipe, chance)
    field = patch.at(grid.b0_direction).addcmul_(field_noise, chance.noise(*grid.shape)).mul_(mask)
    field += _faults(mask, field_noise, grid, recipe, chance)
    if recipe.orientations > 1:
        label = cosmos_labels(patch, mask, field_noise, grid, recipe.orientations, chance)
    else:
        label = (scene.susceptibility - mean) * support
    label = (label - _mean_inside(label, mask)) * mask
    return Sample(label, field, mask, field_noise, magnitude, grid, name)


def _random_grid(recipe: DataRecipe, chance: Chance) -> Grid:
    """Return voxels of random size and aspect, the slices mostly the thickest, and a random direction of B0."""
    finest = chance.log_uniform(*recipe.finest_mm)
    voxel = [finest, finest, finest]
    if recipe.aspect_max > 1 and chance.happens(0.7):
        thick = chance.choice((0, 1, 2), (0.7, 0.15, 0.15))
        voxel[thick] *= chance.log_uniform(1.0, recipe.aspect_max)
        if chance.happens(0.3):
            other = chance.choice([axis for axis in range(3) if axis != thick])
            voxel[other] *= chance.log_uniform(1.0, min(1.5, voxel[thick] / finest))
    tilt = 0.0 if chance.happens(recipe.axial_share) else chance.uniform(0.0, recipe.tilt_max_deg)
    direction = tilted(tilt, chance.uniform(0.0, 360.0))
    return Grid(recipe.shape, (voxel[0], voxel[1], voxel[2]), direction)


def _surrounded(grid: Grid) -> Grid:
    z, y, x = (size + 2 * round(_SURROUNDING * size) for size in grid.shape)
    return replace(grid, shape=(z, y, x))


def _random_scene(recipe: DataRecipe, grid: Grid, chance: Chance) -> tuple[str, Scene]:
    """Return a generator's name and its scene, sometimes mixed with another generator's."""
    names = [name for name, _ in recipe.generators]
    shares = [share for _, share in recipe.generators]
    unknown = [name for name in names if name not in GENERATORS]
    if unknown:
        raise InvalidRecipe(f"There is no generator '{unknown[0]}'; there are {', '.join(GENERATORS)}.")
    name = chance.choice(names, shares)
    scene = GENERATORS[name](grid, chance)
    if chance.happens(recipe.mixed_share):
        scene = mixed(scene, GENERATORS[chance.choice(names, shares)](grid, chance), grid, chance)
    if chance.happens(recipe.negated_share):
        scene.susceptibility.neg_()
    return name, scene


def _mean_inside(values: Tensor, mask: Tensor) -> Tensor:
    return torch.dot(values.flatten(), mask.flatten().to(values.dtype)) / mask.sum()


def _cut(scene: Scene, patch: PatchField) -> Scene:
    return Scene(scene.susceptibility[patch.kept], scene.signal[patch.kept], scene.level[patch.kept])


def _faults(mask: Tensor, field_noise: Tensor, grid: Grid, recipe: DataRecipe, chance: Chance) -> Tensor:
    """Return what the field holds beside dipoles and noise [ppm]."""
    faults = torch.zeros_like(field_noise)
    if chance.happens(recipe.residual_background_share) and recipe.residual_background_ppb[0] > 0:
        rms = 1e-3 * chance.log_uniform(*recipe.residual_background_ppb)
        faults += residual_background(mask, grid, rms, chance)
    if chance.happens(recipe.outlier_share):
        faults += outliers(field_noise, mask, chance)
    return faults
