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
    groups = [pairs for pairs in _paired(mine, theirs) if len(pairs)]
    if not groups:
        return Estimate(_UNKNOWN, _UNKNOWN, _UNKNOWN)
    means = [pairs.mean(axis=0) for pairs in groups]
    drawn = _drawn_means(groups)
    value = float(np.mean([mean[0] / mean[1] for mean in means]))
    return _with_limits(value, np.mean([group[:, 0] / group[:, 1] for group in drawn], axis=0), groups)


def ratio_of_averages(mine: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> Estimate:
    """Return the ratio of two methods' means over groups of the mean in each group, with its 95 % interval.

    Parameters and errors are those of `ratio_over_groups`.
    """
    groups = [pairs for pairs in _paired(mine, theirs) if len(pairs)]
    if not groups:
        return Estimate(_UNKNOWN, _UNKNOWN, _UNKNOWN)
    whole = np.mean([pairs.mean(axis=0) for pairs in groups], axis=0)
    drawn = np.mean(_drawn_means(groups), axis=0)
    return _with_limits(float(whole[0] / whole[1]), drawn[:, 0] / drawn[:, 1], groups)


def _paired(mine: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> list[np.ndarray]:
    """Return the pairs of finite figures of each group, `(sample, 2)`."""
    paired = []
    for first, second in zip(mine, theirs, strict=True):
        if len(first) != len(second):
            raise UnusableInput(f"{len(first)} figures cannot be paired with {len(second)}.")
        pairs = [pair for pair in zip(first, second, strict=True) if np.isfinite(pair).all()]
        paired.append(np.array(pairs).reshape(-1, 2))
    return paired


def _drawn_means(groups: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the means of every draw of each group, `(draw, 2)`."""
    return [pairs[_drawn(len(pairs), number)].mean(axis=1) for number, pairs in enumerate(groups)]


def _drawn(count: int, stream: int = 0) -> np.ndarray:
    """Return which samples each draw takes, `(draw, sample)`."""
    return np.random.default_rng((_SEED, stream)).integers(0, count, (N_DRAWS, count))


def _with_limits(value: float, drawn: np.ndarray, groups: Sequence[np.ndarray] = ()) -> Estimate:
    """Return a figure with its interval; without one where a group is a single sample, whose spread nobody knows."""
    if any(len(pairs) < 2 for pairs in groups):
        return Estimate(value, _UNKNOWN, _UNKNOWN)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Estimate(value, float(low), float(high))
