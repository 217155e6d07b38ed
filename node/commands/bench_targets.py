"""What must be reached on the peers' phantom: measured and printed for `lodestone bench accuracy` and `bench speed`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.table import Table

from node.commands.bench_progress import figure, progress_bar
from node.commands.console import out, words
from pipeline.studies.accuracy_bench import Result, judge
from pipeline.studies.cases import Case
from pipeline.studies.peer_phantom import read_peer_phantom, with_field_strength, with_snr
from pipeline.studies.peers import warpkit_seconds
from pipeline.studies.speed_bench import Timing, time_methods
from pipeline.studies.step_scores import CHAIN
from pipeline.studies.targets import (
    GIB,
    TARGETS,
    TIMES_WARPKIT,
    Reached,
    judged_accuracy,
    judged_speed,
    needed_methods,
)

Kind = Literal["accuracy", "speed"]
_LOW_SNR, _HIGH_TESLA = 10.0, 7.0


def measure_targets(folder: Path, kind: Kind, quiet: bool) -> list[Reached]:
    """Measure what must be reached of one kind on the phantom in a folder."""
    case = read_peer_phantom(folder)
    return _accuracy(case, quiet) if kind == "accuracy" else _speed(case, quiet)


def _accuracy(case: Case, quiet: bool) -> list[Reached]:
    variants = {"": case, "SNR 10": with_snr(case, _LOW_SNR), "7 T": with_field_strength(case, _HIGH_TESLA)}
    wanted = {
        variant: needed_methods(target for target in TARGETS if not target.is_speed and target.variant == variant)
        for variant in variants
    }
    results: dict[str, list[Result]] = {variant: [] for variant in variants}
    with progress_bar(quiet) as progress:
        task = progress.add_task("", total=sum(map(len, wanted.values())))
        for variant, scan in variants.items():
            for step, method in wanted[variant]:
                progress.update(task, description=f"{words(step)}: {words(method)} on {scan.name}")
                results[variant] += judge(scan, [(step, method)])
                progress.advance(task)
    return judged_accuracy(TARGETS, results)


def _speed(case: Case, quiet: bool) -> list[Reached]:
    timings: list[Timing] = []
    with progress_bar(quiet) as progress:
        chosen = needed_methods(target for target in TARGETS if target.is_speed)
        task = progress.add_task("", total=len(chosen))
        for step, method in chosen:
            progress.update(task, description=f"{words(step)}: {words(method)} on {case.name}")
            timings += time_methods(case, [(step, method)])
            progress.advance(task)
    return judged_speed(TARGETS, timings, _figures(case, timings))


def _figures(case: Case, timings: Sequence[Timing]) -> dict[str, float]:
    """Return the figures that compare with another program, or count gibibytes with the images."""
    costs = {(timing.step, timing.method): timing.cost for timing in timings if timing.cost is not None}
    figures: dict[str, float] = {}
    if ours := costs.get(("phase_unwrapping", "romeo")):
        figures[TIMES_WARPKIT] = ours.seconds / warpkit_seconds(case)
    if chain := costs.get((CHAIN, "default")):
        images = case.scan.acquisition
        volume = 4 * case.mask.numel()
        figures[GIB] = (chain.peak_volumes * volume + 4 * (images.phase.numel() + images.magnitude.numel())) / 2**30
    return figures


def print_targets(reached: Sequence[Reached]) -> None:
    """Print the limits, what was reached, and whether that keeps them."""
    table = Table("must reach on the peers' phantom", box=None, pad_edge=False, header_style="bold")
    for heading in ("method", "figure", "limit", "reached", ""):
        table.add_column(heading, justify="right" if heading in ("limit", "reached") else "left")
    for entry in reached:
        target = entry.target
        place = words(target.step) + (f", {target.variant}" if target.variant else "")
        found = figure(entry.measured) if entry.measured is not None else "not measured"
        verdict = "kept" if entry.is_kept else "MISSED"
        table.add_row(place, words(entry.method), words(target.figure), target.sentence, found, verdict)
    out.print()
    out.print(table)


def target_documents(reached: Sequence[Reached]) -> list[Mapping[str, Any]]:
    """Return the limits and what was reached as plain values."""
    return [
        {
            "step": entry.target.step,
            "method": entry.method,
            "figure": entry.target.figure,
            "variant": entry.target.variant,
            "limit": entry.target.sentence,
            "measured": entry.measured,
            "kept": entry.is_kept,
        }
        for entry in reached
    ]
