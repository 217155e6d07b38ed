"""What only COSMOS promises: several orientations leave no cone, and poor sets of orientations are refused."""

import functools
from dataclasses import replace

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.method import StepContext
from pipeline.operators.dipole import Dipole
from pipeline.susceptibility.dipole_inversion.cosmos import COSMOS, CosmosSettings
from tests.pipeline.susceptibility.dipole_inversion.heads import NOISE_PPM, SmallHead, small_head

Direction = tuple[float, float, float]
DIRECTIONS: tuple[Direction, ...] = ((1.0, 0.0, 0.0), (0.8, 0.6, 0.0), (0.8, 0.0, -0.6))


@functools.cache
def head() -> SmallHead:
    return small_head((36, 40, 38))


def fields(directions: tuple[Direction, ...], noise_ppm: float = NOISE_PPM) -> torch.Tensor:
    chance = torch.Generator().manual_seed(2)
    noise = noise_ppm * torch.randn((len(directions), *head().grid.shape), generator=chance, dtype=torch.float64)
    clean = [Dipole.on(replace(head().grid, b0_direction=b0), head().truth)(head().truth) for b0 in directions]
    return (torch.stack(clean) + noise) * head().mask


def mapped(
    directions: tuple[Direction, ...], settings: CosmosSettings = CosmosSettings(), **changed: object
) -> torch.Tensor:
    context = StepContext(head().grid, b0_directions=directions)
    artefacts = {"local_fields": fields(directions), "mask": head().mask} | changed
    return COSMOS.apply(artefacts, context, settings)["susceptibility"]


def test_three_orientations_leave_hardly_an_error() -> None:
    found = mapped(DIRECTIONS)
    assert head().error_percent(found) < 15
    assert 0.95 < head().slope(found) < 1.05


def test_a_fourth_orientation_lessens_the_noise() -> None:
    four = (*DIRECTIONS, (0.8, -0.6, 0.0))
    noisy = {count: mapped(each, local_fields=fields(each, 0.01)) for count, each in ((3, DIRECTIONS), (4, four))}
    assert head().error_percent(noisy[4]) < head().error_percent(noisy[3])


def test_steps_that_know_the_mask_improve_on_one_division() -> None:
    once = mapped(DIRECTIONS, CosmosSettings(iterations=0))
    assert head().error_percent(mapped(DIRECTIONS)) < head().error_percent(once) - 3


def test_the_order_of_the_orientations_does_not_matter() -> None:
    turned = DIRECTIONS[::-1]
    found = mapped(turned, local_fields=fields(DIRECTIONS).flip(0))
    torch.testing.assert_close(found, mapped(DIRECTIONS), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("directions", "words"),
    [
        (DIRECTIONS[:2], "3 orientations or more"),
        ((*DIRECTIONS[:2], (0.8, 0.6, 0.001)), "nearly the same"),
        ((*DIRECTIONS[:2], (-0.8, -0.6, 0.0)), "nearly the same"),
        ((*DIRECTIONS[:2], (2.0, 0.0, 0.0)), "not a unit vector"),
    ],
)
def test_poor_sets_of_orientations_are_refused(directions: tuple[Direction, ...], words: str) -> None:
    with pytest.raises(UnusableInput, match=words):
        mapped(directions)


def test_a_field_too_many_is_refused() -> None:
    with pytest.raises(UnusableInput, match="3 directions"):
        mapped(DIRECTIONS, local_fields=fields((*DIRECTIONS, (0.0, 0.0, 1.0))))
