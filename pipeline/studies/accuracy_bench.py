"""Every method of every step on every phantom: the table behind `lodestone bench accuracy`."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from torch import Tensor

from pipeline.errors import PipelineError
from pipeline.method import OnIteration
from pipeline.methods import STEPS
from pipeline.recipe import Recipe, builtin_recipe, chain_names
from pipeline.run import run
from pipeline.studies.cases import Case
from pipeline.studies.step_scores import CHAIN, FIELD_MAP, STEP_SCORES, Column, LackingTruth, Scores


@dataclass(frozen=True)
class Result:
    """What one method reached on one case; `remark` says why there are no scores."""

    step: str
    method: str
    case: str
    family: str
    scores: Scores = field(default_factory=dict)
    seconds: float = 0.0
    remark: str = ""


@dataclass(frozen=True)
class Summary:
    """Mean and worst of every figure of one method over the cases, and the remarks."""

    step: str
    method: str
    n_cases: int
    mean: Scores
    worst: Scores
    worst_case: str
    seconds: float
    remarks: tuple[str, ...]


def chosen_methods(steps: Sequence[str] = (), methods: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Return pairs of step and method, of all or of the named steps and methods, in the order in which steps run."""
    table = {step: tuple(ways) for step, ways in STEPS.items()}
    table[FIELD_MAP] = tuple(
        name for name, method in STEPS["echo_combination"].items() if "total_field" in method.outputs
    )
    table[CHAIN] = chain_names()
    return [
        (step, name)
        for step, names in table.items()
        if not steps or step in steps
        for name in names
        if not methods or name in methods
    ]


def judge(case: Case, chosen: Sequence[tuple[str, str]]) -> Iterator[Result]:
    """Yield the result of each chosen method on a case; a refusal or a lack of inputs is a remark, not an end."""
    for step, name in chosen:
        began = time.perf_counter()
        try:
            scores, seconds = _scored(case, step, name)
        except PipelineError as error:
            yield Result(step, name, case.name, case.family, {}, time.perf_counter() - began, f"refused: {error}")
        except LackingTruth as lack:
            yield Result(step, name, case.name, case.family, remark=f"not applicable: {lack}")
        else:
            yield Result(step, name, case.name, case.family, scores, seconds)


def _scored(case: Case, step: str, name: str) -> tuple[Scores, float]:
    if step not in STEP_SCORES:
        raise LackingTruth("its result is a picture for the eye; there is no true one to compare with")
    work = prepared(case, step, name)
    began = time.perf_counter()
    made = work()
    seconds = time.perf_counter() - began
    return STEP_SCORES[step].score(case, made), seconds


def prepared(
    case: Case, step: str, name: str, on_iteration: OnIteration | None = None
) -> Callable[[], Mapping[str, Tensor]]:
    """Return the call that runs one method on a case, its inputs made; a single method tells its progress.

    Raises
    ------
    LackingTruth
        The case lacks an input of the method.
    """
    if step == CHAIN:
        recipe = builtin_recipe(name)
        return lambda: _chain(case, recipe)
    if step == FIELD_MAP:
        return lambda: _field_map(case, name)
    method, given = STEPS[step][name], case.artefacts_for(step)
    missing = [artefact for artefact in method.inputs if artefact not in given]
    if missing:
        raise LackingTruth(f"a simulated scan gives no {', '.join(missing).replace('_', ' ')}")
    context = replace(case.context, on_iteration=on_iteration)
    return lambda: method.apply(given, context, method.settings())


def _field_map(case: Case, combination: str) -> Mapping[str, Tensor]:
    """Map the total field from the acquired phase in the true brain, by the default of every earlier step."""
    artefacts: dict[str, Tensor] = dict(case.artefacts_for("phase_offset_removal"))
    for step in ("phase_offset_removal", "phase_unwrapping", "echo_combination"):
        name = combination if step == "echo_combination" else next(iter(STEPS[step]))
        method = STEPS[step][name]
        artefacts |= method.apply(artefacts, case.context, method.settings())
    return artefacts


def _chain(case: Case, recipe: Recipe) -> Mapping[str, Tensor]:
    maps, _ = run(case.scan.acquisition, recipe)
    return {"susceptibility": maps.susceptibility, "mask": maps.mask}


def summarise(results: Sequence[Result]) -> list[Summary]:
    """Return mean and worst of every method, in the order of the results."""
    grouped: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        grouped.setdefault((result.step, result.method), []).append(result)
    return [_summary(step, method, found) for (step, method), found in grouped.items()]


def _summary(step: str, method: str, found: Sequence[Result]) -> Summary:
    scored = [result for result in found if result.scores]
    columns = STEP_SCORES[step].columns if scored else ()
    worst = {column.key: column.worst([result.scores[column.key] for result in scored]) for column in columns}
    worst_case = ""
    if columns:
        first = columns[0]
        worst_case = next((r.case for r in scored if r.scores[first.key] == worst[first.key]), "")
    return Summary(
        step=step,
        method=method,
        n_cases=len(scored),
        mean={column.key: _mean(column, scored) for column in columns},
        worst=worst,
        worst_case=worst_case,
        seconds=fmean(result.seconds for result in scored) if scored else 0.0,
        remarks=tuple(dict.fromkeys(result.remark for result in found if result.remark)),
    )


def _mean(column: Column, scored: Sequence[Result]) -> float:
    """Return the mean over the cases that have the figure; not a number where none has."""
    known = [result.scores[column.key] for result in scored]
    known = [value for value in known if value == value]
    return fmean(known) if known else float("nan")
