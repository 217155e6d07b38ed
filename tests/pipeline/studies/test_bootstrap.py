"""Intervals cover the truth as often as they say, and pair what belongs together."""

import math

import numpy as np
import pytest

from pipeline.errors import UnusableInput
from pipeline.studies.bootstrap import mean_with_interval, ratio_of_averages, ratio_of_means, ratio_over_groups


def test_the_interval_of_a_mean_covers_the_true_mean_about_as_often_as_it_says() -> None:
    chance = np.random.default_rng(5)
    covered = 0
    for _ in range(200):
        found = mean_with_interval(chance.normal(10.0, 2.0, 30).tolist())
        covered += found.low <= 10.0 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_samples_without_the_figure_do_not_count() -> None:
    assert mean_with_interval([1.0, math.nan, 3.0]).value == 2.0
    assert math.isnan(mean_with_interval([math.nan]).value)
    alone = mean_with_interval([4.0])
    assert alone.value == 4.0
    assert math.isnan(alone.low)


def test_a_constant_ratio_has_no_spread_however_the_samples_differ() -> None:
    hard = [10.0, 80.0, 35.0, 5.0, 60.0]
    found = ratio_of_means([0.8 * value for value in hard], hard)
    assert found.low == pytest.approx(0.8)
    assert found.high == pytest.approx(0.8)
    assert found.value == pytest.approx(0.8)


def test_each_group_counts_alike_however_many_samples_it_has() -> None:
    found = ratio_over_groups([[1.0] * 100, [2.0, 2.0]], [[2.0] * 100, [2.0, 2.0]])
    assert found.value == pytest.approx(0.75)


def test_a_ratio_of_averages_weighs_a_group_by_the_size_of_its_errors() -> None:
    mine, theirs = [[10.0, 10.0], [30.0, 30.0]], [[20.0, 20.0], [30.0, 30.0]]
    assert ratio_of_averages(mine, theirs).value == pytest.approx(0.8)
    assert ratio_over_groups(mine, theirs).value == pytest.approx(0.75)


def test_a_single_sample_has_a_ratio_but_no_interval() -> None:
    for found in (ratio_of_means([1.0], [2.0]), ratio_of_averages([[1.0], [1.0, 1.0]], [[2.0], [2.0, 2.0]])):
        assert found.value == pytest.approx(0.5)
        assert math.isnan(found.low)


def test_figures_that_cannot_be_paired_are_refused() -> None:
    with pytest.raises(UnusableInput, match="paired"):
        ratio_of_means([1.0], [1.0, 2.0])


def test_the_same_figures_give_the_same_interval() -> None:
    values = [3.0, 1.0, 4.0, 1.5, 9.0]
    assert mean_with_interval(values) == mean_with_interval(values)
