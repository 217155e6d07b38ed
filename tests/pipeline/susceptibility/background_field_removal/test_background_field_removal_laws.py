"""Laws that every background field removal keeps, over the table of methods that need a field and a mask."""

import math
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, StepContext
from pipeline.methods import STEPS
from pipeline.operators.dipole import Dipole

METHODS = [item for item in STEPS["background_field_removal"].values() if item.inputs == ("total_field", "mask")]
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
OF_BALLS = [method for method in METHODS if method.name in ("sharp", "v_sharp", "resharp", "v_resharp", "ismv")]
CUBES = Grid((48, 50, 52), (1.0, 1.0, 1.0), (math.cos(0.3), math.sin(0.3), 0.0))
SLABS = Grid((28, 50, 52), (2.5, 1.0, 1.0), (math.cos(0.3), 0.0, math.sin(0.3)))


@cache
def distance_mm(grid: Grid, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Tensor:
    axes = [
        (torch.arange(size, dtype=torch.float64) - (size - 1) / 2) * step - place
        for size, step, place in zip(grid.shape, grid.voxel_size_mm, centre, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def ball(grid: Grid, radius_mm: float, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Tensor:
    return distance_mm(grid, centre).norm(dim=0) <= radius_mm


def outer_field(grid: Grid) -> Tensor:
    """Return the field of two point dipoles outside the mask and of a shim: harmonic inside, strong near the border."""
    total = 0.3 + 0.02 * distance_mm(grid)[1]
    for place, moment in (((0.0, 27.0, 0.0), 900.0), ((-25.0, 0.0, 8.0), -500.0)):
        offset = distance_mm(grid, place)
        length = offset.norm(dim=0).clamp_min(1.0)
        along = sum(part * b for part, b in zip(offset, grid.b0_direction, strict=True)) / length
        total = total + moment * (3 * along.square() - 1) / length**3
    return total


def inner_field(grid: Grid) -> Tensor:
    sources = 0.1 * ball(grid, 4.0, (0.0, 2.0, -3.0)).double() - 0.06 * ball(grid, 3.0, (4.0, -6.0, 3.0)).double()
    return Dipole.on(grid, sources)(sources)


def removed(method: Method, field: Tensor, mask: Tensor, grid: Grid, settings: Any = None) -> tuple[Tensor, Tensor]:
    made = method.apply({"total_field": field, "mask": mask}, StepContext(grid), settings or method.settings())
    return made["local_field"], made["mask"]


@pytest.mark.parametrize("grid", [CUBES, SLABS], ids=["cubes", "slabs"])
@each_method
def test_a_harmonic_field_vanishes(method: Method, grid: Grid) -> None:
    mask, background = ball(grid, 19.0), outer_field(grid)
    local, known = removed(method, background, mask, grid)
    assert float(local[known].std()) < 0.03 * float(background[known].std())


@each_method
def test_the_field_of_inner_sources_is_kept(method: Method) -> None:
    field, mask = inner_field(CUBES), ball(CUBES, 21.0)
    local, known = removed(method, field + outer_field(CUBES), mask, CUBES)
    near = known & ball(CUBES, 11.0)
    found, true = local[near] - local[near].mean(), field[near] - field[near].mean()
    assert float(torch.dot(found, true) / (found.norm() * true.norm())) > 0.97
    assert 0.7 < float(torch.dot(found, true) / torch.dot(true, true)) < 1.1


@each_method
def test_the_known_mask_lies_inside_the_mask_and_the_field_is_zero_elsewhere(method: Method) -> None:
    mask = ball(CUBES, 19.0)
    local, known = removed(method, inner_field(CUBES), mask, CUBES)
    assert not bool((known & ~mask).any())
    assert bool(known[ball(CUBES, 11.0)].all())
    assert not bool(local[~known].any())


@each_method
def test_the_field_may_be_scaled(method: Method) -> None:
    field, mask = (inner_field(CUBES) + outer_field(CUBES)).float(), ball(CUBES, 19.0)
    plain, _ = removed(method, field, mask, CUBES)
    scaled, _ = removed(method, -4.0 * field, mask, CUBES)
    torch.testing.assert_close(scaled, -4.0 * plain, rtol=0, atol=1e-3 * float(scaled.abs().max()))


@each_method
def test_an_offset_of_the_field_changes_nothing(method: Method) -> None:
    field, mask = inner_field(CUBES), ball(CUBES, 19.0)
    plain, _ = removed(method, field, mask, CUBES)
    shifted, _ = removed(method, field + 30.0, mask, CUBES)
    torch.testing.assert_close(shifted, plain, rtol=0, atol=1e-9)


@each_method
def test_a_mask_of_one_slice_is_refused(method: Method) -> None:
    mask = torch.zeros(CUBES.shape, dtype=torch.bool)
    mask[24] = True
    with pytest.raises(UnusableInput, match="mask"):
        removed(method, torch.zeros(CUBES.shape), mask, CUBES)


@pytest.mark.parametrize("method", OF_BALLS, ids=lambda method: method.name)
def test_a_volume_smaller_than_the_ball_is_refused_before_any_work(
    method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Grid((5, 40, 40), (1.0, 1.0, 1.0))

    def no_work(*arguments: object, **options: object) -> None:
        raise AssertionError("an FFT was computed")

    monkeypatch.setattr(torch.fft, "rfftn", no_work)
    with pytest.raises(UnusableInput, match="choose a smaller radius"):
        removed(method, torch.zeros(grid.shape), torch.ones(grid.shape, dtype=torch.bool), grid)
