"""The work behind `lodestone evaluate`: trials in processes, tables on the screen and in files, pictures."""

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from node.commands.bench_progress import progress_bar, without_nan
from node.commands.console import err, out, print_json, words
from node.commands.evaluate_figure import draw_comparison, draw_maps
from node.commands.evaluate_reconstruction import evaluated_reconstructions, n_pieces, write_tables
from node.software import code_revision
from pipeline.networks.cards import training_state
from pipeline.networks.reconstruction_table import RECONSTRUCTION_NETWORKS
from pipeline.networks.table import NETWORKS
from pipeline.networks.weights import FOLDER, verified_digest
from pipeline.studies.claims import QUICK as QUICK_CLAIMS
from pipeline.studies.claims import ClaimSizes, claims
from pipeline.studies.removed_structures import removed_structure_tables
from pipeline.studies.table import EvaluationTable, shown
from pipeline.susceptibility.dipole_inversion.learned.trust_calibration import calibration_file
from pipeline.training.calibration import calibrate
from pipeline.training.evaluation import OURS, Wanted, evaluate
from pipeline.training.evaluation_axis_tables import axis_tables, dependence, dependence_table
from pipeline.training.evaluation_cost import cost_table
from pipeline.training.evaluation_maps import example_maps
from pipeline.training.evaluation_pieces import KeptPieces
from pipeline.training.evaluation_results import Result
from pipeline.training.evaluation_tables import (
    average_table,
    best_tuned,
    comparison_tables,
    generators_of,
    ratio_table,
    refinement_table,
    trust_table,
    verdict_table,
)
from pipeline.training.evaluation_trials import FULL, GENERATORS, QUICK, STREAMS, plans
from pipeline.training.evaluation_tuning import classical_methods, tuning_tables

_MOST_DRAWN_NETWORKS = 3
_QUICK_STRUCTURES: dict[str, Any] = {"n_scenes": 4, "n_heads": 0, "size": 48}


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    networks: tuple[str, ...] = ()
    is_all: bool = False
    has_classical: bool = True
    is_quick: bool = False
    seeds: str = "report"
    folder: Path | None = None
    weights: Path | None = None
    has_claims: bool = False
    has_structures: bool = False
    only_tunes: bool = False
    only_calibrates: bool = False
    threads: int = 0
    as_json: bool = False

    @property
    def wanted(self) -> Wanted:
        """Return what is to be evaluated.

        Raises
        ------
        UnknownMethod
            There is no such network.
        """
        names = tuple(NETWORKS) if self.is_all else self.networks
        amount = QUICK if self.is_quick else FULL
        return Wanted(names, self.has_classical, amount, self.seeds, self.weights or FOLDER)

    @property
    def is_apart(self) -> bool:
        """Tell whether something is asked for that names no network."""
        return self.only_tunes or self.has_claims or self.has_structures

    @property
    def n_workers(self) -> int:
        """Return how many processes compute."""
        return self.threads or os.cpu_count() or 1


def run_evaluation(options: Options) -> None:
    """Evaluate, print the tables, and write them where asked.

    Raises
    ------
    UnknownMethod
        There is no such network.
    WeightsAltered
        A file of weights is not what is listed.
    """
    if options.seeds not in STREAMS:
        raise typer.BadParameter(f"seeds are {' or '.join(STREAMS)}, not '{options.seeds}'")
    if not (options.networks or options.is_all or options.is_apart):
        raise typer.BadParameter(
            "name a network, or take --all; the networks are " + ", ".join((*NETWORKS, *RECONSTRUCTION_NETWORKS))
        )
    began = time.perf_counter()
    if any(name in RECONSTRUCTION_NETWORKS for name in options.networks):
        found = _reconstructions(options)
        if options.folder is not None:
            write_tables(options.folder, found)
        _tell(found, options, time.perf_counter() - began)
        return
    wanted = options.wanted
    if options.only_calibrates:
        _calibrate(wanted, options)
        return
    results: list[Result] = []
    tables: list[EvaluationTable] = []
    if options.only_tunes:
        with _counting(options, "tuning", len(GENERATORS) * len(classical_methods())) as advance:
            tables = tuning_tables(options.n_workers, advance)
    elif wanted.networks:
        results = _evaluated(wanted, options)
        tables = _tables(wanted, results, options)
    tables += _studies(wanted, options)
    if options.folder is not None:
        _write(options.folder, tables, results, wanted)
    _tell(tables, options, time.perf_counter() - began)


def _reconstructions(options: Options) -> list[EvaluationTable]:
    strange = [name for name in options.networks if name not in RECONSTRUCTION_NETWORKS]
    if strange or options.is_all or options.is_apart:
        raise typer.BadParameter("networks that reconstruct k-space are evaluated by themselves, without other options")
    with _counting(options, "reconstructing", n_pieces(options.networks, options.is_quick)) as advance:
        return evaluated_reconstructions(options.networks, options.weights or FOLDER, options.is_quick, advance)


def _evaluated(wanted: Wanted, options: Options) -> list[Result]:
    with _counting(options, "evaluating", len(wanted.work)) as advance:
        return evaluate(wanted, options.n_workers, advance, _kept(wanted, options))


def _kept(wanted: Wanted, options: Options) -> KeptPieces | None:
    """Return where the pieces of an evaluation into a folder are kept, so that one that was stopped goes on."""
    if options.folder is None:
        return None
    weights = {name: verified_digest(name, wanted.weights_folder) for name in wanted.trained}
    origin = json.dumps([code_revision(), weights, wanted.has_classical, wanted.amount.slow_every])
    return KeptPieces(options.folder / "pieces", origin)


