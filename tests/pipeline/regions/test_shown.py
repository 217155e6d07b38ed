"""Regions that stand out of a map are found, named and no larger than they are."""

import torch

from pipeline.grid import Grid
from pipeline.regions.shown import regions_shown

GRID = Grid((32, 36, 40), (1.5, 1.0, 1.0))


def ball(centre: tuple[float, float, float], radius_mm: float) -> torch.Tensor:
    axes = [
        (torch.arange(size) - place) * step
        for size, place, step in zip(GRID.shape, centre, GRID.voxel_size_mm, strict=True)
    ]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return z**2 + y**2 + x**2 < radius_mm**2


def test_bodies_of_either_sign_are_found_and_specks_are_not() -> None:
    mask = ball((16, 18, 20), 17.0)
    nucleus, stone, speck = ball((16, 18, 14), 4.0), ball((16, 18, 26), 4.0), ball((10, 18, 20), 1.2)
    susceptibility = 0.12 * nucleus - 0.1 * stone + 0.1 * speck
    labels, names = regions_shown(susceptibility, mask, GRID)
    assert len(names) == 2
    assert "paramagnetic body 1" in names[1]
    assert "diamagnetic body 1" in names[2]
    assert bool(nucleus[labels == 1].float().mean() > 0.8)
    assert bool(stone[labels == 2].float().mean() > 0.8)


def test_a_map_without_bodies_is_cut_into_the_parts_of_its_mask() -> None:
    mask = ball((16, 18, 20), 14.0)
    labels, names = regions_shown(torch.zeros(GRID.shape), mask, GRID)
    assert sorted(names) == list(range(1, 9))
    counts = torch.bincount(labels.flatten(), minlength=9)[1:]
    assert int(counts.min()) > 0.5 * int(counts.max())
    assert not bool(labels[~mask].any())
    nothing, no_names = regions_shown(torch.zeros(GRID.shape), torch.zeros_like(mask), GRID)
    assert no_names == {}
    assert not bool(nothing.any())
