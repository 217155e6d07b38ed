"""The strength of regularisation at which each classical method does best on each held-out generator.

A network must be better than a classical method that somebody tuned, not than one with a default for other data.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from statistics import fmean
from typing import Any

from torch import Tensor

from pipeline.errors import PipelineError
from pipeline.method import Method
from pipeline.methods import STEPS
from pipeline.studies.metrics import detrended_nrmse
from pipeline.studies.table import EvaluationTable
from pipeline.training.evaluation_trials import COMPOSITE, GENERATORS, Amount, Trial, make_trial, plans
from pipeline.training.evaluation_workers import computed

TUNED_ON = "2026-11-21"
_PATCHES, _HEADS = 4, (0, 3)
"""How many patches, and which heads of every family, weights are tuned on."""
LEAST_MULTIPLE, MOST_MULTIPLE = 1 / 32, 32.0


@dataclass(frozen=True)
class Knob:
    """What of a method is tuned: settings multiplied by one number, the first number, and the factor to the next."""

    settings: tuple[str, ...] = ("regularisation",)
    first: float = 4.0
    factor: float = 2.0


_STRENGTH = Knob()
KNOBS: dict[str, Knob] = {
    "tkd": Knob(("threshold",), 1.5, 1.25),
    "star": Knob(("strong_regularisation", "regularisation")),
    "ilsqr": Knob(("tolerance",), 1.0),
    "ndi": Knob(("streak_limit",), 0.5, 1.5),
}
"""Of all other methods it is their `regularisation`."""

TUNED: dict[str, dict[str, float]] = {
    "composite": {
        "weighted_tv": 8.0,
        "total_variation": 4.0,
        "tkd": 4.578,
        "l2": 32.0,
        "mr_tkd": 16.0,
        "rts": 8.0,
        "fansi_tv": 4.0,
        "fansi_tgv": 2.0,
        "dynamic_streaking": 4.0,
        "ilsqr": 16.0,
        "star": 4.0,
        "medi": 4.0,
        "ndi": 0.75,
        "hd_qsm": 4.0,
    },
    "piecewise_smooth": {
        "weighted_tv": 8.0,
        "total_variation": 4.0,
        "tkd": 2.0,
        "l2": 16.0,
        "mr_tkd": 4.0,
        "rts": 4.0,
        "fansi_tv": 2.0,
        "fansi_tgv": 2.0,
        "dynamic_streaking": 4.0,
        "ilsqr": 1.0,
        "star": 4.0,
        "medi": 8.0,
        "medi_0": 8.0,
        "ndi": 0.25,
        "hd_qsm": 4.0,
    },
    "textured": {
        "weighted_tv": 4.0,
        "total_variation": 4.0,
        "tkd": 1.414,
        "l2": 8.0,
        "mr_tkd": 4.0,
        "rts": 4.0,
        "fansi_tv": 2.0,
        "fansi_tgv": 2.0,
        "dynamic_streaking": 4.0,
        "ilsqr": 0.25,
        "star": 4.0,
        "medi": 4.0,
        "medi_0": 4.0,
        "ndi": 0.3536,
        "hd_qsm": 2.0,
    },
    "strong_background": {
        "weighted_tv": 4.0,
        "total_variation": 4.0,
        "tkd": 2.0,
        "l2": 8.0,
        "mr_tkd": 4.0,
        "rts": 4.0,
        "fansi_tv": 2.0,
        "fansi_tgv": 2.0,
        "dynamic_streaking": 4.0,
        "ilsqr": 0.125,
        "star": 4.0,
        "medi": 8.0,
        "medi_0": 8.0,
        "ndi": 0.3333,
        "hd_qsm": 4.0,
    },
}
"""For each generator, what the settings of a method are multiplied by.

Found by the search of `lodestone evaluate --tune` on the tuning seeds: four patches, two or three heads of each family.
"""


def classical_methods() -> tuple[str, ...]:
    """Return the names of the dipole inversions that no data were needed for."""
    return tuple(name for name, method in STEPS["dipole_inversion"].items() if not method.learned)


def knob(method: str) -> Knob:
    """Return what of a method is tuned."""
    return KNOBS.get(method, _STRENGTH)


def tuned_multiple(generator: str, method: str) -> float:
    """Return the multiple of a method's settings that is best on the tuning seeds of a generator; 1 where unknown."""
    return TUNED.get(generator, {}).get(method, 1.0)


def settings_at(method: Method, multiple: float) -> Any:
    """Return a method's default settings with those of its knob multiplied, within their limits."""
    default = method.settings()
    limits = {item.name: item.metadata for item in fields(method.settings)}
    changed = {}
    for name in knob(method.name).settings:
        least, most = limits[name].get("minimum"), limits[name].get("maximum")
        value = getattr(default, name) * multiple
        changed[name] = min(max(value, -math.inf if least is None else least), math.inf if most is None else most)
    return replace(default, **changed)


