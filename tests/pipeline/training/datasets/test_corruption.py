"""Noise follows the signal, left-over background is harmonic, and a mask is wrong by no more than it may be."""

import math
from dataclasses import replace

import pytest
import torch
from scipy import ndimage

from pipeline.grid import Grid
from pipeline.training.datasets.canvas import Scene
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.corruption import (
    _solid_harmonics,
    magnitude_and_noise,
    outliers,
    residual_background,
    support_and_mask,
)
from pipeline.training.datasets.field import tilted
from pipeline.training.datasets.fields import axis_positions_mm
from pipeline.training.datasets.recipe import DataRecipe

GRID = Grid((24, 28, 26), (1.5, 1.0, 1.2), tilted(20.0, 40.0))
RECIPE = DataRecipe(shape=GRID.shape)


def chance(key: str = "corruption") -> Chance:
    return Chance(key, torch.device("cpu"))


def distance_to_ball(radius_mm: float = 9.0) -> torch.Tensor:
    axes = [
        (torch.arange(size) - (size - 1) / 2) * step for size, step in zip(GRID.shape, GRID.voxel_size_mm, strict=True)
    ]
    return sum(part.square() for part in torch.meshgrid(*axes, indexing="ij")).sqrt() - radius_mm


def test_a_mask_is_wrong_by_at_most_the_error_that_the_recipe_allows() -> None:
    level = distance_to_ball()
    edge = math.prod(GRID.voxel_size_mm) ** (1 / 3)
    wrong = 0
    for key in range(12):
        recipe = replace(RECIPE, mask_error_share=1.0, mask_error_voxels=1.5)
        support, mask = support_and_mask(level, GRID, recipe, chance(str(key)))
        assert torch.equal(support, level < 0)
        differs = support != mask
        wrong += int(differs.sum())
        assert float(level[differs].abs().amax()) <= 1.5 * edge + 1e-5
    assert wrong > 100


def test_an_object_that_misses_the_volume_gives_way_to_the_whole_volume() -> None:
    support, mask = support_and_mask(torch.full(GRID.shape, 5.0), GRID, RECIPE, chance())
    assert bool(support.all())
    assert bool(mask.all())


def test_noise_is_strongest_where_a_bleed_has_taken_the_signal() -> None:
    level = distance_to_ball()
    mask, bleed = level < 0, level < -6
    scene = Scene(torch.where(bleed, 0.8, 0.0), torch.ones(GRID.shape), level)
    for key in range(5):
        magnitude, noise = magnitude_and_noise(scene, mask, mask, GRID, RECIPE, chance(str(key)))
        tissue = mask & ~bleed
        assert 0.4e-3 < float(noise[tissue].median()) < 12e-3
        assert float(noise[bleed].mean()) > 3 * float(noise[tissue].mean())
        assert not bool(noise[~mask].any())
        assert float(magnitude[tissue].median()) > 2 * float(magnitude[~mask].median())


def test_outliers_are_whole_turns_and_only_where_the_signal_is_nearly_gone() -> None:
    noise = torch.full(GRID.shape, 1e-3)
    noise[:6] = 20e-3
    errors = outliers(noise, torch.ones(GRID.shape, dtype=torch.bool), chance())
    assert not bool(errors[6:].any())
    sizes = errors[errors != 0].abs().unique()
    assert len(sizes) == 1
    assert 0.2 < float(sizes) < 0.8


@pytest.mark.parametrize("key", ["a", "b", "c", "d"])
def test_what_is_left_of_the_background_is_harmonic_and_as_strong_as_asked(key: str) -> None:
    mask = distance_to_ball() < 0
    field = residual_background(mask, GRID, 5e-3, chance(key)).double()
    assert float(field[mask].square().mean().sqrt()) == pytest.approx(5e-3, rel=1e-3)
    assert not bool(field[~mask].any())
    second = [
        torch.from_numpy(ndimage.convolve1d(field.numpy(), [1.0, -2.0, 1.0], axis=axis)) / step**2
        for axis, step in enumerate(GRID.voxel_size_mm)
    ]
    deep = torch.from_numpy(ndimage.binary_erosion(mask.numpy(), iterations=3))
    laplacian, each = sum(second)[deep].norm(), sum(part[deep].square().sum() for part in second).sqrt()
    assert laplacian < 0.1 * each


def test_solid_harmonics_have_no_laplacian_and_reach_beyond_a_slope() -> None:
    for key in range(4):
        draws = chance(str(key))
        positions = [values.double() for values in axis_positions_mm(GRID, draws.device)]
        field = _solid_harmonics(positions, draws).double()
        second = [
            field.diff(n=2, dim=axis)[tuple(slice(None) if other == axis else slice(1, -1) for other in range(3))]
            / step**2
            for axis, step in enumerate(GRID.voxel_size_mm)
        ]
        curved = torch.stack(second).norm()
        assert float(curved) > 1e-4
        # A parabola's second difference is exact; that of the fourth order errs by a step squared, 0.01 of it here.
        assert float((second[0] + second[1] + second[2]).norm()) < 0.03 * float(curved)
