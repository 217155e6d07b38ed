"""`lodestone process`: map DICOM folders and NIfTI files, and tell a researcher what came of it."""

import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

import dicom_io.errors
import pipeline.errors
from dicom_io.read.reader import FoundAcquisition, find_acquisitions
from node.commands.console import FAILED, StepDisplay, counted, err, out, print_json, print_regions, words
from node.commands.reconstruct import Wanted, is_raw_data, process_raw
from node.convert import choose_device
from node.local_input import (
    LabelFiles,
    NiftiInput,
    document_of_refusal,
    read_dicom,
    read_nifti,
    summary_of_grid,
)
from node.local_run import LocalInput, local_steps, map_locally, remove_former_results, use_threads, write_summary
from node.object_kinds import SERIES_OF_IMAGES, UNIT_OF_KIND
from node.recipe_files import read_recipe
from pipeline.recipe import Recipe

READING = "reading"
REFUSALS = (dicom_io.errors.Permanent, pipeline.errors.Permanent)


@dataclass(frozen=True)
class Options:
    """What DICOM and NIfTI input share."""

    out: Path
    recipe: str = "default"
    labels: LabelFiles = field(default_factory=LabelFiles)
    device: str = "auto"
    threads: int = 0
    as_json: bool = False
    without_noise: bool = False


def process_nifti(given: NiftiInput, options: Options) -> None:
    """Map NIfTI files and print what came of it."""
    recipe = read_recipe(options.recipe)[0]
    use_threads(options.threads)
    device = choose_device(options.device)
    with StepDisplay("Mapping NIfTI files", (READING, *local_steps(recipe, False)), options.as_json) as display:
        started = time.perf_counter()
        display.update(READING, 0.0)
        loaded = read_nifti(given, options.labels, device)
        display.update(READING, 1.0)
        summary = map_locally(loaded, recipe, options.out, display.update)
    finish(summary, display, started, options.out)
    if options.as_json:
        print_json(summary)
    else:
        print_summary(summary, loaded, options.out)


def process_dicom(folder: Path, series_uid: str | None, mask: Path | None, options: Options) -> None:
    """Map every acquisition in a folder, print what came of it, and why the rest was not mapped."""
    if is_raw_data(folder):
        shared = (options.device, options.threads, options.as_json)
        summary, loaded = process_raw(Wanted(folder, options.out, options.recipe, None, options.without_noise, *shared))
        print_json(summary) if options.as_json else print_summary(summary, loaded, options.out)
        return
    recipe = read_recipe(options.recipe)[0]
    use_threads(options.threads)
    with err.status(f"Looking through {folder}"):
        found = look_for_acquisitions(folder)
    if series_uid is not None:
        found = [one for one in found if series_uid in one.series_uids]
    if not found:
        what = f"no series {series_uid}" if series_uid else "no DICOM file"
        raise dicom_io.errors.NotDicom(f"There is {what} in {folder}; give the folder of one examination.")
    usable = [one for one in found if one.refusal is None]
    refused = [document_of_refusal(one, one.refusal) for one in found if one.refusal is not None]
    mapped: list[dict[str, Any]] = []
    for number, one in enumerate(usable, start=1):
        target = options.out if len(usable) == 1 else options.out / f"acquisition-{number}"
        try:
            mapped.append(_map_one(one, recipe, mask, replace(options, out=target), f"{number} of {len(usable)}"))
        except REFUSALS as refusal:
            refused.append(document_of_refusal(one, refusal))
    _conclude(mapped, refused, len(usable), options)


def look_for_acquisitions(place: Path) -> list[FoundAcquisition]:
    """Return what a folder holds; one file is taken as a whole acquisition, which an enhanced object can be."""
    if place.is_dir():
        return find_acquisitions(place)
    if place.name.endswith((".nii", ".nii.gz")):
        raise dicom_io.errors.NotDicom(f"{place} is NIfTI: give phase and magnitude with --phase and --magnitude.")
    return [FoundAcquisition((), place.name, (place,), None)]


