"""`lodestone bench speed`: each method's time in FFT pairs and memory in volumes, beside peers; growth; a GPU."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from node.commands.bench_accuracy import choose_methods
from node.commands.bench_figure import draw_growth
from node.commands.bench_progress import figure, progress_bar, without_nan
from node.commands.bench_targets import measure_targets, print_targets, target_documents
from node.commands.console import err, out, print_json, words
from node.local_run import use_threads
from pipeline.errors import OutOfMemory
from pipeline.recipe import builtin_recipe
from pipeline.studies.cases import Case
from pipeline.studies.gpu_bench import DeviceRun, LargestVolume, large_series, largest_volume, run_on
from pipeline.studies.peers import PeerTiming, time_peers
from pipeline.studies.resources import fft_pair_seconds
from pipeline.studies.speed_bench import (
    MILLIONS,
    SMALL,
    STANDARD,
    Timing,
    growth,
    scaled_protocol,
    time_methods,
    timing_case,
)
from pipeline.studies.step_scores import STEP_SCORES
from pipeline.studies.targets import Reached

GROWING_STEPS = ("background_field_removal", "dipole_inversion", "total_field_inversion")
"""Steps whose cost the FFT decides; they are timed at several sizes where no step is named."""


@dataclass(frozen=True)
class Wanted:
    """Which part of the table is asked for; empty means all."""

    steps: tuple[str, ...]
    methods: tuple[str, ...]
    quick: bool


@dataclass(frozen=True)
class _Found:
    timings: list[Timing]
    peers: list[PeerTiming]
    pair_seconds: float
    grown: dict[str, list[Timing]]
    on_gpu: DeviceRun | None
    largest: LargestVolume | None
    targets: list[Reached]


def bench_speed(
    wanted: Wanted, scaling: Path | None, peer_phantom: Path | None, gpu: bool, threads: int, as_json: bool
) -> None:
    """Time the chosen methods and print what they cost.

    Raises
    ------
    UnknownMethod
        A step or method does not exist; the sentence names the nearest right one.
    """
    use_threads(threads)
    chosen = choose_methods(wanted.steps, wanted.methods)
    began = time.perf_counter()
    if not as_json:
        err.print("simulating the scan on which methods are timed")
    case = timing_case(SMALL if wanted.quick else STANDARD)
    timings = _timed([case], chosen, as_json)
    grown = _grown(wanted, chosen, as_json) if scaling else {}
    if scaling:
        draw_growth(grown, scaling)
    on_gpu, largest = _gpu() if gpu and torch.cuda.is_available() else (None, None)
    found = _Found(
        timings=timings,
        peers=time_peers(case) if not wanted.steps or "phase_unwrapping" in wanted.steps else [],
        pair_seconds=fft_pair_seconds(case.grid.shape),
        grown=grown,
        on_gpu=on_gpu,
        largest=largest,
        targets=measure_targets(peer_phantom, "speed", as_json) if peer_phantom else [],
    )
    if as_json:
        print_json(_document(found, time.perf_counter() - began))
        return
    _print(found, case)
    if scaling:
        out.print(f"\nwritten: {scaling}", soft_wrap=True)
    out.print(f"\n{time.perf_counter() - began:.0f} s in all.")


def _timed(cases: Sequence[Case], chosen: list[tuple[str, str]], quiet: bool) -> list[Timing]:
    timings: list[Timing] = []
    with progress_bar(quiet) as progress:
        task = progress.add_task("", total=len(cases) * len(chosen))
        for case in cases:
            for step, method in chosen:
                progress.update(task, description=f"{words(step)}: {words(method)}")
                timings += time_methods(case, [(step, method)])
                progress.advance(task)
                if not quiet and not err.is_terminal:
                    err.print(f"{words(step)}: {method} timed")
    return timings


def _grown(wanted: Wanted, chosen: list[tuple[str, str]], quiet: bool) -> dict[str, list[Timing]]:
    """Time methods at growing sizes; one size is in memory at a time."""
    steps = wanted.steps or GROWING_STEPS
    pairs = [pair for pair in chosen if pair[0] in steps]
    grown: dict[str, list[Timing]] = {}
    for millions in MILLIONS:
        if not quiet:
            err.print(f"timing at {millions:g} million voxels")
        for timing in _timed([timing_case(scaled_protocol(millions))], pairs, quiet):
            grown.setdefault(f"{timing.step}: {timing.method}", []).append(timing)
    return grown


def _gpu() -> tuple[DeviceRun, LargestVolume | None]:
    series = large_series()
    # The first run also compiles and caches what the second uses.
    recipe = builtin_recipe("default")
    run_on("cuda", series, recipe)
    done = run_on("cuda", series, recipe)
    try:
        return done, largest_volume(series)
    except OutOfMemory as error:
        err.print(str(error), soft_wrap=True)
        return done, None


def _print(found: _Found, case: Case) -> None:
    size = " × ".join(str(n) for n in case.grid.shape)
    out.print(
        f"One FFT pair is {1e3 * found.pair_seconds:.1f} ms: rfftn + irfftn of {size} voxels in float32, "
        f"on {torch.get_num_threads()} threads."
    )
    _print_timings(found.timings)
    if found.peers:
        _print_peers(found.peers, found.timings)
    if found.grown:
        _print_growth(found.grown)
    _print_gpu(found)
    if found.targets:
        print_targets(found.targets)


def _print_timings(timings: Sequence[Timing]) -> None:
    table = Table("step", "method", box=None, pad_edge=False, header_style="bold")
    for heading in ("time [s]", "FFT pairs", "memory [volumes]", "stated", "error"):
        table.add_column(heading, justify="right")
    last = ""
    for timing in timings:
        if timing.cost is None:
            continue
        cost = timing.cost
        cells = (cost.seconds, cost.fft_pairs, cost.peak_volumes, timing.stated_volumes)
        table.add_row(
            words(timing.step) if timing.step != last else "", timing.method, *map(figure, cells), _error(timing)
        )
        last = timing.step
    out.print()
    out.print(table)
    for timing in timings:
        if timing.remark:
            out.print(f"  {words(timing.step)}, {timing.method}: {timing.remark}", soft_wrap=True)


def _error(timing: Timing) -> str:
    """Return the first figure of the step's score, as in `lodestone bench accuracy`."""
    if not timing.scores:
        return ""
    column = STEP_SCORES[timing.step].columns[0]
    unit = "" if column.unit == "1" else f" {column.unit}"
    return f"{column.heading} {figure(timing.scores[column.key])}{unit}"


