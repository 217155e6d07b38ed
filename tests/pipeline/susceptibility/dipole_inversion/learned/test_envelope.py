"""Usual inputs lie inside the envelope; other voxels, tilts, units and noise lie outside, and are named."""

import functools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.networks.inputs import FieldScan, Scan
from pipeline.susceptibility.dipole_inversion.learned.envelope import LIMITS, STATISTICS, Envelope, input_figures
from pipeline.training.datasets.recipe import DataRecipe
from pipeline.training.datasets.stream import sample

RECIPE = DataRecipe(shape=(24, 24, 24), purpose="validation", mask_error_share=0.0)


@functools.cache
def figures(first: int, count: int) -> list[dict[str, float]]:
    return [input_figures(sample(RECIPE, 5, index)) for index in range(first, first + count)]


@functools.cache
def envelope() -> Envelope:
    found = Envelope.around(figures(0, 30))
    return replace(found, threshold=max(found.distance(one) for one in figures(0, 30)))


def plain() -> FieldScan:
    return sample(RECIPE, 5, 60)


def with_field(field: Tensor, noise: Tensor | None = None) -> Scan:
    scan = plain()
    return Scan(field * scan.mask, scan.mask, scan.grid, scan.field_noise if noise is None else noise)


def noise_of(scan: FieldScan) -> Tensor:
    chance = torch.Generator().manual_seed(2)
    return torch.randn(scan.mask.shape, generator=chance) * scan.local_field[scan.mask].std()


def test_most_further_samples_are_inside() -> None:
    near = [envelope().distance(one) <= 1.5 * envelope().threshold for one in figures(61, 10)]
    assert sum(near) >= 8


def test_figures_do_not_depend_on_what_lies_outside_the_mask_nor_on_precision() -> None:
    scan = plain()
    dirty = Scan(torch.where(scan.mask, scan.local_field, 7.0), scan.mask, scan.grid, scan.field_noise)
    double = Scan(scan.local_field.double(), scan.mask, scan.grid, scan.field_noise)
    expected = input_figures(scan)
    assert input_figures(dirty) == pytest.approx(expected, rel=1e-5)
    assert input_figures(double) == pytest.approx(expected, rel=1e-3, abs=1e-3)
    assert set(expected) == set(LIMITS) | set(STATISTICS)


@pytest.mark.parametrize(
    ("kind", "phrase"),
    [
        ("field in Hz", "size of the field"),
        ("pure noise", "spectrum"),
        ("hidden field", "field's noise of 0.9"),
        ("unremoved background", "slow fields"),
        ("large voxels", "shortest edge"),
        ("thick slices", "aspect"),
        ("steep tilt", "tilt"),
        ("small mask", "mask of"),
    ],
)
def test_a_strange_input_is_outside_and_named(kind: str, phrase: str) -> None:
    scan = plain()
    ramp = torch.linspace(-1, 1, 24)[:, None, None].expand(24, 24, 24)
    few = torch.zeros_like(scan.mask)
    few[4:9, 4:9, 4:9] = True
    strange = {
        "field in Hz": lambda: with_field(127.7 * scan.local_field),
        "pure noise": lambda: with_field(noise_of(scan)),
        "hidden field": lambda: with_field(
            scan.local_field, torch.full_like(scan.local_field, 0.92) * scan.local_field[scan.mask].std()
        ),
        "unremoved background": lambda: with_field(scan.local_field + ramp * 10 * scan.local_field[scan.mask].std()),
        "large voxels": lambda: replace(
            with_field(scan.local_field), grid=replace(scan.grid, voxel_size_mm=(4.0,) * 3)
        ),
        "thick slices": lambda: replace(
            with_field(scan.local_field), grid=replace(scan.grid, voxel_size_mm=(4.4, 1.0, 1.0))
        ),
        "steep tilt": lambda: replace(
            with_field(scan.local_field), grid=replace(scan.grid, b0_direction=(0.0, 0.6, 0.8))
        ),
        "small mask": lambda: Scan(scan.local_field, few, scan.grid, scan.field_noise),
    }[kind]()
    verdict = envelope().verdict(input_figures(strange))
    assert not verdict.is_inside
    assert phrase in verdict.sentence
    assert verdict.sentence.startswith("The scan is unlike")


def test_an_input_inside_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = {**figures(0, 1)[0], "mask_voxels": 1e5, "least_extent_voxels": 40.0}
    verdict = envelope().verdict(inside)
    assert verdict.is_inside
    assert "is like those" in verdict.sentence


def test_a_field_that_is_not_finite_is_outside() -> None:
    broken = {**figures(0, 1)[0], "roughness": float("nan")}
    assert not envelope().verdict(broken).is_inside


def test_too_few_inputs_and_wrong_shapes_are_refused() -> None:
    with pytest.raises(UnusableInput, match="too few"):
        Envelope.around(figures(0, 5))
    scan = plain()
    with pytest.raises(UnusableInput, match="field has shape"):
        input_figures(Scan(scan.local_field[1:], scan.mask, scan.grid))
