"""`lodestone demo`: show a series travel, and then what came of it."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

from rich.table import Table
from rich.text import Text

from db.series import JOURNEY, Series, State
from db.session import Database
from node import demo, demo_kspace
from node.archive import EmbeddedArchive
from node.commands.console import FAILED, StepDisplay, counted, err, out, print_json, words
from node.commands.record import print_events
from node.demo_scanners import NEUTRAL, known_scanners
from node.local_run import use_threads
from node.reconstruction import STEPS as RAW_STEPS
from node.settings import Settings
from node.supervisor import Address
from pipeline.recipe import builtin_recipe

SIMULATING, STARTING, SENDING = "scanning a digital head", "starting the node", "sending"
DEFAULT_FOLDER = Path("demo")
TITLE = "A series travels: simulated scanner → node → archive"
STAGES = (SIMULATING, STARTING, SENDING, *(word.value for word in JOURNEY))


def run_demo(
    folder: Path | None, keep_running: bool, as_json: bool, scanner: str = NEUTRAL, acceleration: float | None = None
) -> None:
    """Run the demonstration in `folder`, and keep node and archive up until Ctrl-C where asked.

    With an `acceleration` the scanner streams k-space, so many times accelerated, instead of sending images.
    """
    started = time.perf_counter()
    use_threads(0)
    # A service manager ends a program with SIGTERM; node and archive are to be stopped in order then, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folders = demo.prepare(folder or DEFAULT_FOLDER)
    with ExitStack() as running:
        archive = running.enter_context(demo.running_archive(folders))
        with StepDisplay(TITLE, STAGES, as_json) as display:
            scan = _simulate(folders, display, scanner, acceleration)
            display.update(STARTING, 0.0)
            more = "" if acceleration is None else demo_kspace.SETTINGS
            node = demo.running_node(folders, archive.port, scan.simulated.label_names, more)
            settings, address = running.enter_context(node)
            display.update(STARTING, 1.0)
            database = Database(settings.database_url)
            running.callback(database.close)
            display.update(SENDING, 0.0)
            display.update(State.RECEIVED, 0.0)
            with _sent(scan, address, display, acceleration is not None) as returned:
                series = demo.follow(database, scan, _Journey(display).show)
        if series.state != State.RECORDED:
            _give_up(series, settings)
        story = demo.collect(database, settings, folders, archive, scan, series)
        story["seconds"] = {**display.seconds, "total": round(time.perf_counter() - started, 1)}
        story["returned_images"] = returned.n_images
        story["addresses"] = _addresses(settings, address, archive)
        print_json(story) if as_json else _print(story)
        if keep_running:
            _wait(story, settings, as_json)


def list_scanners(as_json: bool) -> None:
    """Print which scanners the demonstration can play."""
    known = known_scanners()
    if as_json:
        print_json({"scanners": [{"name": name, "sends": sentence} for name, sentence in known.items()]})
        return
    table = Table("scanner", "sends", box=None, pad_edge=False)
    for name, sentence in known.items():
        table.add_row(name, sentence)
    out.print(table)


def _simulate(folders: demo.Folders, display: StepDisplay, scanner: str, acceleration: float | None) -> demo.Scan:
    def note(share: float) -> None:
        display.update(SIMULATING, min(share, 0.999))

    display.update(SIMULATING, 0.0)
    if acceleration is not None:
        scan = demo_kspace.simulate_raw(folders, acceleration, note)
    else:
        scan = demo.simulate(folders, note, demo.DEMONSTRATION, scanner)
    display.update(SIMULATING, 1.0)
    return scan


@contextlib.contextmanager
def _sent(scan: demo.Scan, address: Address, display: StepDisplay, is_raw: bool) -> Iterator[demo_kspace.Returned]:
    """Send the scan, and hold the connection open until the block ends where images come back over it."""
    if not is_raw:
        demo.send_scan(scan, address, lambda share: display.update(SENDING, share))
        yield demo_kspace.Returned([])
        return
    with demo_kspace.streaming(scan, address, lambda share: display.update(SENDING, share)) as returned:
        yield returned


class _Journey:
    """Shows a series' state as bars: one per word, and inside `mapped` the step that runs."""

    def __init__(self, display: StepDisplay) -> None:
        self._display = display
        self._steps = list(builtin_recipe("default").steps)

    def show(self, series: Series) -> None:
        """Bring the bars to the state of the series."""
        done = demo.words_done(series)
        for word in done:
            self._display.update(word, 1.0)
        if len(done) == len(JOURNEY) or not done:
            return
        word, fraction = JOURNEY[len(done)], 0.0
        if word == State.RECONSTRUCTED and series.progress_step in RAW_STEPS:
            index = RAW_STEPS.index(series.progress_step)
            fraction = min(0.999, (index + (series.progress_fraction or 0.0)) / len(RAW_STEPS))
        if word == State.MAPPED and series.progress_step in self._steps:
            index = self._steps.index(series.progress_step)
            fraction = min(0.999, (index + (series.progress_fraction or 0.0)) / len(self._steps))
            self._display.describe(word, f"{word} · {words(series.progress_step)}")
        self._display.update(word, fraction)