def _tables(wanted: Wanted, results: list[Result], options: Options) -> list[EvaluationTable]:
    states = _states(wanted)
    tables = [*comparison_tables(results, states), average_table(results)]
    if wanted.has_classical and wanted.trained:
        tables.append(ratio_table(results))
    tables += axis_tables(results)
    if wanted.amount.axis_heads:
        tables.append(dependence_table(results))
    if wanted.trained:
        tables.append(refinement_table(results))
    trust = trust_table(results)
    if trust is not None:
        tables.append(trust)
    with _counting(options, "timing", len(wanted.networks)) as advance:
        tables.append(cost_table(wanted.networks, not options.is_quick, advance))
    if wanted.trained:
        tables.append(verdict_table(results, lambda method: dependence(results, method)))
    return tables


def _calibrate(wanted: Wanted, options: Options) -> None:
    """Measure and store what the trust in a network's maps rests on."""
    for name in wanted.networks:
        if not NETWORKS[name].needs_start:
            raise typer.BadParameter(f"{name} has no gates to calibrate; only networks with start maps have")
        with _sharing(options, f"calibrating {name}") as tell:
            found = calibrate(name, wanted.weights_folder, on_progress=tell)
        path = calibration_file(name, wanted.weights_folder)
        if options.as_json:
            print_json(
                {"network": name, "file": path, "sha256": found.sha256, "seen": without_nan(dict(found.figures))}
            )
            continue
        out.print(f"{path}: for the weights {found.sha256}")
        for figure, value in found.figures.items():
            out.print(f"  {words(figure)}: {shown(value)}")


def _studies(wanted: Wanted, options: Options) -> list[EvaluationTable]:
    """Return the tables of the studies that were asked for."""
    tables: list[EvaluationTable] = []
    if options.has_claims:
        sizes = QUICK_CLAIMS if options.is_quick else ClaimSizes()
        with _sharing(options, "the papers' claims") as tell:
            tables += claims(wanted.weights_folder, sizes, on_progress=tell)
    if options.has_structures:
        amounts = _QUICK_STRUCTURES if options.is_quick else {}
        with _sharing(options, "removed structures") as tell:
            tables += removed_structure_tables(wanted.weights_folder, **amounts, on_progress=tell)
    return tables


def _states(wanted: Wanted) -> dict[str, str]:
    """Return in a word or two how far each network is trained; "trained" where its card does not say."""
    return {name: training_state(name, wanted.weights_folder).state.split(",")[0] for name in wanted.networks}


@contextmanager
def _sharing(options: Options, title: str) -> Iterator[Callable[[float], None]]:
    """Show a bar of the share that is done on a terminal; give what is told of it."""
    with progress_bar(options.as_json) as progress:
        task = progress.add_task(title, total=100)
        yield lambda share: progress.update(task, completed=round(100 * share))


@contextmanager
def _counting(options: Options, title: str, total: int) -> Iterator[Callable[[str], None]]:
    """Show a bar on a terminal, and a line per piece of work elsewhere; give what is told of each piece."""
    with progress_bar(options.as_json) as progress:
        task = progress.add_task(title, total=total)

        def advance(name: str) -> None:
            progress.update(task, advance=1, description=f"{title}: {name}")
            if not (options.as_json or err.is_terminal):
                err.print(f"{title}: {name}")

        yield advance


def _tell(tables: list[EvaluationTable], options: Options, seconds: float) -> None:
    if options.as_json:
        print_json({"seconds": round(seconds, 1), "tables": [table.document() for table in tables]})
        return
    for table in tables:
        out.print(table.text(), soft_wrap=True)
    where = f" Tables and pictures are in {options.folder}." if options.folder else ""
    out.print(f"{seconds:.0f} s in all.{where}")


def _write(folder: Path, tables: list[EvaluationTable], results: list[Result], wanted: Wanted) -> None:
    """Write every table as text, CSV and JSON, every single result, and the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tables.txt").write_text("\n".join(table.text() for table in tables), encoding="utf-8")
    for number, table in enumerate(tables, 1):
        (folder / f"{number:02d}-{_slug(table.title)}.csv").write_text(table.csv(), encoding="utf-8")
    document: dict[str, Any] = {
        "code_revision": code_revision(),
        "seeds": wanted.stream,
        "tables": [table.document() for table in tables],
        "results": [without_nan(asdict(result)) for result in results],
    }
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "evaluation.json").write_text(text + "\n", encoding="utf-8")
    if results:
        _draw(folder, results, wanted)


def _draw(folder: Path, results: list[Result], wanted: Wanted) -> None:
    for table in comparison_tables(results, _states(wanted)):
        draw_comparison(table, wanted.networks, folder / f"{_slug(table.title)}.png")
    networks = sorted(wanted.trained, key=lambda name: name != OURS)[:_MOST_DRAWN_NETWORKS]
    for generator in generators_of(results):
        plan = next(plan for plan in plans(wanted.amount, wanted.stream) if plan.generator == generator)
        best = best_tuned(results, generator)
        classical = tuple(dict.fromkeys((classical_methods()[0], best))) if best else ()
        examples = example_maps(wanted, plan, tuple(name for name in classical if name), tuple(networks))
        draw_maps(examples, folder / f"maps-{_slug(generator)}.png")


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.split(":")[0].lower()).strip("-")[:60]
