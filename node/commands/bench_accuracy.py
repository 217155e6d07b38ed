"""`lodestone bench accuracy`: methods × phantoms, mean and worst case, as tables or JSON."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer
from rich.table import Table

from node.commands.bench_progress import figure, progress_bar, without_nan
from node.commands.bench_targets import measure_targets, print_targets, target_documents
from node.commands.console import counted, err, out, print_json, words
from node.local_run import use_threads
from pipeline.errors import UnknownMethod
from pipeline.method import nearest
from pipeline.simulation.families import FAMILIES, find_family
from pipeline.studies.accuracy_bench import Result, Summary, chosen_methods, judge, summarise
from pipeline.studies.cases import QUICK_SCANS, REPORTING_SEEDS, SCANS, TUNING_SEEDS, make_case
from pipeline.studies.step_scores import STEP_SCORES, Column
from pipeline.studies.targets import Reached

SEEDS = {"report": REPORTING_SEEDS, "tuning": TUNING_SEEDS}
_SHOWN_FIGURES = 5
_WORST_ON_WIDTH = 30


@dataclass(frozen=True)
class Wanted:
    """Which part of the table is asked for; empty means all."""

    steps: tuple[str, ...]
    methods: tuple[str, ...]
    families: tuple[str, ...]
    quick: bool
    seeds: str


def bench_accuracy(wanted: Wanted, peer_phantom: Path | None, full: bool, threads: int, as_json: bool) -> None:
    """Judge the chosen methods on the chosen phantoms and print what they reached.

    Raises
    ------
    UnknownMethod
        A step, method or family does not exist; the sentence names the nearest right one.
    """
    use_threads(threads)
    chosen = choose_methods(wanted.steps, wanted.methods)
    if wanted.seeds not in SEEDS:
        raise typer.BadParameter(f"seeds are 'report' or 'tuning', not '{wanted.seeds}'")
    families = tuple(find_family(name).name for name in wanted.families) or tuple(FAMILIES)
    began = time.perf_counter()
    results = _judged(chosen, families, wanted, as_json)
    targets = measure_targets(peer_phantom, "accuracy", as_json) if peer_phantom else []
    if as_json:
        print_json(_document(results, wanted, targets, time.perf_counter() - began))
        return
    _print_summaries(summarise(results), full)
    if peer_phantom:
        print_targets(targets)
    out.print(f"\n{_cases_sentence(results, wanted)} {time.perf_counter() - began:.0f} s in all.")


def choose_methods(steps: Sequence[str], methods: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of step and method that are asked for.

    Raises
    ------
    UnknownMethod
        A step or method does not exist, or none of the methods belongs to the steps.
    """
    everything = chosen_methods()
    for kind, asked, known in (
        ("step", steps, {step for step, _ in everything}),
        ("method", methods, {name for _, name in everything}),
    ):
        for name in asked:
            if name not in known:
                raise UnknownMethod(f"There is no {kind} '{name}'; {nearest(name, known)}")
    chosen = chosen_methods(steps, methods)
    if not chosen:
        raise UnknownMethod(f"None of the steps {', '.join(steps)} has a method {', '.join(methods)}.")
    return chosen


def _judged(chosen: list[tuple[str, str]], families: tuple[str, ...], wanted: Wanted, quiet: bool) -> list[Result]:
    scans = QUICK_SCANS if wanted.quick else SCANS
    planned = [
        (family, seed, name, protocol)
        for family in families
        for seed, (name, protocol) in zip(SEEDS[wanted.seeds], scans.items(), strict=False)
    ]
    results: list[Result] = []
    with progress_bar(quiet) as progress:
        task = progress.add_task("", total=len(planned) * len(chosen))
        for family, seed, name, protocol in planned:
            progress.update(task, description=f"simulating {words(family)}, {name}")
            case = make_case(family, seed, name, protocol)
            for step, method in chosen:
                progress.update(task, description=f"{words(step)}: {words(method)} on {words(case.name)}")
                results += judge(case, [(step, method)])
                progress.advance(task)
            if not quiet and not err.is_terminal:
                err.print(f"{case.name}: {len(chosen)} methods")
    return results


def _print_summaries(summaries: Sequence[Summary], full: bool) -> None:
    by_step: dict[str, list[Summary]] = {}
    for summary in summaries:
        by_step.setdefault(summary.step, []).append(summary)
    for step, found in by_step.items():
        scored = [summary for summary in found if summary.n_cases]
        if scored:
            columns = STEP_SCORES[step].columns
            # More figures than fit on a line go into further tables of the same methods.
            for start in range(0, len(columns) if full else 1, _SHOWN_FIGURES):
                out.print()
                out.print(_table(step, scored, columns[start : start + _SHOWN_FIGURES]))
        for summary in found:
            for remark in summary.remarks:
                out.print(f"  {words(step)}, {summary.method}: {remark}", soft_wrap=True)


def _table(step: str, summaries: Sequence[Summary], columns: Sequence[Column]) -> Table:
    table = Table(words(step), box=None, pad_edge=False, header_style="bold")
    for column in columns:
        unit = "" if column.unit == "1" else f" [{column.unit}]"
        table.add_column(f"{column.heading}{unit}\nmean (worst)", justify="right")
    table.add_column("time [s]", justify="right")
    table.add_column("worst on", min_width=_WORST_ON_WIDTH)
    for summary in summaries:
        cells = [_mean_and_worst(summary, column) for column in columns]
        table.add_row(summary.method, *cells, f"{summary.seconds:.2f}", words(summary.worst_case))
    return table


def _mean_and_worst(summary: Summary, column: Column) -> str:
    return f"{figure(summary.mean[column.key])} ({figure(summary.worst[column.key])})"


def _cases_sentence(results: Sequence[Result], wanted: Wanted) -> str:
    scans = counted(len({result.case for result in results}), "scan")
    return f"{scans} of heads of the {wanted.seeds} seeds; the worst is the worst of them."


def _document(results: Sequence[Result], wanted: Wanted, targets: Sequence[Reached], seconds: float) -> dict[str, Any]:
    return {
        "seeds": wanted.seeds,
        "quick": wanted.quick,
        "seconds": round(seconds, 1),
        "summary": [without_nan(asdict(summary)) for summary in summarise(results)],
        "results": [without_nan(asdict(result)) for result in results],
        "targets": without_nan(target_documents(targets)),
    }
