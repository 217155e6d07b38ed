"""What every command shares: where it writes, how it shows progress, and which exit code a failure gets."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

DONE, FAILED, USAGE, TRY_AGAIN = 0, 1, 2, 75

# Square brackets hold units here, not markup. Where there is no terminal, rich would break lines at 80 columns.
PIPE_WIDTH = 160
out = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
err = Console(stderr=True, highlight=False, markup=False, width=None if sys.stderr.isatty() else PIPE_WIDTH)


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output, nothing else there."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def fail(error: BaseException, code: int, as_json: bool) -> NoReturn:
    """End the program with one sentence on standard error, and as JSON on standard output where asked."""
    sentence = str(error)
    err.print(Text.assemble((f"{type(error).__name__}: ", "bold red"), sentence), soft_wrap=True)
    if as_json:
        print_json({"error": {"class": type(error).__name__, "sentence": sentence, "exit_code": code}})
    sys.exit(code)


def words(name: str) -> str:
    """Return a name for reading: `phase_offset_removal` → "phase offset removal"."""
    return name.replace("_", " ")


class StepDisplay:
    """Shows the steps of one job: bars on a terminal, one line per finished step elsewhere; keeps their times [s]."""

    def __init__(self, title: str, steps: tuple[str, ...], quiet: bool = False) -> None:
        self.seconds: dict[str, float] = {}
        self._title = title
        self._steps = steps
        self._quiet = quiet
        self._started: dict[str, float] = {}
        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=32),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            console=err,
            disable=quiet or not err.is_terminal,
        )

    def __enter__(self) -> "StepDisplay":
        if not self._quiet:
            err.print(self._title, style="bold", soft_wrap=True)
        self._progress.start()
        self._tasks = {step: self._progress.add_task(words(step), total=1.0, start=False) for step in self._steps}
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def describe(self, step: str, description: str) -> None:
        """Say more about a step that runs."""
        if step in self._tasks:
            self._progress.update(self._tasks[step], description=description)

    def update(self, step: str, fraction: float) -> None:
        """Note that `fraction` (0 to 1) of a step is done."""
        now = time.perf_counter()
        if step not in self._tasks:
            self._tasks[step] = self._progress.add_task(words(step), total=1.0, start=False)
        if step not in self._started:
            self._started[step] = now
            self._progress.start_task(self._tasks[step])
        self._progress.update(self._tasks[step], completed=fraction)
        if fraction >= 1.0 and step not in self.seconds:
            self.seconds[step] = round(now - self._started[step], 3)
            if not (self._quiet or err.is_terminal):
                err.print(f"  {words(step)}: {self.seconds[step]:.1f} s")


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: "1 file", "2 files"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


TRUST_COLUMNS = (
    ("classical_mean_ppb", "classical [ppb]"),
    ("difference_ppb", "difference [ppb]"),
    ("half_width_ppb", "90 % interval ± [ppb]"),
    ("cone_share_percent", "unmeasured [%]"),
)
"""What a region has beside a learned map, by its key in a summary."""


def print_regions(regions: Sequence[Mapping[str, Any]]) -> None:
    """Print the values of regions, given in ppb and ml."""
    table = Table("region", "mean [ppb]", "SD [ppb]", "median [ppb]", "volume [ml]", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    # What a learned map comes with; a region may lack its interval, as the brain does.
    beside = [(key, heading) for key, heading in TRUST_COLUMNS if any(key in region for region in regions)]
    for _, heading in beside:
        table.add_column(heading, justify="right")
    for region in regions:
        # Adding zero turns a rounded -0.0 into 0.0.
        values = (round(region[name], 1) + 0.0 for name in ("mean_ppb", "sd_ppb", "median_ppb"))
        trust = (f"{region[key] + 0.0:.1f}" if key in region else "" for key, _ in beside)
        table.add_row(region["name"], *(f"{value:.1f}" for value in values), f"{region['volume_ml']:.2f}", *trust)
    out.print(table)
