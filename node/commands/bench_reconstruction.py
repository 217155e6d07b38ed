"""`lodestone bench reconstruction`: ours beside BART, SigPy and pygrappa on one k-space."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.table import Table
from torch import Tensor

from node.commands.bench_progress import figure, progress_bar, without_nan
from node.commands.console import err, out, print_json
from node.local_run import use_threads
from pipeline.errors import UnknownMethod
from pipeline.method import nearest
from pipeline.reconstruction.table import RECONSTRUCTIONS
from pipeline.studies.reconstruction_bench import LEARNED_BESIDE, BenchCase, Row, bench_cases, our_rows
from pipeline.studies.reconstruction_peers import bart_rows, python_rows, row_on_some_planes

_NEEDED_SHARE = 0.7
_SAME_DB, _SAME_SHARE = 0.05, 0.01
"""Two programs that minimise the same sum differ by so much through rounding and where they stop."""
_AS_GOOD = 1.02
"""A faster setting of another program counts as its best if its error is within two percent of that."""
_LEARNED_GAIN_DB = 1.0
_OURS = "Lodestone"
_DPI, _PANEL_INCHES = 110, 2.6
_ERROR_SHARE = 0.15


@dataclass(frozen=True)
class Wanted:
    """What is asked for; no methods means all."""

    methods: tuple[str, ...]
    family: str
    seed: int
    quick: bool
    peers: bool
    peer_python: str | None


@dataclass(frozen=True)
class Verdict:
    """Ours beside the best and the fastest row of other programs for one method of one case.

    `error_ratio` is that of the phase errors, or of what sensitivities leave unexplained, which have no `psnr_gain_db`.
    Other programs have no network: `beside` is the method of theirs that one is judged by.
    """

    case: str
    method: str
    psnr_gain_db: float
    error_ratio: float
    time_ratio: float
    beside: str | None = None

    @property
    def is_reached(self) -> bool:
        """Say whether ours is no worse than the best and takes 0.7 of the fastest's processor time or less.

        A network may take its time, but is to be better: by 1 dB, and in phase.
        """
        if self.beside:
            return self.psnr_gain_db >= _LEARNED_GAIN_DB and self.error_ratio < 1
        is_as_good = not self.psnr_gain_db < -_SAME_DB and self.error_ratio <= 1 + _SAME_SHARE
        return is_as_good and self.time_ratio <= _NEEDED_SHARE


def bench_reconstruction(wanted: Wanted, picture: Path | None, threads: int, as_json: bool) -> None:
    """Reconstruct the bench's scans by every program that is there and print what each reached.

    Raises
    ------
    UnknownMethod
        A method or the family does not exist; the sentence names the nearest right one.
    """
    use_threads(threads)
    for name in wanted.methods:
        if name not in RECONSTRUCTIONS:
            raise UnknownMethod(f"There is no reconstruction '{name}'; {nearest(name, RECONSTRUCTIONS)}")
    rows: list[Row] = []
    shown: dict[str, Mapping[str, Tensor]] = {}
    cases = bench_cases(wanted.family, wanted.seed, wanted.quick)
    with progress_bar(as_json) as progress:
        task = progress.add_task("", total=len(cases) * (3 if wanted.peers else 1))
        for case in cases:
            progress.update(task, description=f"Lodestone, {case.name}")
            ours, sensitivities, images = our_rows(case, wanted.methods)
            rows += ours
            pictures = {f"{_OURS} {name}": made for name, made in images.items()}
            progress.advance(task)
            if wanted.peers:
                progress.update(task, description=f"BART, {case.name}")
                for row, made in _spoken(bart_rows(case, sensitivities, wanted.quick), as_json):
                    rows.append(row)
                    if made is not None:
                        pictures[f"{row.program} {row.settings}"] = made
                progress.advance(task)
                progress.update(task, description=f"SigPy and pygrappa, {case.name}")
                rows += _by_other_python(case, sensitivities, wanted)
                rows += _scored_as_pygrappa(case, rows, images)
                progress.advance(task)
            shown[case.name] = pictures
    verdicts = judged(rows)
    if picture is not None:
        draw_reconstructions(cases, shown, picture)
    if as_json:
        documents = [without_nan({**asdict(verdict), "is_reached": verdict.is_reached}) for verdict in verdicts]
        print_json({"rows": [without_nan(asdict(row)) for row in rows], "verdicts": documents})
        return
    for case in cases:
        out.print()
        out.print(_table(case.name, [row for row in rows if row.case.startswith(case.name)]))
    _print_verdicts(verdicts)


def judged(rows: Sequence[Row]) -> list[Verdict]:
    """Compare each of our methods with what other programs reached by the same method on the same case."""
    verdicts = []
    for ours in rows:
        beside = LEARNED_BESIDE.get(ours.method)
        compared = (ours.case, beside or ours.method)
        others = [row for row in rows if row.program != _OURS and (row.case, row.method) == compared]
        others = [row for row in others if not math.isnan(_error(row))]
        if ours.program != _OURS or not others:
            continue
        best = min(_error(row) for row in others)
        as_good = [row for row in others if _error(row) <= best * _AS_GOOD]
        verdicts.append(
            Verdict(
                ours.case,
                ours.method,
                ours.psnr_db - max(row.psnr_db for row in others),
                _error(ours) / best,
                ours.processor_seconds / min(row.processor_seconds for row in as_good),
                beside,
            )
        )
    return verdicts


def _error(row: Row) -> float:
    """Return what decides: the phase error of images, what sensitivities leave unexplained."""
    return row.unexplained_percent if math.isnan(row.phase_mrad) else row.phase_mrad


def draw_reconstructions(cases: Sequence[BenchCase], shown: Mapping[str, Mapping[str, Tensor]], path: Path) -> None:
    """Write a PNG with the magnitude of the later echo's middle slice of every program, and its error below."""
    columns = 1 + max(len(images) for images in shown.values())
    drawing = Figure(figsize=(_PANEL_INCHES * columns, 2 * _PANEL_INCHES * len(cases)), layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.subplots(2 * len(cases), columns, squeeze=False)
    for panel in axes.flat:
        panel.axis("off")
    for number, case in enumerate(cases):
        middle = case.truth.shape[1] // 2
        truth = case.truth[1, middle].abs()
        top = float(truth.max())
        upper, lower = axes[2 * number], axes[2 * number + 1]
        upper[0].imshow(truth, cmap="gray", vmin=0, vmax=top)
        upper[0].set_title(f"{case.name}\ntruth", fontsize=7)
        for place, (name, images) in enumerate(shown[case.name].items(), start=1):
            found = images[1, middle].abs()
            upper[place].imshow(found, cmap="gray", vmin=0, vmax=top)
            upper[place].set_title(name.replace("_", " "), fontsize=7)
            lower[place].imshow((found - truth).abs(), cmap="magma", vmin=0, vmax=_ERROR_SHARE * top)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=_DPI)


