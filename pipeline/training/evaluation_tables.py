"""The tables of an evaluation: methods by generator, networks against the best tuned method, what must be reached."""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from pipeline.method import LEARNED_MAP_USED
from pipeline.networks.table import NETWORKS
from pipeline.studies.bootstrap import mean_with_interval, ratio_of_averages, ratio_of_means, ratio_over_groups
from pipeline.studies.table import Estimate, EvaluationTable
from pipeline.training.evaluation import COVERED, FLAGGED, OURS
from pipeline.training.evaluation_results import AFTER, BEFORE, DEFAULT, METRICS, TUNED_WEIGHT, Result
from pipeline.training.evaluation_tuning import TUNED_ON
from pipeline.training.plans import find_plan

DECIDING = "detrended_nrmse"
MOST_OF_BEST, MOST_OF_BEST_ANYWHERE = 0.85, 1.02
MOST_RISE_PERCENT = 1.0
_UNKNOWN = Estimate(math.nan, math.nan, math.nan)

ByTrial = dict[str, float]


def comparison_tables(results: Sequence[Result], states: Mapping[str, str]) -> list[EvaluationTable]:
    """Return a table for each generator: every method, every metric with its 95 % interval, the best method first.

    Parameters
    ----------
    results
        Of an evaluation.
    states
        How far each network is trained, in a word or two; one without results has a row that says so.
    """
    return [
        _comparison(generator, [result for result in _compared(results) if result.generator == generator], states)
        for generator in generators_of(results)
    ]


def average_table(results: Sequence[Result]) -> EvaluationTable:
    """Return the deciding figure of every method on every generator and averaged over them, the best method first."""
    generators = generators_of(results)
    rows: list[tuple[float, tuple[object, ...]]] = []
    for method, variant in _methods(_compared(results)):
        values = [figures(results, generator, method, variant) for generator in generators]
        estimates = [mean_with_interval(list(by_trial.values())) for by_trial in values]
        known = [estimate.value for estimate in estimates]
        mean = fmean(known) if all(math.isfinite(value) for value in known) else math.nan
        rows.append((math.inf if math.isnan(mean) else mean, (method, variant, *estimates, mean)))
    rows.sort(key=lambda row: row[0])
    return EvaluationTable(
        "Detrended NRMSE [%] by generator, mean over samples [95 % interval]",
        ("method", "weight", *generators, "average"),
        tuple(cells for _, cells in rows),
        (f"Tuned weights: best on other seeds of the same generator, found {TUNED_ON} (lodestone evaluate --tune).",),
    )


def best_tuned(results: Sequence[Result], generator: str) -> str | None:
    """Return the classical method with the least mean error at its tuned weight on the reported samples themselves."""
    means = {
        method: fmean(found.values())
        for method in _classical_names(results)
        if (found := figures(results, generator, method, TUNED_WEIGHT))
    }
    return min(means, key=lambda method: means[method]) if means else None


def best_on_average(results: Sequence[Result]) -> str | None:
    """Return the classical method whose error at tuned weights is least on average over all generators."""
    averages = {}
    for method in _classical_names(results):
        found = [figures(results, generator, method, TUNED_WEIGHT) for generator in generators_of(results)]
        if all(found):
            averages[method] = fmean(fmean(by_trial.values()) for by_trial in found)
    return min(averages, key=lambda method: averages[method]) if averages else None


def ratio_table(results: Sequence[Result]) -> EvaluationTable:
    """Return each network's error over that of the best tuned classical method, by generator and on average."""
    generators = generators_of(results)
    best = {generator: best_tuned(results, generator) for generator in generators}
    alone = best_on_average(results)
    one: dict[str, str | None] = dict.fromkeys(generators, alone)
    rows = []
    for network in _network_names(results):
        mine, theirs = _pairs(results, network, best)
        ratios = [ratio_of_means(first, second) for first, second in zip(mine, theirs, strict=True)]
        whole = ratio_of_averages(*_pairs(results, network, one))
        rows.append((network, *ratios, ratio_over_groups(mine, theirs), whole))
    headings = [f"{generator} (to {best[generator] or 'none'})" for generator in generators]
    return EvaluationTable(
        "Detrended NRMSE of a network over that of the best tuned classical method [95 % interval, paired bootstrap]",
        ("network", *headings, "average", f"averages (to {alone or 'none'})"),
        tuple(rows),
        (
            "The best classical method is chosen on the reported samples themselves, for each generator anew: "
            "the hardest comparison for a network. The last column is its average error over that of the one method "
            "that is best on average, still tuned to each generator.",
        ),
    )