def _give_up(series: Series, settings: Settings) -> NoReturn:
    sentence = series.sentence or f"The series ended as {series.state}; `lodestone audit -c {settings.file}` says more."
    err.print(Text.assemble((f"{series.refusal_class or series.state}: ", "bold red"), sentence), soft_wrap=True)
    sys.exit(FAILED)


def _addresses(settings: Settings, address: Address, archive: EmbeddedArchive) -> dict[str, str]:
    return {
        "node": f"{address.ae_title}@{address.host}:{address.port}",
        "archive": f"{demo.ARCHIVE_AE}@127.0.0.1:{archive.port}",
        "settings": str(settings.file),
        "record": settings.database_url,
        "archive_folder": str(archive.folder),
    }


def _print(story: dict[str, Any]) -> None:
    scanner = story["scanner"]
    sent = f"{counted(scanner['n_objects'], 'object')} in {scanner['n_series']} series"
    out.print(f"\nScanner: {scanner['name']}", style="bold", soft_wrap=True)
    out.print(f"{scanner['flavour']}, {sent}: {scanner['sentence']}", soft_wrap=True)
    out.print("\nNuclei: truth and measurement, each relative to the mean of the brain", style="bold")
    _print_nuclei(story)
    out.print("\nTime", style="bold")
    _print_times(story)
    out.print("\nAudit trail", style="bold")
    print_events(story["audit"])
    out.print(story["audit_chain"])
    for warning in story["quality"]["warnings"]:
        out.print(Text.assemble(("warning  ", "bold yellow"), warning), soft_wrap=True)
    out.print("\nResults, as fetched from the archive", style="bold")
    rows = Table.grid(padding=(0, 2))
    rows.add_row("map", f"{story['results']['susceptibility']}  (MR images in ppb, one per slice)")
    rows.add_row("summary", f"{story['results']['pages']}  (the pages that a radiologist reads)")
    rows.add_row("report", f"{story['results']['report']}  (TID 1500; `dsrdump` shows it)")
    rows.add_row("regions", f"{story['results']['segmentation']}  (Segmentation)")
    rows.add_row("contact sheet", story["results"]["contact_sheet"])
    out.print(rows, soft_wrap=True)
    out.print(f"\nDone in {story['seconds']['total']:.0f} s.", style="bold green")


def _print_nuclei(story: dict[str, Any]) -> None:
    table = Table("nucleus", "voxels", "truth [ppb]", "measured [ppb]", "difference", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for one in story["nuclei"]:
        numbers = (f"{one['truth_ppb']:.1f}", f"{one['measured_ppb']:.1f}", f"{one['error_ppb']:+.1f}")
        table.add_row(one["name"], str(one["n_voxels"]), *numbers)
    out.print(table)
    out.print(
        f"Whole map: detrended error {story['detrended_nrmse_percent']:.0f} % over {story['coverage_percent']:.0f} % "
        "of the brain eroded by four voxels."
    )


def _print_times(story: dict[str, Any]) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    for stage in (SIMULATING, STARTING, SENDING):
        table.add_row(stage, f"{story['seconds'][stage]:.1f} s")
    for word in JOURNEY:
        entry = story["steps"].get(word.value, {})
        shown = entry.get("seconds", story["seconds"].get(word.value))
        table.add_row(word.value, f"{shown:.1f} s" if shown is not None else "")
        for step, seconds in entry.get("seconds_per_step", {}).items():
            table.add_row(Text(f"  {words(step)}", style="dim"), Text(f"{seconds:.1f} s", style="dim"))
    out.print(table)


def _wait(story: dict[str, Any], settings: Settings, as_json: bool) -> None:
    if not as_json:
        out.print("\nRunning until Ctrl-C", style="bold")
        rows = Table.grid(padding=(0, 2))
        for name, value in story["addresses"].items():
            rows.add_row(words(name), value)
        out.print(rows, soft_wrap=True)
        out.print(
            f"Send more: storescu -aet {demo.SCANNER_AE} -aec {demo.NODE_AE} … (any DCMTK sender)", soft_wrap=True
        )
        out.print(f"Look:      lodestone list -c {settings.file}", soft_wrap=True)
    sys.stdout.flush()
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
