"""What no method can work with is refused before any work, and the sentence names it."""

import math

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.input_check import all_finite, checked_inputs, refuse_wrong_context

GRID = Grid((6, 7, 8), (1.0, 1.0, 1.0))
EVERYWHERE = torch.ones(GRID.shape, dtype=torch.bool)


def check(needed: tuple[str, ...] = (), n_echoes: int = 0, **artefacts: torch.Tensor) -> dict[str, torch.Tensor]:
    times = tuple(0.004 * (echo + 1) for echo in range(n_echoes))
    return checked_inputs(needed, artefacts, GRID, times, "method 'test'")


def test_whatever_is_missing_is_named_with_who_needs_it() -> None:
    with pytest.raises(UnusableInput, match="method 'test' needs mask"):
        check(("mask",))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("local_field", (6, 7, 9)),
        ("local_field", (1, 6, 7, 8)),
        ("phase", (6, 7, 8)),
        ("magnitude", (2, 2, 6, 7, 8)),
        ("coil_phase", (2, 6, 7, 8)),
        ("local_fields", (6, 7, 8)),
        ("start", (6, 7, 8)),
        ("mask", (7, 8)),
    ],
)
def test_an_array_with_other_axes_is_refused_by_name(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(UnusableInput, match=name.replace("_", " ")):
        check(**{name: torch.ones(shape)})


def test_a_magnitude_may_be_one_image_for_all_echoes() -> None:
    assert check(n_echoes=3, magnitude=torch.ones(GRID.shape))["magnitude"].shape == GRID.shape


def test_as_many_echoes_as_echo_times_are_needed() -> None:
    with pytest.raises(UnusableInput, match="2 echoes but there are 3 echo times"):
        check(n_echoes=3, phase=torch.zeros(2, *GRID.shape))


def test_a_mask_of_numbers_becomes_one_of_truth_values() -> None:
    assert check(mask=torch.ones(GRID.shape))["mask"].dtype == torch.bool


@pytest.mark.parametrize("n_voxels", [0, 1, 7])
def test_a_mask_with_next_to_nothing_in_it_is_refused(n_voxels: int) -> None:
    mask = torch.zeros(GRID.shape, dtype=torch.bool)
    mask.view(-1)[:n_voxels] = True
    with pytest.raises(UnusableInput, match=f"holds {n_voxels} voxels"):
        check(mask=mask)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_counts_only_inside_the_mask(wrong: float) -> None:
    field = torch.ones(GRID.shape)
    field[0, 0, 0] = wrong
    inner = EVERYWHERE.clone()
    inner[0] = False

    assert float(check(local_field=field, mask=inner)["local_field"][0, 0, 0]) == 0.0
    with pytest.raises(UnusableInput, match="1 values in the mask"):
        check(local_field=field, mask=EVERYWHERE)
    with pytest.raises(UnusableInput, match="not finite"):
        check(local_field=field)


@pytest.mark.parametrize("times", [(0.008, 0.004), (0.004, 0.004), (0.0, 0.004), (-0.001,), (float("nan"),)])
def test_echo_times_must_rise_from_above_zero(times: tuple[float, ...]) -> None:
    with pytest.raises(UnusableInput, match="Echo times must"):
        refuse_wrong_context(GRID, times, 3.0)


@pytest.mark.parametrize("tesla", [0.0, -3.0, float("nan"), float("inf")])
def test_a_field_strength_that_cannot_be_is_refused(tesla: float) -> None:
    with pytest.raises(UnusableInput, match="field strength"):
        refuse_wrong_context(GRID, (), tesla)


def test_a_volume_thinner_than_any_kernel_is_refused() -> None:
    with pytest.raises(UnusableInput, match="along every axis"):
        refuse_wrong_context(Grid((3, 40, 40), (1.0, 1.0, 1.0)), (), None)


def test_a_sum_that_overflows_is_not_taken_for_infinity() -> None:
    assert all_finite(torch.full((4, 4), 3e38))
    assert not all_finite(torch.tensor([1.0, math.inf, -math.inf]))
    assert not all_finite(torch.tensor([1.0, math.nan]))