def refinement_table(results: Sequence[Result]) -> EvaluationTable:
    """Return misfit and error of each network before and after DF-QSM by our rule, over all generators."""
    rows = []
    for network in _network_names(results):
        before, after = (_refinements(results, network, variant) for variant in (BEFORE, AFTER))
        if not before:
            continue
        pairs = [(before[trial], after[trial]) for trial in before]
        change = [100 * (second["nrmse"] / first["nrmse"] - 1) for first, second in pairs]
        cells = [
            mean_with_interval([pair[side][key] for pair in pairs]) for key in ("residual", "nrmse") for side in (0, 1)
        ]
        whole = ratio_of_means(*([pair[side]["nrmse"] for pair in pairs] for side in (1, 0)))
        shift = Estimate(*(100 * (value - 1) for value in (whole.value, whole.low, whole.high)))
        rows.append((network, len(pairs), *cells, shift, max(change)))
    return EvaluationTable(
        "DF-QSM after each network, by our rule",
        (
            "network",
            "samples",
            "residual before [noise]",
            "after [noise]",
            "NRMSE before [%]",
            "after [%]",
            "change of mean NRMSE [%]",
            "worst sample's change [%]",
        ),
        tuple(rows),
        ("A residual of 1 is noise alone. Changes are relative to the error before.",),
    )


def trust_table(results: Sequence[Result]) -> EvaluationTable | None:
    """Return how often our network's map passed its gates, and how well its intervals hold; None without gates."""
    gated = [result for result in _compared(results) if LEARNED_MAP_USED in result.scores]
    if not gated:
        return None
    rows = []
    for group in (*generators_of(gated), "all"):
        mine = [result for result in gated if group in (result.generator, "all")]
        cells = [
            mean_with_interval([100 * result.scores[key] for result in mine])
            for key in (LEARNED_MAP_USED, FLAGGED, COVERED)
        ]
        rows.append((group, len(mine), *cells))
    return EvaluationTable(
        f"Trust in the map of {OURS}",
        (
            "generator",
            "samples",
            "learned map used [%]",
            "input flagged [%]",
            "90 % intervals of regions that hold [%]",
        ),
        tuple(rows),
        (
            "Where a gate fails, the classical twin stands for the learned map, with an interval of its own. "
            "All samples here are inside the envelope, so a flag is a false alarm.",
        ),
    )


def verdict_table(results: Sequence[Result], dependence: Callable[[str], dict[str, Estimate]]) -> EvaluationTable:
    """Return what must be reached, and whether it is.

    Parameters
    ----------
    results
        Of an evaluation.
    dependence
        Gives how much a nucleus' mean depends on each factor for a method [%].
    """
    rows: list[tuple[object, ...]] = []
    best = {generator: best_tuned(results, generator) for generator in generators_of(results)}
    if OURS in _network_names(results) and all(best.values()):
        mine, theirs = _pairs(results, OURS, best)
        average = ratio_over_groups(mine, theirs)
        rows.append(_verdict(f"{OURS} over the best tuned method of each generator, average", MOST_OF_BEST, average))
        alone = best_on_average(results)
        whole = ratio_of_averages(*_pairs(results, OURS, dict.fromkeys(best, alone)))
        rows.append(_verdict(f"{OURS} over {alone}, the best tuned method on average", MOST_OF_BEST, whole))
        for generator, first, second in zip(best, mine, theirs, strict=True):
            ratio = ratio_of_means(first, second)
            rows.append(_verdict(f"{OURS} over {best[generator]}, {generator}", MOST_OF_BEST_ANYWHERE, ratio))
    if OURS in _network_names(results):
        for factor, moved in dependence(OURS).items():
            rows.append(_verdict(f"change of a nucleus' mean with {factor} [%], {OURS}", 3.0, moved))
    rows += _verdicts_on_trust(results)
    for row in refinement_table(results).rows:
        network, before, after, change = row[0], row[2], row[3], row[6]
        assert isinstance(before, Estimate)
        assert isinstance(after, Estimate)
        assert isinstance(change, Estimate)
        rows.append((f"residual of {network} after DF-QSM [noise]", before.value, after, after.value <= before.value))
        rows.append(_verdict(f"DF-QSM's change of the NRMSE of {network} [%]", MOST_RISE_PERCENT, change))
    return EvaluationTable("What must be reached", ("figure", "at most", "found", "reached"), tuple(rows))


