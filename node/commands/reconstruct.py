"""`lodestone reconstruct` and `lodestone process` for raw data: echo images of k-space, and the map of them."""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from rich.table import Table
from rich.text import Text

import dicom_io.errors
import pipeline.errors
from dicom_io.kspace.formats import SUFFIXES
from node.commands.console import FAILED, StepDisplay, err, out, print_json, words
from node.convert import choose_device, to_grid
from node.local_input import summary_of_grid
from node.local_run import LocalInput, local_steps, map_locally, use_threads, write_summary
from node.raw_input import RawFile, document_of, local_input, read_raw, reconstruct_raw, write_images
from node.recipe_files import read_recipe
from node.reconstruction import STEPS, ReconstructedScan
from pipeline.method import MethodChoice
from pipeline.methods import FINER
from pipeline.recipe import Recipe

READING, DRAWING = "reading", "writing images"
REFUSALS = (dicom_io.errors.Permanent, pipeline.errors.Permanent)


def is_raw_data(path: Path | None) -> bool:
    """Say whether a path is a file whose name is that of raw data."""
    return path is not None and path.is_file() and path.suffix.lower() in SUFFIXES


@dataclass(frozen=True)
class Wanted:
    """What a person asks for: the file, where its images go, how, and on what."""

    file: Path
    out: Path
    recipe: str = "default"
    method: str | None = None
    without_noise: bool = False
    device: str = "auto"
    threads: int = 0
    as_json: bool = False


def reconstruct_file(wanted: Wanted) -> None:
    """Reconstruct a file of raw data, write its images and print what came of it."""
    recipe = read_recipe(wanted.recipe)[0]
    if wanted.method is not None:
        recipe = replace(recipe, reconstruction=MethodChoice(wanted.method))
    use_threads(wanted.threads)
    title = f"Reconstructing {wanted.file.name}"
    with StepDisplay(title, _image_steps(recipe), wanted.as_json) as display:
        started = time.perf_counter()
        raw, made = _reconstruct(wanted, recipe, display)
        display.update(DRAWING, 0.0)
        files = write_images(made, raw, wanted.out)
        display.update(DRAWING, 1.0)
    document = _document(raw, made) | {"files": files}
    document["seconds"] = {**display.seconds, "total": round(time.perf_counter() - started, 3)}
    write_summary(wanted.out, document)
    print_json(document) if wanted.as_json else _print(document, raw, made, wanted.out)


def process_raw(wanted: Wanted) -> tuple[dict[str, Any], LocalInput]:
    """Reconstruct and map raw data; where no map can be made, the images are written all the same.

    Returns
    -------
        The summary and what was mapped.
    """
    recipe = read_recipe(wanted.recipe)[0]
    use_threads(wanted.threads)
    steps = (*_image_steps(recipe), *local_steps(recipe, True))
    with StepDisplay(f"Mapping {wanted.file.name}", steps, wanted.as_json) as display:
        started = time.perf_counter()
        raw, made = _reconstruct(wanted, recipe, display)
        loaded = local_input(raw, made, choose_device(wanted.device))
        display.update(DRAWING, 0.0)
        files = write_images(made, raw, wanted.out)
        display.update(DRAWING, 1.0)
        try:
            summary = map_locally(loaded, recipe, wanted.out, display.update)
        except REFUSALS as refusal:
            _refuse(raw, made, refusal, wanted)
    summary["files"] += files
    summary["seconds"] = {**display.seconds, "total": round(time.perf_counter() - started, 3)}
    write_summary(wanted.out, summary)
    return summary, loaded


def _image_steps(recipe: Recipe) -> tuple[str, ...]:
    return READING, *STEPS, *((FINER,) if recipe.super_resolution is not None else ()), DRAWING


def _reconstruct(wanted: Wanted, recipe: Recipe, display: StepDisplay) -> tuple[RawFile, ReconstructedScan]:
    display.update(READING, 0.0)
    raw = read_raw(wanted.file, wanted.without_noise)
    display.update(READING, 1.0)
    return raw, reconstruct_raw(raw, recipe, choose_device(wanted.device), display.update)


def _refuse(raw: RawFile, made: ReconstructedScan, refusal: Exception, wanted: Wanted) -> NoReturn:
    why = {"class": type(refusal).__name__, "sentence": str(refusal)}
    document = _document(raw, made) | {"refused": why}
    write_summary(wanted.out, document)
    if wanted.as_json:
        print_json(document)
    err.print(Text.assemble(("Not mapped: ", "yellow"), f"{why['class']}: {why['sentence']}"), soft_wrap=True)
    err.print(f"The reconstructed images are in {wanted.out}.", soft_wrap=True)
    sys.exit(FAILED)


def _document(raw: RawFile, made: ReconstructedScan) -> dict[str, Any]:
    header = raw.scan.header
    return {
        "input": {
            "kind": raw.payload.format.value,
            "file": str(raw.path),
            "sidecar": str(raw.sidecar) if raw.sidecar else "",
            "sha256": raw.payload.sha256,
            "n_readouts": raw.scan.n_readouts,
            "trajectory": header.trajectory,
            "acceleration": list(header.acceleration),
            "notes": list(raw.scan.notes),
        },
        "acquisition": {
            "shape_zyx": list(made.geometry.shape),
            "voxel_size_mm_zyx": [round(size, 6) for size in made.geometry.voxel_size_mm],
            "b0_tesla": header.field_strength_t,
            "echo_times_s": list(header.echo_times_s),
        },
        "reconstruction": document_of(made),
    }


def _print(document: dict[str, Any], raw: RawFile, made: ReconstructedScan, folder: Path) -> None:
    header = raw.scan.header
    rows = Table.grid(padding=(0, 2))
    rows.add_row("raw data", f"{raw.payload.format.value}, {header.trajectory}, {raw.scan.n_readouts} readouts")
    rows.add_row("images", summary_of_grid(to_grid(made.geometry), header.echo_times_s, header.field_strength_t))
    rows.add_row("reconstruction", words(made.method))
    for note in made.notes:
        rows.add_row("note", note)
    rows.add_row("time", f"{document['seconds']['total']:.1f} s")
    out.print(rows, soft_wrap=True)
    for finding in made.findings:
        weight = ("warning  ", "bold yellow") if finding.is_warning else ("check    ", "bold green")
        out.print(Text.assemble(weight, finding.sentence), soft_wrap=True)
    table = Table.grid(padding=(0, 2))
    for one in document["files"]:
        table.add_row(one["path"], words(one["kind"]) + (f" [{one['unit']}]" if one["unit"] else ""))
    out.print(f"In {folder}:", style="bold", soft_wrap=True)
    out.print(table)
