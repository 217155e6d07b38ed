"""Learning rates over a training: factors of the first rate, decided by the share done, the step and past scores."""

import math
from collections.abc import Callable, Sequence

Schedule = Callable[[float, int], float]
"""From the share of the training done (0 to 1) and the number of steps taken to a factor of the first rate."""

_LEAST = 0.01
_WARM_UP_STEPS = 100


def constant(progress: float, step: int) -> float:
    """Return 1."""
    return 1.0


def cosine(progress: float, step: int) -> float:
    """Fall along half a cosine to a hundredth, after a rise over the first hundred steps."""
    rise = min(1.0, (step + 1) / _WARM_UP_STEPS)
    return rise * (_LEAST + (1 - _LEAST) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def drops_at(shares: Sequence[float], factor: float) -> Schedule:
    """Return a schedule that multiplies the rate by a factor at each of some shares of the training."""

    def schedule(progress: float, step: int) -> float:
        return factor ** sum(progress >= share for share in shares)

    return schedule


def drops_every(steps: int | None, factor: float, times: int = 1) -> Schedule:
    """Return a schedule that multiplies the rate every so many steps, or `times` in a training at equal shares."""

    def schedule(progress: float, step: int) -> float:
        return factor ** (step // steps if steps else math.floor(min(1.0, progress) * times))

    return schedule


def plateau_factor(scores: Sequence[float], patience: int) -> float:
    """Return the factor that is left after the rate was halved whenever so many scores in a row brought no gain.

    Parameters
    ----------
    scores
        Past validation errors, oldest first.
    patience
        Scores without gain that are waited for; 0 never halves.
    """
    factor, best, waited = 1.0, math.inf, 0
    for score in scores if patience else ():
        waited = 0 if score < best else waited + 1
        best = min(best, score)
        if waited > patience:
            factor, waited = factor / 2, 0
    return factor
