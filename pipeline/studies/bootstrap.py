"""Intervals by the bootstrap: the samples of a study are drawn again, with the same seed always."""

from collections.abc import Sequence

import numpy as np

from pipeline.errors import UnusableInput
from pipeline.studies.table import Estimate

N_DRAWS = 2000
_SEED = 20261121
_UNKNOWN = float("nan")


def mean_with_interval(values: Sequence[float]) -> Estimate:
    """Return the mean of the samples that have the figure, with its 95 % interval.

    Parameters
    ----------
    values
        A figure of each sample; not a number where a sample has none.
    """
    known = np.array([value for value in values if np.isfinite(value)])
    if known.size == 0:
        return Estimate(_UNKNOWN, _UNKNOWN, _UNKNOWN)
    if known.size == 1:
        return Estimate(float(known[0]), _UNKNOWN, _UNKNOWN)
    means = known[_drawn(known.size)].mean(axis=1)
    return _with_limits(float(known.mean()), means)


def ratio_of_means(mine: Sequence[float], theirs: Sequence[float]) -> Estimate:
    """Return the mean of one method's figures over that of another's on the same samples, with its 95 % interval.

    Samples are drawn in pairs, so what makes a sample hard for both methods cancels.

    Parameters
    ----------
    mine, theirs
        A figure of each sample, in the same order; a sample counts where both are finite.

    Raises
    ------
    UnusableInput
        The methods have figures of different numbers of samples.
    """
    return ratio_over_groups([mine], [theirs])


def ratio_over_groups(mine: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> Estimate:
    """Return the mean over groups of samples of the ratio of means, with its 95 % interval.

    Samples are drawn again within their group: each group (a generator) counts alike, however many samples it has.

    Parameters
    ----------
    mine, theirs
        For each group, a figure of each sample; a sample counts where both are finite.

    Raises
    ------
    UnusableInput
        The methods have figures of different numbers of samples.
    """
    ratios, drawn_ratios = [], []
    for number, (first, second) in enumerate(zip(mine, theirs, strict=True)):
        if len(first) != len(second):
            raise UnusableInput(f"{len(first)} figures cannot be paired with {len(second)}.")
        pairs = np.array([pair for pair in zip(first, second, strict=True) if np.isfinite(pair).all()])
        if len(pairs) == 0:
            continue
        ratios.append(pairs[:, 0].mean() / pairs[:, 1].mean())
        means = pairs[_drawn(len(pairs), number)].mean(axis=1)
        drawn_ratios.append(means[:, 0] / means[:, 1])
    if not ratios:
        return Estimate(_UNKNOWN, _UNKNOWN, _UNKNOWN)
    return _with_limits(float(np.mean(ratios)), np.mean(drawn_ratios, axis=0))


def _drawn(count: int, stream: int = 0) -> np.ndarray:
    """Return which samples each draw takes, `(draw, sample)`."""
    return np.random.default_rng((_SEED, stream)).integers(0, count, (N_DRAWS, count))


def _with_limits(value: float, drawn: np.ndarray) -> Estimate:
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Estimate(value, float(low), float(high))