def generators_of(results: Sequence[Result]) -> list[str]:
    """Return the generators in the order of the results."""
    return list(dict.fromkeys(result.generator for result in _compared(results)))


def figures(results: Sequence[Result], generator: str, method: str, variant: str, metric: str = DECIDING) -> ByTrial:
    """Return a figure of a method by trial, without the trials that it refused."""
    return {
        result.trial: result.scores[metric]
        for result in _compared(results)
        if (result.generator, result.method, result.variant) == (generator, method, variant) and result.scores
    }


def _comparison(generator: str, results: Sequence[Result], states: Mapping[str, str]) -> EvaluationTable:
    rows: list[tuple[object, ...]] = []
    for method, variant in _methods(results):
        found = [result for result in results if (result.method, result.variant) == (method, variant)]
        known = [result for result in found if result.scores]
        weight = f"× {found[0].multiple:.3g}" if variant == TUNED_WEIGHT else states.get(method, "default")
        means = [mean_with_interval([result.scores[metric] for result in known]) for metric in METRICS]
        seconds = fmean(result.seconds for result in known) if known else math.nan
        rows.append((method, weight, len(known), *means, seconds))
    rows.sort(key=lambda row: row[3].value if isinstance(row[3], Estimate) and row[2] else math.inf)
    absent = [name for name in states if name not in {result.method for result in results}]
    rows += [(name, states[name], 0, *(_UNKNOWN for _ in METRICS), math.nan) for name in absent]
    notes = [f"{name}: {states[name]}; train it with `lodestone train {name} --export`." for name in absent]
    notes += _notes_on_direction(results)
    remarks = {f"{result.method}: {result.remark}" for result in results if result.remark}
    return EvaluationTable(
        f"{generator}: mean over samples [95 % interval]",
        ("method", "weight", "samples", *METRICS.values(), "time [s]"),
        tuple(rows),
        (*notes, *sorted(remarks)),
    )


def _notes_on_direction(results: Sequence[Result]) -> list[str]:
    blind = [name for name in _methods_named(results) if name in NETWORKS and not find_plan(name).knows_direction]
    if not blind:
        return []
    return [f"Told neither B0 nor voxel size, and trained on axial cubes only: {', '.join(blind)}."]


def _methods_named(results: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(result.method for result in results))


def _compared(results: Sequence[Result]) -> list[Result]:
    """Return the results of the comparison of methods, without axes and refinements."""
    return [result for result in results if result.level is None and result.variant in (DEFAULT, TUNED_WEIGHT)]


def _methods(results: Sequence[Result]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((result.method, result.variant) for result in results))


def _classical_names(results: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(result.method for result in _compared(results) if result.variant == TUNED_WEIGHT))


def _network_names(results: Sequence[Result]) -> list[str]:
    classical = _classical_names(results)
    return list(dict.fromkeys(result.method for result in _compared(results) if result.method not in classical))


def _pairs(
    results: Sequence[Result], network: str, best: dict[str, str | None]
) -> tuple[list[list[float]], list[list[float]]]:
    """Return the figures of a network and of each generator's best method on the trials that both have."""
    mine, theirs = [], []
    for generator, method in best.items():
        first = figures(results, generator, network, DEFAULT)
        second = figures(results, generator, method, TUNED_WEIGHT) if method else {}
        shared = [trial for trial in first if trial in second]
        mine.append([first[trial] for trial in shared])
        theirs.append([second[trial] for trial in shared])
    return mine, theirs


def _refinements(results: Sequence[Result], network: str, variant: str) -> dict[str, dict[str, float]]:
    return {
        result.trial: result.scores
        for result in results
        if (result.method, result.variant) == (network, variant) and result.level is None
    }


def _verdicts_on_trust(results: Sequence[Result]) -> list[tuple[object, ...]]:
    table = trust_table(results)
    if table is None:
        return []
    flagged, covered = table.rows[-1][3:]
    assert isinstance(flagged, Estimate)
    assert isinstance(covered, Estimate)
    return [
        _verdict("usual inputs that are flagged [%]", 5.0, flagged),
        ("90 % intervals of regions that hold [%]", "88 to 92", covered, 88 <= covered.value <= 92),
    ]


def _verdict(figure: str, limit: float, found: Estimate) -> tuple[object, ...]:
    return figure, limit, found, "–" if math.isnan(found.value) else found.value <= limit
