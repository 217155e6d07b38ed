"""`lodestone bench reading`: flavours × checks, thousands of damaged headers, and the time beside pydicom."""

import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from node.commands.bench_progress import progress_bar
from node.commands.console import err, out, print_json
from node.reading_study.judgement import CRASHED, IDENTICAL, LEGEND, MISREAD, REFUSED, Verdict, checks
from node.reading_study.mutations import KINDS
from node.reading_study.speed import Reading, time_readings
from node.reading_study.study import opened, verdicts
from node.reading_study.subjects import phantom_scan, real_subjects, simulated_subjects

OUTCOMES = (IDENTICAL, REFUSED, MISREAD, CRASHED)
SHOWN = 40


def bench_reading(mutations: int, seed: int, series: Path | None, jobs: int, with_speed: bool, as_json: bool) -> bool:
    """Check every flavour, judge the mutations and time the reader; return whether nothing was misread."""
    began = time.perf_counter()
    subjects = simulated_subjects() + (real_subjects(series) if series else [])
    with tempfile.TemporaryDirectory(prefix="lodestone-reading-") as folder:
        simulated = [subject for subject in subjects if subject.is_simulated]
        rows = [checks(court, phantom_scan()) for court in opened(simulated, Path(folder) / "checks")]
        found: list[Verdict] = []
        with progress_bar(as_json) as progress:
            task = progress.add_task("mutations", total=mutations)
            for verdict in verdicts(subjects, mutations, seed, jobs):
                found.append(verdict)
                progress.advance(task)
        studied = time.perf_counter() - began
        if with_speed and not as_json:
            err.print("timing the reader beside pydicom")
        timed = list(time_readings(Path(folder))) if with_speed else []
    if as_json:
        print_json(_document(rows, found, timed, studied))
    else:
        _print(rows, found, timed, seed, studied)
    return not any(verdict.outcome in (MISREAD, CRASHED) for verdict in found) and all(map(_is_right, rows))


def _is_right(row: dict[str, Any]) -> bool:
    return "refusal" not in row and all(value for value in row.values() if isinstance(value, bool))


def _print(
    rows: Sequence[dict[str, Any]], found: Sequence[Verdict], timed: Sequence[Reading], seed: int, seconds: float
) -> None:
    _print_checks(rows)
    for heading, attribute, names in (
        ("mutation", "kind", KINDS),
        ("series", "subject", sorted({verdict.subject for verdict in found})),
    ):
        _print_outcomes(heading, attribute, names, found)
    out.print(f"\n{LEGEND}")
    refusals = Counter(verdict.reason for verdict in found if verdict.outcome == REFUSED)
    out.print("\nrefused as " + ", ".join(f"{name} {count}" for name, count in refusals.most_common()), soft_wrap=True)
    wrong = [verdict for verdict in found if verdict.outcome in (MISREAD, CRASHED)]
    for verdict in wrong[:SHOWN]:
        out.print(
            f"{verdict.outcome} {verdict.number}: {verdict.subject}, {verdict.kind}: {verdict.description}: "
            f"{verdict.reason}",
            soft_wrap=True,
        )
    out.print(f"\n{len(found)} mutations with seed {seed}, {len(wrong)} misread or crashed; {seconds:.0f} s.")
    if timed:
        _print_speed(timed)


def _print_checks(rows: Sequence[dict[str, Any]]) -> None:
    columns = [name for name in max(rows, key=len) if name != "flavour"]
    table = Table("flavour", *(name.replace("_", " ") for name in columns), box=None, pad_edge=False)
    for row in rows:
        table.add_row(row["flavour"], *(_cell(row.get(name, row.get("refusal", ""))) for name in columns))
    out.print(table)


def _cell(value: str | float | bool) -> str:
    if isinstance(value, bool):
        return "right" if value else "WRONG"
    return value if isinstance(value, str) else f"{value:.1e}"


def _print_outcomes(heading: str, attribute: str, names: Sequence[str], found: Sequence[Verdict]) -> None:
    table = Table(heading, box=None, pad_edge=False)
    for outcome in OUTCOMES:
        table.add_column(outcome, justify="right")
    for name in names:
        counts = Counter(verdict.outcome for verdict in found if getattr(verdict, attribute) == name)
        table.add_row(name, *(str(counts[outcome]) for outcome in OUTCOMES))
    out.print()
    out.print(table)


def _print_speed(timed: Sequence[Reading]) -> None:
    table = Table("reading", box=None, pad_edge=False)
    table.add_column("written")
    for column in ("objects", "frames", "pydicom [ms]", "Lodestone [ms]", "ratio"):
        table.add_column(column, justify="right")
    for reading in timed:
        times = (f"{1000 * reading.pydicom_s:.0f}", f"{1000 * reading.lodestone_s:.0f}", f"{reading.ratio:.2f}")
        table.add_row(reading.flavour, reading.form, str(reading.n_objects), str(reading.n_frames), *times)
    out.print()
    out.print(table)


def _document(
    rows: Sequence[dict[str, Any]], found: Sequence[Verdict], timed: Sequence[Reading], seconds: float
) -> dict[str, Any]:
    outcomes = Counter(verdict.outcome for verdict in found)
    return {
        "seconds": round(seconds, 1),
        "checks": list(rows),
        "mutations": len(found),
        "outcomes": {outcome: outcomes[outcome] for outcome in OUTCOMES},
        "wrong": [asdict(verdict) for verdict in found if verdict.outcome in (MISREAD, CRASHED)],
        "speed": [{**asdict(reading), "ratio": reading.ratio} for reading in timed],
    }
