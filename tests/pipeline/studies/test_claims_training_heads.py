"""A training on a few heads is shown these heads only, and ends with the same weights each time."""

from dataclasses import replace

import pytest
import torch

from pipeline.studies.claims_training_heads import FixedHeads, trained_on_heads, training_heads_claim
from pipeline.training.datasets.sample import Sample
from pipeline.training.datasets.stream import sample
from pipeline.training.plans import AXIAL

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = replace(AXIAL, shape=(34, 36, 34), generators=(("anatomy", 1.0),), mixed_share=0.0, negated_share=0.0)
PATCH = 32


@pytest.fixture(scope="module")
def heads() -> list[Sample]:
    return [sample(SMALL, 3, index) for index in range(2)]


def test_patches_come_from_the_given_heads_and_are_centred(heads: list[Sample]) -> None:
    with FixedHeads(heads[:1], PATCH, 7) as stream:
        examples = [stream.shown(showing) for showing in range(4)]
        again = stream.shown(2)
    assert torch.equal(again.sample.local_field, examples[2].sample.local_field)
    values = heads[0].local_field.abs().flatten()
    for example in examples:
        drawn = example.sample
        assert drawn.grid.shape == (PATCH, PATCH, PATCH)
        assert abs(float(drawn.susceptibility[drawn.mask].mean())) < 1e-5
        assert bool(torch.isin(drawn.local_field.abs().flatten(), values).all())


def test_the_same_heads_and_steps_give_the_same_network(heads: list[Sample]) -> None:
    first, second = (trained_on_heads(1, 1, batch=1, patch=PATCH, heads=heads) for _ in range(2))
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_the_table_has_a_row_for_each_number_of_heads_and_kind_of_scan(heads: list[Sample]) -> None:
    told: list[float] = []
    table = training_heads_claim(
        1,
        head_counts=(2,),
        batch=1,
        patch=PATCH,
        n_samples=1,
        size=16,
        heads=heads,
        unseen_heads=[sample(replace(SMALL, shape=(20, 20, 20)), 4, 0)],
        on_progress=told.append,
    )
    assert [row[:3] for row in table.rows] == [(2, kind, 1) for kind in ("unseen heads", "held-out generator")]
    assert told == sorted(told)
