"""The stream gives the same sample for the same seed and index, and keeps what it promises about each."""

import itertools
from dataclasses import replace

import pytest
import torch

from pipeline.errors import InvalidRecipe
from pipeline.training.datasets.generators import GENERATORS
from pipeline.training.datasets.recipe import HELD_OUT, TRAINING_SHARES, DataRecipe
from pipeline.training.datasets.sample import Sample
from pipeline.training.datasets.stream import sample, samples

SMALL = DataRecipe(shape=(24, 20, 22), finest_mm=(2.0, 3.0))
ANY = replace(SMALL, purpose="validation", generators=tuple((name, 1.0) for name in GENERATORS))


def tensors(drawn: Sample) -> list[torch.Tensor]:
    return [drawn.susceptibility, drawn.local_field, drawn.mask, drawn.field_noise, drawn.magnitude]


def test_the_same_seed_and_index_give_the_same_bits() -> None:
    for index in range(4):
        first, second = sample(ANY, 7, index), sample(ANY, 7, index)
        assert first.grid == second.grid
        assert first.generator == second.generator
        assert all(torch.equal(a, b) for a, b in zip(tensors(first), tensors(second), strict=True))


def test_the_order_in_which_samples_are_drawn_changes_nothing() -> None:
    alone = sample(ANY, 3, 4)
    torch.manual_seed(99)
    after_others = list(itertools.islice(samples(ANY, 3, first=0, step=2), 3))[2]
    assert torch.equal(alone.local_field, after_others.local_field)


def test_another_seed_index_or_purpose_gives_another_sample() -> None:
    drawn = [
        sample(SMALL, 1, 0),
        sample(SMALL, 1, 1),
        sample(SMALL, 2, 0),
        sample(replace(SMALL, purpose="validation"), 1, 0),
    ]
    for first, second in itertools.combinations(drawn, 2):
        assert not torch.equal(first.local_field, second.local_field)


@pytest.mark.parametrize("name", list(GENERATORS))
def test_every_generator_keeps_the_promises_of_a_sample(name: str) -> None:
    recipe = replace(SMALL, purpose="validation", generators=((name, 1.0),), mixed_share=0.0)
    for index in range(3):
        drawn = sample(recipe, 11, index)
        outside = ~drawn.mask
        assert drawn.generator == name
        assert drawn.mask.dtype == torch.bool
        assert bool(drawn.mask.any())
        assert all(values.shape == recipe.shape and bool(values.isfinite().all()) for values in tensors(drawn))
        assert abs(float(drawn.susceptibility[drawn.mask].mean())) < 1e-5
        for values in (drawn.susceptibility, drawn.local_field, drawn.field_noise):
            assert not bool(values[outside].any())
        assert float(drawn.field_noise[drawn.mask].min()) > 0
        assert float(drawn.magnitude.min()) > 0
        assert 0.001 < float(drawn.susceptibility[drawn.mask].std()) < 2.5


def test_training_never_sees_a_held_out_generator() -> None:
    assert not {name for name, _ in TRAINING_SHARES} & set(HELD_OUT)
    assert set(GENERATORS) == {name for name, _ in TRAINING_SHARES} | set(HELD_OUT)
    with pytest.raises(InvalidRecipe, match="held out"):
        replace(SMALL, generators=(("composite", 1.0),))
    assert sample(SMALL.held_out(), 1, 0).generator in HELD_OUT


def test_a_generator_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(InvalidRecipe, match="'brains'"):
        sample(replace(SMALL, generators=(("brains", 1.0),)), 1, 0)