def _print_peers(peers: Sequence[PeerTiming], timings: Sequence[Timing]) -> None:
    columns = STEP_SCORES["phase_unwrapping"].columns
    table = Table("phase unwrapping beside peers", "time [s]", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(f"{column.heading} [{column.unit}]", justify="right")
    for timing in timings:
        if timing.step == "phase_unwrapping" and timing.cost is not None:
            errors = (figure(timing.scores[column.key]) for column in columns)
            table.add_row(f"Lodestone: {timing.method}", figure(timing.cost.seconds), *errors)
    for peer in peers:
        if peer.scores is None:
            table.add_row(peer.name, peer.remark)
        else:
            table.add_row(peer.name, figure(peer.seconds), *(figure(peer.scores[column.key]) for column in columns))
    out.print()
    out.print(table)


def _print_growth(grown: dict[str, list[Timing]]) -> None:
    table = Table("seconds per iteration", box=None, pad_edge=False, header_style="bold")
    for millions in MILLIONS:
        table.add_column(f"{millions:g} M", justify="right")
    table.add_column("∝ (N log N)^p, p", justify="right")
    for name, timings in grown.items():
        cells = [figure(t.cost.seconds / t.n_iterations) if t.cost else t.remark for t in timings]
        table.add_row(words(name), *cells, figure(growth(timings)))
    out.print()
    out.print(table)


def _print_gpu(found: _Found) -> None:
    if found.on_gpu is None:
        return
    done = found.on_gpu
    size = " × ".join(str(n) for n in done.shape)
    out.print(f"\nDefault chain on {torch.cuda.get_device_name()}, {size} voxels × {done.n_echoes} echoes:")
    for step, seconds in done.seconds.items():
        out.print(f"  {words(step):26}{seconds:8.2f} s")
    out.print(f"  {'all':26}{sum(done.seconds.values()):8.2f} s, at most {done.peak_gib:.2f} GiB")
    if found.largest is not None:
        largest = " × ".join(str(n) for n in found.largest.shape)
        out.print(
            f"  largest volume tried that fits into {found.largest.limit_gib:g} GiB: {largest} "
            f"({found.largest.n_voxels / 1e6:.1f} million voxels, {found.largest.peak_gib:.2f} GiB)"
        )


def _document(found: _Found, seconds: float) -> dict[str, Any]:
    return {
        "seconds": round(seconds, 1),
        "threads": torch.get_num_threads(),
        "fft_pair_seconds": found.pair_seconds,
        "timings": [without_nan(asdict(timing)) for timing in found.timings],
        "peers": [without_nan(asdict(peer)) for peer in found.peers],
        "growth": {
            name: {"power": without_nan(growth(timings)), "timings": [without_nan(asdict(t)) for t in timings]}
            for name, timings in found.grown.items()
        },
        "gpu": asdict(found.on_gpu) if found.on_gpu else None,
        "largest_volume": asdict(found.largest) if found.largest else None,
        "targets": without_nan(target_documents(found.targets)),
    }
