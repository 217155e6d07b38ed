"""Networks and classical methods on the same held-out trials: what `lodestone evaluate` prints."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from torch import Tensor, nn

from pipeline.errors import PipelineError, UnknownMethod
from pipeline.method import LEARNED_MAP_USED, Finding, nearest
from pipeline.networks.inputs import Scan
from pipeline.networks.table import NETWORKS
from pipeline.networks.weights import FOLDER, is_trained, load_network
from pipeline.studies.metrics import nrmse
from pipeline.studies.region_metrics import RegionError
from pipeline.susceptibility.dipole_inversion.learned.data_term import DataTerm
from pipeline.susceptibility.dipole_inversion.learned.intervals import IntervalScale, region_half_width
from pipeline.susceptibility.dipole_inversion.learned.lodestone_map import (
    NAME,
    LodestoneSettings,
    learned_map,
    trusted_map,
)
from pipeline.susceptibility.dipole_inversion.learned.network_methods import NetworkSettings, network_map
from pipeline.susceptibility.dipole_inversion.learned.refinement import DfQsmSettings, df_qsm
from pipeline.susceptibility.dipole_inversion.learned.starts import start_maps
from pipeline.susceptibility.dipole_inversion.learned.trust_calibration import load_calibration
from pipeline.training.evaluation_axes import AxisPlan, axis_plans, axis_trials
from pipeline.training.evaluation_pieces import KeptPieces
from pipeline.training.evaluation_results import AFTER, BEFORE, DEFAULT, TUNED_WEIGHT, Result, scored
from pipeline.training.evaluation_trials import FULL, Amount, Plan, Trial, make_trial, plans
from pipeline.training.evaluation_tuning import classical_map, classical_methods, tuned_multiple
from pipeline.training.evaluation_workers import computed

SLOW_NETWORKS = frozenset({"xqsm", "xqsm_cropped", "kqsm", "kqsm_02", "lpcnn", "modl_qsm", "qsmnet", "qsmnet_plus"})
AXIS_METHODS = ("weighted_tv", "star", "medi", "l2", "tkd")
"""Classical methods, at their tuned weights, that stand beside the networks where one factor at a time is varied."""

Work = Plan | AxisPlan


@dataclass(frozen=True)
class Wanted:
    """What is evaluated.

    Attributes
    ----------
    networks
        By name.
    has_classical
        Whether the classical methods stand beside them.
    amount
        Numbers of trials.
    stream
        "report", or "tuning": the trials on which settings may be chosen.
    weights_folder
        Where the networks' weights are.
    """

    networks: tuple[str, ...]
    has_classical: bool = True
    amount: Amount = FULL
    stream: str = "report"
    weights_folder: Path = FOLDER

    def __post_init__(self) -> None:
        for name in self.networks:
            if name not in NETWORKS:
                raise UnknownMethod(f"There is no network '{name}'; {nearest(name, NETWORKS)}")

    @property
    def trained(self) -> tuple[str, ...]:
        """Return the networks that have weights."""
        return tuple(name for name in self.networks if is_trained(name, self.weights_folder))

    @property
    def untrained(self) -> tuple[str, ...]:
        """Return the networks that have none."""
        return tuple(name for name in self.networks if name not in self.trained)

    @property
    def work(self) -> list[Work]:
        """Return what is to be computed, the longest pieces first, so that the last ones are short."""
        axes: list[Work] = list(axis_plans(self.amount, self.stream))
        return [*reversed(axes), *reversed(plans(self.amount, self.stream))]


def evaluate(
    wanted: Wanted,
    n_workers: int = 1,
    on_work: Callable[[str], None] | None = None,
    kept: KeptPieces | None = None,
) -> list[Result]:
    """Return what every method reached on every trial.

    Parameters
    ----------
    wanted
        Methods and trials.
    n_workers
        Processes of one thread each; 1 computes in this process.
    on_work
        Told the name of every piece of work that is done.
    kept
        Where pieces of an evaluation that was stopped are, and where those of this one go.

    Returns
    -------
    Results in an order that does not depend on the number of workers.

    Raises
    ------
    WeightsAltered
        A file of weights is not what is listed.
    """
    work, tell = wanted.work, on_work or _tell_nobody
    found: dict[int, list[Result]] = {}
    for number, piece in enumerate(work):
        before = kept.find(piece) if kept is not None else None
        if before is not None:
            found[number] = before
            tell(piece.name)
    left = [number for number in range(len(work)) if number not in found]
    for place, results in computed(partial(judged, wanted), [work[number] for number in left], n_workers):
        piece = work[left[place]]
        found[left[place]] = results
        if kept is not None:
            kept.keep(piece, results)
        tell(piece.name)
    return [result for number in sorted(found, reverse=True) for result in found[number]]


def _tell_nobody(name: str) -> None:
    """Stand in where nobody listens to the progress."""


def judged(wanted: Wanted, piece: Work) -> list[Result]:
    """Return the results of all methods on one piece of work."""
    if isinstance(piece, AxisPlan):
        results = []
        for level, trial in axis_trials(piece):
            for result in _on_axis(wanted, piece, trial):
                results.append(replace(result, generator=piece.generator, trial=piece.name, level=level))
        return results
    trial = make_trial(piece)
    results = _compared(wanted, piece, trial)
    return [replace(result, generator=piece.generator, trial=piece.name) for result in results]


def _compared(wanted: Wanted, plan: Plan, trial: Trial) -> list[Result]:
    """Return the results of the comparison: classical methods at default and tuned weights, and networks."""
    results = []
    for name in classical_methods() if wanted.has_classical else ():
        default = _classical(trial, name, 1.0, DEFAULT)
        multiple = tuned_multiple(plan.generator, name)
        tuned = default if multiple == 1.0 or default.remark else _classical(trial, name, multiple, TUNED_WEIGHT)
        results += [default, replace(tuned, variant=TUNED_WEIGHT)]
    for name in wanted.trained:
        if name not in SLOW_NETWORKS or plan.index % wanted.amount.slow_every == 0:
            results += network_results(trial, name, wanted.weights_folder)
    return results


def _on_axis(wanted: Wanted, plan: AxisPlan, trial: Trial) -> list[Result]:
    results = [
        _classical(trial, name, tuned_multiple(plan.generator, name), TUNED_WEIGHT)
        for name in (AXIS_METHODS if wanted.has_classical else ())
    ]
    for name in wanted.trained:
        if name not in SLOW_NETWORKS or plan.is_first_patch:
            results += network_results(trial, name, wanted.weights_folder, refines=False)
    return results


def _classical(trial: Trial, name: str, multiple: float, variant: str) -> Result:
    blank = Result(name, variant, "", "", multiple=multiple)
    began = time.perf_counter()
    try:
        found = classical_map(trial, name, multiple)
    except PipelineError as error:
        return replace(blank, remark=str(error))
    return _scored(trial, found, replace(blank, seconds=time.perf_counter() - began))


def _scored(trial: Trial, found: Tensor, blank: Result) -> Result:
    scores, regions = scored(trial, found)
    return replace(blank, scores=scores, regions=regions)


def network_results(trial: Trial, name: str, folder: Path, refines: bool = True) -> list[Result]:
    """Return the results of a network with the correction that it is meant to have, and alone and with DF-QSM.

    Our own network is judged as the product applies it, with its gates, and without them; the first of the maps that
    it starts from, its classical twin, follows.

    Parameters
    ----------
    trial
        What it is given.
    name
        A network with weights.
    folder
        Of the weights.
    refines
        Whether the map is also judged before and after DF-QSM by our rule.
    """
    began = time.perf_counter()
    starts = start_maps(trial, trial.magnitude) if NETWORKS[name].needs_start else None
    seconds = time.perf_counter() - began
    results = []
    if name == OURS and starts is not None:
        twin = _scored(trial, starts[0], Result(TWIN, DEFAULT, "", "", seconds=seconds))
        results = [_gated(trial, folder, starts, seconds), twin]
        if not refines:
            return results
    began = time.perf_counter() - seconds
    alone = network_alone(trial, name, folder, starts)
    maps = {BEFORE: alone}
    if refines or name in REFINED:
        maps[AFTER] = refined(trial, alone)
    default = maps[AFTER if name in REFINED else BEFORE]
    called = UNGATED if name == OURS else name
    results.insert(1, _scored(trial, default, Result(called, DEFAULT, "", "", seconds=time.perf_counter() - began)))
    return results + (_refinements(trial, name, maps) if refines else [])


OURS, UNGATED, TWIN = NAME, f"{NAME} without gates", "classical twin"
REFINED = frozenset({OURS, "unet_df"})
"""Networks whose map is meant to be corrected by DF-QSM."""
FLAGGED, COVERED = "flagged", "covered"
"""Whether the input was found unusual, and the share of regions whose interval holds the truth."""
_MEMBERS = 3


def _gated(trial: Trial, folder: Path, starts: Tensor, seconds: float) -> Result:
    """Return the result of our network as a recipe applies it, with its gates and its fall-back."""
    told: list[Finding] = []
    blank = Result(OURS, DEFAULT, "", "")
    began = time.perf_counter()
    try:
        calibration, network = load_calibration(OURS, folder), _loaded(OURS, folder)
        given, context = trial.artefacts | {"start": starts}, replace(trial.context, on_finding=told.append)
        found = trusted_map(NETWORKS[OURS], network, calibration, given, context, LodestoneSettings())
    except PipelineError as error:
        return replace(blank, remark=str(error))
    seconds += time.perf_counter() - began
    result = _scored(trial, found["susceptibility"], replace(blank, seconds=seconds))
    is_learned = any(finding.figures.get(LEARNED_MAP_USED) for finding in told)
    scale = calibration.learned if is_learned else calibration.classical
    trust = {
        LEARNED_MAP_USED: float(is_learned),
        FLAGGED: float(any(finding.name == "envelope" and finding.is_warning for finding in told)),
        COVERED: _covered_share(trial, result.regions, found["susceptibility_spread"], scale),
    }
    return replace(result, scores=result.scores | trust)


def _covered_share(trial: Trial, regions: Sequence[RegionError], half_widths: Tensor, scale: IntervalScale) -> float:
    """Return the share of regions whose true mean lies in its 90 % interval; not a number where there is none."""
    numbers = {name: label for label, name in trial.label_names.items()}
    covered = [
        abs(one.error_ppb)
        <= 1000 * region_half_width(half_widths, (trial.labels == numbers[one.name]) & trial.mask, scale)
        for one in regions
    ]
    return sum(covered) / len(covered) if covered else math.nan


def _refinements(trial: Trial, name: str, maps: Mapping[str, Tensor]) -> list[Result]:
    """Return misfit and error of a network's maps before and after DF-QSM."""
    term = DataTerm.of(trial.local_field, trial.mask, trial.grid, trial.field_noise)
    return [
        Result(
            name,
            variant,
            "",
            "",
            scores={
                "residual": term.ratio(term.residual(term.framed(found))),
                "nrmse": nrmse(found, trial.susceptibility, trial.mask),
            },
        )
        for variant, found in maps.items()
    ]


