"""Examples come in an order that workers cannot change, and turning one leaves its physics as it was."""

from dataclasses import replace

import pytest
import torch

from pipeline.training.datasets.recipe import DataRecipe
from pipeline.training.examples import Example, ExampleOrder, ExampleStream, made_example, turned_example
from pipeline.training.losses import fields_of

CPU = torch.device("cpu")
RECIPE = DataRecipe(shape=(16, 16, 16), residual_background_share=0.0, outlier_share=0.0)
ORDER = ExampleOrder(RECIPE, seed=5, needs_start=True, window=4, reuse=2)
CLEAN = replace(RECIPE, noise_ppb=(1e-6, 2e-6), mask_error_share=0.0)


def tensors(example: Example) -> list[torch.Tensor]:
    drawn = example.sample
    assert example.start is not None
    return [drawn.susceptibility, drawn.local_field, drawn.mask, drawn.field_noise, drawn.magnitude, example.start]


def test_workers_hand_out_the_same_bits_as_no_workers_from_any_place_on() -> None:
    with ExampleStream(ORDER, 0, CPU) as alone, ExampleStream(ORDER, 2, CPU) as together:
        for showing in (0, 1, 2, 9, 10):
            first, second = alone.shown(showing), together.shown(showing)
            assert first.sample.grid == second.sample.grid
            assert all(torch.equal(a, b) for a, b in zip(tensors(first), tensors(second), strict=True))


def test_an_example_depends_on_its_showing_and_not_on_those_before() -> None:
    with ExampleStream(ORDER, 0, CPU) as whole, ExampleStream(ORDER, 0, CPU) as late:
        shown = [whole.shown(showing) for showing in range(8)]
        assert torch.equal(shown[7].sample.local_field, late.shown(7).sample.local_field)


def test_every_sample_is_within_the_window_and_new_ones_keep_coming() -> None:
    indices = [ORDER.index(showing) for showing in range(400)]
    for showing, index in enumerate(indices):
        assert ORDER.oldest(showing) <= index <= ORDER.newest(showing)
        assert ORDER.newest(showing) - ORDER.oldest(showing) < 4
    assert len(set(indices)) > 150
    assert max(indices) >= 195


@pytest.mark.parametrize(("order", "flipped"), [((0, 1, 2), (0,)), ((2, 0, 1), ()), ((1, 0, 2), (0, 2))])
def test_the_field_of_a_turned_sample_is_the_turned_field(order: tuple[int, ...], flipped: tuple[int, ...]) -> None:
    example = made_example(CLEAN, 1, 3, needs_start=False)
    turned = turned_example(example, order, flipped, -2.0)
    fields = [
        fields_of(one.sample.susceptibility[None], [one.sample.grid])[0] * one.sample.mask for one in (example, turned)
    ]
    moved = turned_example(Example(replace(example.sample, local_field=fields[0])), order, flipped, -2.0)
    torch.testing.assert_close(fields[1], moved.sample.local_field, atol=1e-6, rtol=1e-3)
    # That field is also the one that the sample was made with, up to its rim of zeros.
    assert float((fields[1] - turned.sample.local_field).norm() / fields[1].norm()) < 0.2


def test_noise_stays_positive_and_the_start_map_turns_along() -> None:
    example = made_example(RECIPE, 1, 2, needs_start=True)
    turned = turned_example(example, (1, 2, 0), (1,), -3.0)
    assert float(turned.sample.field_noise.min()) >= 0
    assert example.start is not None
    assert turned.start is not None
    torch.testing.assert_close(turned.start, -3.0 * example.start.permute(0, 2, 3, 1).flip(2))


def test_a_network_that_is_not_told_b0_is_never_turned_away_from_it() -> None:
    axial = replace(RECIPE, tilt_max_deg=0.0, axial_share=1.0, aspect_max=1.0)
    order = ExampleOrder(axial, seed=5, window=2, may_turn=False)
    with ExampleStream(order, 0, CPU) as stream:
        for showing in range(12):
            assert abs(stream.shown(showing).sample.grid.b0_direction[0]) == 1.0


def test_start_maps_vary_in_training_and_not_in_validation() -> None:
    validation = replace(RECIPE, purpose="validation")
    first, second = (made_example(validation, 1, 0, needs_start=True).start for _ in range(2))
    assert first is not None
    assert second is not None
    assert torch.equal(first, second)
    settings_matter = [made_example(RECIPE, seed, 0, needs_start=True).start for seed in (1, 2)]
    assert not torch.equal(settings_matter[0], settings_matter[1])