def classical_map(trial: Trial, name: str, multiple: float = 1.0) -> Tensor:
    """Return the map of a classical method, its regularisation multiplied.

    Raises
    ------
    PipelineError
        The method cannot use the trial, or diverged.
    """
    method = STEPS["dipole_inversion"][name]
    return method.apply(trial.artefacts, trial.context, settings_at(method, multiple))["susceptibility"]


@dataclass(frozen=True)
class Tuning:
    """What the search of one method found on the trials of one generator.

    `errors` holds the mean detrended NRMSE [%] by multiple, as far as it was tried.
    """

    method: str
    errors: Mapping[float, float]

    @property
    def best(self) -> float:
        """Return the multiple of least error."""
        return min(self.errors, key=lambda multiple: self.errors[multiple])


def tune(method: str, trials: Sequence[Trial], on_try: Callable[[str], None] | None = None) -> Tuning | None:
    """Search the multiple of a method's regularisation with the least mean error, uphill and downhill from the first.

    Parameters
    ----------
    method
        A classical dipole inversion.
    trials
        Of one generator, of seeds that are not reported.
    on_try
        Told what was tried.

    Returns
    -------
    None where the method cannot use the trials.
    """
    turned = knob(method)
    errors = {turned.first: _mean_error(method, trials, turned.first)}
    if math.isnan(errors[turned.first]):
        return None
    for direction in (1, -1):
        before, exponent = turned.first, direction
        while LEAST_MULTIPLE <= (multiple := turned.first * turned.factor**exponent) <= MOST_MULTIPLE:
            errors[multiple] = _mean_error(method, trials, multiple)
            if on_try is not None:
                on_try(f"{method} × {multiple:.3g}: {errors[multiple]:.2f} %")
            # Written so that an error that is not a number ends the climb too.
            if not errors[multiple] < errors[before]:
                break
            before, exponent = multiple, exponent + direction
        if before != turned.first:
            break
    known = {multiple: error for multiple, error in errors.items() if not math.isnan(error)}
    return Tuning(method, known)


def _mean_error(method: str, trials: Sequence[Trial], multiple: float) -> float:
    """Return the mean detrended NRMSE [%]; not a number where a trial is refused."""
    try:
        maps = [classical_map(trial, method, multiple) for trial in trials]
    except PipelineError:
        return math.nan
    return fmean(
        detrended_nrmse(found, trial.susceptibility, trial.mask) for found, trial in zip(maps, trials, strict=True)
    )


def tuning_tables(n_workers: int = 1, on_method: Callable[[str], None] | None = None) -> list[EvaluationTable]:
    """Search the best weight of every classical method on the tuning seeds of every generator.

    Parameters
    ----------
    n_workers
        Processes of one thread each.
    on_method
        Told each generator and method that is done.

    Returns
    -------
    A table for each generator, and one of the multiples as they are kept in this file.
    """
    pieces = [(generator, method) for generator in GENERATORS for method in classical_methods()]
    found: dict[tuple[str, str], Tuning] = {}
    for number, tuning in computed(tuned_piece, pieces, n_workers):
        if tuning is not None:
            found[pieces[number]] = tuning
        if on_method is not None:
            on_method(f"{pieces[number][1]} on {pieces[number][0]}")
    tables = [_errors_table(generator, found) for generator in GENERATORS]
    rows = tuple(
        (method, *(found[(name, method)].best if (name, method) in found else None for name in GENERATORS))
        for method in classical_methods()
    )
    return [*tables, EvaluationTable("Best multiples of the default weight", ("method", *GENERATORS), rows)]


def tuned_piece(piece: tuple[str, str]) -> Tuning | None:
    """Search the best weight of a method, given as a generator and a method."""
    generator, method = piece
    return tune(method, _tuning_trials(generator))


@lru_cache(maxsize=1)
def _tuning_trials(generator: str) -> tuple[Trial, ...]:
    chosen = [
        plan
        for plan in plans(Amount(patches=_PATCHES), "tuning")
        if plan.generator == generator and (generator == COMPOSITE or plan.index in _HEADS)
    ]
    return tuple(make_trial(plan) for plan in chosen)


def _errors_table(generator: str, found: Mapping[tuple[str, str], Tuning]) -> EvaluationTable:
    rows = []
    for (name, method), tuning in found.items():
        if name == generator:
            best = tuning.errors[tuning.best]
            tried = ", ".join(f"{multiple:.3g}: {tuning.errors[multiple]:.1f}" for multiple in sorted(tuning.errors))
            rows.append((method, tuning.best, best, tried))
    return EvaluationTable(
        f"{generator}: detrended NRMSE [%] by multiple of the default weight",
        ("method", "best multiple", "error there", "tried"),
        tuple(rows),
    )