def default_map(trial: Trial, name: str, folder: Path) -> Tensor:
    """Return a network's map with the correction that it is meant to have, without gates."""
    starts = start_maps(trial, trial.magnitude) if NETWORKS[name].needs_start else None
    alone = network_alone(trial, name, folder, starts)
    return refined(trial, alone) if name in REFINED else alone


def network_alone(trial: Trial, name: str, folder: Path, starts: Tensor | None) -> Tensor:
    """Return a network's map without any correction; our own network's is the mean of its ensemble."""
    network = _loaded(name, folder)
    if name == OURS and starts is not None:
        scan = Scan(trial.local_field, trial.mask, trial.grid, trial.field_noise)
        uncorrected = LodestoneSettings(refinement="none")
        return learned_map(NETWORKS[name], network, scan, starts, _MEMBERS, uncorrected).susceptibility
    given = trial.artefacts if starts is None else trial.artefacts | {"start": starts}
    return network_map(NETWORKS[name], network, given, trial.context, NetworkSettings(refinement="none"))


def refined(trial: Trial, susceptibility: Tensor) -> Tensor:
    """Return a map after DF-QSM by our rule."""
    steps = DfQsmSettings(iterations=LodestoneSettings().iterations)
    return df_qsm(susceptibility, trial.local_field, trial.mask, trial.grid, steps, trial.field_noise)


@lru_cache(maxsize=len(NETWORKS))
def _loaded(name: str, folder: Path) -> nn.Module:
    return load_network(name, folder=folder)