def _map_one(one: FoundAcquisition, recipe: Recipe, mask: Path | None, options: Options, count: str) -> dict[str, Any]:
    title = f"Acquisition {count}: {one.description} ({counted(len(one.paths), 'file')})"
    with StepDisplay(title, (READING, *local_steps(recipe, True)), options.as_json) as display:
        started = time.perf_counter()
        display.update(READING, 0.0)
        loaded = read_dicom(one, options.labels, mask, choose_device(options.device))
        display.update(READING, 1.0)
        summary = map_locally(loaded, recipe, options.out, display.update)
    finish(summary, display, started, options.out)
    if not options.as_json:
        print_summary(summary, loaded, options.out)
    return {"folder": str(options.out), **summary}


def _conclude(mapped: list[dict[str, Any]], refused: list[dict[str, Any]], n_usable: int, options: Options) -> None:
    overview = {"acquisitions": mapped, "refused": refused}
    if n_usable != 1 or not mapped:
        remove_former_results(options.out)
        write_summary(options.out, {"acquisitions": [one["folder"] for one in mapped], "refused": refused})
    for one in refused:
        why = f"{one['description']} ({counted(one['n_files'], 'file')})\n  {one['class']}: {one['sentence']}"
        err.print(Text.assemble(("Not mapped: ", "yellow"), why), soft_wrap=True)
    if options.as_json:
        print_json(overview)
    if not mapped:
        err.print(Text("Nothing was mapped.", style="bold red"))
        sys.exit(FAILED)


def finish(summary: dict[str, Any], display: StepDisplay, started: float, folder: Path) -> None:
    """Add the times [s] to a summary and write it."""
    summary["seconds"] = {**display.seconds, "total": round(time.perf_counter() - started, 3)}
    write_summary(folder, summary)


def print_summary(summary: dict[str, Any], loaded: LocalInput, folder: Path) -> None:
    """Print what was mapped, how good it is, and where everything lies."""
    acquisition = loaded.acquisition
    rows = Table.grid(padding=(0, 2))
    rows.add_row("acquisition", summary_of_grid(acquisition.grid, acquisition.echo_times_s, acquisition.b0_tesla))
    rows.add_row("phase", summary["input"]["phase_scaling"])
    for note in (*summary["input"]["notes"], *summary["input"].get("ignored", ())):
        rows.add_row("note", note)
    rows.add_row("recipe", f"{summary['recipe']['name']}, SHA-256 {summary['recipe']['digest'][:16]}…")
    for name, sha256 in summary["weights"].items():
        rows.add_row("weights", f"{name}, SHA-256 {sha256[:16]}…")
    if summary["weights"]:
        rows.add_row("map", summary["susceptibility_source"])
    rows.add_row("reference", summary["reference"])
    for name, value in summary["quality"].items():
        rows.add_row(words(name), f"{value:.4g}")
    seconds = summary["seconds"]
    slowest = sorted((item for item in seconds.items() if item[0] != "total"), key=lambda item: -item[1])[:3]
    longest = ", ".join(f"{words(step)} {value:.1f} s" for step, value in slowest)
    rows.add_row("time", f"{seconds['total']:.1f} s on {summary['device']} ({longest})")
    out.print(rows)
    for warning in summary["warnings"]:
        out.print(Text.assemble(("warning  ", "bold yellow"), warning), soft_wrap=True)
    for finding in (finding for finding in summary["findings"] if not finding["is_warning"]):
        out.print(Text.assemble(("check    ", "bold green"), finding["sentence"]), soft_wrap=True)
    if summary["regions"]:
        print_regions(summary["regions"])
    _print_files(summary["files"], folder)


def _print_files(files: list[dict[str, Any]], folder: Path) -> None:
    table = Table.grid(padding=(0, 2))
    series = {f"DICOM {kind}": UNIT_OF_KIND[kind] for kind in SERIES_OF_IMAGES}
    for kind, unit in series.items():
        if images := [file for file in files if file["kind"] == kind]:
            first, last = images[0]["path"], images[-1]["path"]
            table.add_row(f"{first} … {last.rsplit('-', 1)[-1]}", f"{len(images)} MR images [{unit}]")
    for file in (file for file in files if file["kind"] not in series):
        table.add_row(file["path"], words(file["kind"]) + (f" [{file['unit']}]" if file["unit"] else ""))
    table.add_row("summary.json", "everything above, with digests")
    out.print(f"In {folder}:", style="bold", soft_wrap=True)
    out.print(table)
