"""Learning rates fall as the papers say, and as the scores say."""

import itertools

import pytest

from pipeline.training.plans import PLANS
from pipeline.training.schedules import constant, cosine, drops_at, drops_every, plateau_factor


def test_every_plans_rate_starts_high_and_never_rises_after_the_warm_up() -> None:
    for name, plan in PLANS.items():
        factors = [plan.schedule(share / 50, 100 + 400 * share) for share in range(51)]
        assert factors[0] == pytest.approx(1.0), name
        assert all(later <= sooner for sooner, later in itertools.pairwise(factors)), name


def test_the_cosine_begins_small_and_ends_at_a_hundredth() -> None:
    assert cosine(0.0, 0) == pytest.approx(0.01)
    assert cosine(0.5, 1000) == pytest.approx(0.505)
    assert cosine(1.0, 1000) == cosine(1.7, 1000) == pytest.approx(0.01)


def test_drops_come_at_their_shares_and_steps() -> None:
    xqsm = drops_at((0.5, 0.8), 0.1)
    assert [xqsm(share, 0) for share in (0.49, 0.5, 0.8)] == pytest.approx([1.0, 0.1, 0.01])
    qsmnet = drops_every(600, 0.95)
    assert [qsmnet(0.0, step) for step in (599, 600, 1200)] == pytest.approx([1.0, 0.95, 0.9025])
    lpcnn = drops_every(None, 0.5, times=2)
    assert [lpcnn(share, 9) for share in (0.49, 0.5, 1.0)] == pytest.approx([1.0, 0.5, 0.25])
    assert constant(0.9, 9) == 1.0


def test_the_rate_is_halved_when_more_scores_than_the_patience_bring_no_gain() -> None:
    assert plateau_factor([5.0, 4.0, 4.1, 4.2, 4.3], 3) == 1.0
    assert plateau_factor([5.0, 4.0, 4.1, 4.2, 4.3, 4.4], 3) == 0.5
    assert plateau_factor([5.0, 4.0, 4.1, 4.2, 3.9, 4.4, 4.5], 3) == 1.0
    assert plateau_factor([5.0] * 20, 0) == 1.0