def _by_other_python(case: BenchCase, sensitivities: Tensor, wanted: Wanted) -> list[Row]:
    if wanted.peer_python is None:
        remark = "not run: give --peer-python a Python in which `pip install sigpy pygrappa scikit-image` was done"
        return [Row("SigPy, pygrappa", "", case.name, remark=remark)]
    return list(python_rows(case, sensitivities, wanted.peer_python, wanted.quick))


def _scored_as_pygrappa(case: BenchCase, rows: Sequence[Row], images: Mapping[str, Tensor]) -> list[Row]:
    """Return our GRAPPA's row on the part of the volume that pygrappa fills, if both were run."""
    if "grappa" not in images or not any(row.program == "pygrappa" and row.case.startswith(case.name) for row in rows):
        return []
    whole = next(row for row in rows if (row.program, row.method, row.case) == (_OURS, "grappa", case.name))
    return [row_on_some_planes(case, whole, images["grappa"])]


def _spoken(rows: Iterable[tuple[Row, Tensor | None]], quiet: bool) -> Iterable[tuple[Row, Tensor | None]]:
    for row, made in rows:
        if not quiet and not err.is_terminal:
            err.print(f"{row.program} {row.method} {row.settings}: {row.processor_seconds:.1f} s")
        yield row, made


def _table(title: str, rows: Sequence[Row]) -> Table:
    table = Table(title=title, box=None, pad_edge=False, header_style="bold")
    for heading in ("program", "method", "settings"):
        table.add_column(heading)
    for heading in (
        "time [s]",
        "CPU [s]",
        "PSNR [dB]",
        "SSIM",
        "phase [mrad]",
        "field [ppb]",
        "unexplained [%]",
    ):
        table.add_column(heading, justify="right")
    table.add_column("")
    for row in rows:
        values = (
            row.seconds,
            row.processor_seconds,
            row.psnr_db,
            row.ssim,
            row.phase_mrad,
            row.field_ppb,
            row.unexplained_percent,
        )
        table.add_row(row.program, row.method, row.settings, *(figure(value) for value in values), row.remark)
    return table


def _print_verdicts(verdicts: Sequence[Verdict]) -> None:
    if verdicts:
        out.print()
    for verdict in verdicts:
        word = "reached" if verdict.is_reached else "not reached"
        gain = "" if math.isnan(verdict.psnr_gain_db) else f"{verdict.psnr_gain_db:+.2f} dB and "
        error = "what the best peer leaves unexplained" if not gain else "the phase error of the best peer"
        error += f"'s {verdict.beside}" if verdict.beside else ""
        out.print(
            f"{verdict.case}, {verdict.method}: {gain}{verdict.error_ratio:.2f} times {error}, "
            f"{verdict.time_ratio:.2f} of the fastest's processor time: {word}",
            soft_wrap=True,
        )
