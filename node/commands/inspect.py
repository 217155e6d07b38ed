"""`lodestone inspect`: tell what is in a folder, as a colleague would who knows the scanners."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

from rich.table import Table
from rich.text import Text

from dicom_io.errors import NotDicom
from dicom_io.read.reader import find_acquisitions
from node.commands.console import StepDisplay, counted, out, print_json
from node.inspection import IGNORED, MAPPED, REFUSED, Grid, Inspected, inspect
from node.routing import Choice
from node.rule_settings import Rule
from node.settings import Settings, load_settings, parse_settings

LOOKING, READING = "looking through the files", "reading the images"
USUAL_RULE = "every series with phase"
USUAL_RULES = f"the usual rule: {USUAL_RULE}, recipe default"
EVEN_MS = 0.02
MARKS = {MAPPED: ("✓", "green"), REFUSED: ("✗", "bold red"), IGNORED: ("–", "dim")}
VERDICTS = {MAPPED: "can be mapped", REFUSED: "cannot be mapped", IGNORED: "left aside"}


def inspect_folder(folder: Path, config: Path | None, as_json: bool, pictures: Path | None = None) -> None:
    """Print what is in a folder, series by series, and write a picture of each where asked for."""
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
    settings, rules = rules_to_go_by(config)
    with StepDisplay(f"Inspecting {folder}", (LOOKING, READING), as_json) as display:
        found = find_acquisitions(folder, lambda share: display.update(LOOKING, share))
        inspected = list(inspect(found, settings, lambda share: display.update(READING, share), pictures))
    if not inspected:
        where = f"{folder} is no DICOM file" if folder.is_file() else f"There is no DICOM file in {folder}"
        raise NotDicom(f"{where}; give the folder of one examination.")
    if as_json:
        print_json({"folder": str(folder), "rules": rules, "series": [asdict(one) for one in inspected]})
        return
    for one in inspected:
        _print(one)
    _conclude(inspected, rules, folder)


def rules_to_go_by(config: Path | None, fallback: Path | None = None) -> tuple[Settings, str]:
    """Return the settings whose rules decide, and where they are from: a file, else the usual rule."""
    path = config or (fallback if fallback and fallback.exists() else None)
    if path is not None:
        return load_settings(path), str(path)
    settings = parse_settings({"rules": [Rule(name=USUAL_RULE).model_dump()]})
    return settings, USUAL_RULES


def _print(one: Inspected) -> None:
    mark, style = MARKS[one.outcome]
    title = Text.assemble((f"{mark} ", style), (one.series, "bold"), (f"  {VERDICTS[one.outcome]}", style))
    out.print(title, soft_wrap=True)
    rows = Table.grid(padding=(0, 2))
    for name, words in _rows(one):
        if words:
            rows.add_row(f"  {name}", words)
    out.print(rows)
    out.print()


def _rows(one: Inspected) -> list[tuple[str, str]]:
    rows = [
        ("scanner", one.scanner + (f", {one.field_t:.4g} T" if one.field_t else "")),
        ("protocol", one.protocol),
        ("files", _files(one)),
        ("parts", ", ".join(f"{count} {part}" for part, count in one.parts.items())),
        ("echoes", _echoes(one.echo_times_ms)),
        *(_grid_rows(one.grid) if one.grid else ()),
        ("phase", one.phase),
        *(("note", note) for note in one.notes),
    ]
    if one.outcome == MAPPED:
        rows.append(("would do", _plan(one)))
        rows += [("and also", _plan(choice)) for choice in one.further]
    else:
        rows.append(("why not", one.reason))
    rows += [("missing", what) for what in one.missing]
    rows += [("advice", f"{what[:1].upper()}{what[1:]}.") for what in one.advice]
    return [*rows, ("picture", one.picture)]


def _files(one: Inspected) -> str:
    held = f"{counted(one.n_images, 'image')}, {one.form}" if one.n_images else one.form
    return f"{counted(one.n_files, 'file')}, {held}"


def _plan(chosen: Inspected | Choice) -> str:
    if chosen.rule == USUAL_RULE and not chosen.destinations:
        return f"map by recipe {chosen.recipe}"
    where = ", ".join(chosen.destinations) or "nobody (the rule names no destination)"
    return f"map by recipe {chosen.recipe}, {chosen.priority}, for {where}; rule {chosen.rule!r}"


def _echoes(times_ms: Sequence[float]) -> str:
    if not times_ms:
        return ""
    steps = [later - earlier for earlier, later in pairwise(times_ms)]
    apart = ""
    if len(steps) > 1:
        is_even = max(steps) - min(steps) < EVEN_MS
        apart = f", {sum(steps) / len(steps):.3g} ms apart" if is_even else ", unevenly spaced"
    return f"{len(times_ms)} at {', '.join(f'{time:g}' for time in times_ms)} ms{apart}"


def _grid_rows(grid: Grid) -> list[tuple[str, str]]:
    matrix = " × ".join(str(length) for length in grid.matrix)
    size = " × ".join(f"{length:.4g}" for length in grid.voxel_size_mm)
    reach = [f"{count * length:.0f}" for count, length in zip(grid.matrix, grid.voxel_size_mm, strict=True)]
    b0 = ", ".join(f"{component + 0.0:.3f}" for component in grid.b0_direction)
    tilt = f"tilted {grid.tilt_degrees:.1f}°" if grid.tilt_degrees >= 0.05 else "not tilted"
    return [
        ("matrix", f"{matrix} voxels of {size} mm, which cover {' × '.join(reach)} mm"),
        ("slices", f"{grid.plane}, {tilt}; B0 along x, y, z of the image: {b0}"),
    ]


def _conclude(inspected: Sequence[Inspected], rules: str, folder: Path) -> None:
    counts = Counter(one.outcome for one in inspected)
    told = ", ".join(f"{counts[outcome]} {VERDICTS[outcome]}" for outcome in VERDICTS if counts[outcome])
    out.print(f"{told}; decided by {rules}.", soft_wrap=True)
    if rules == USUAL_RULES and counts[MAPPED]:
        out.print(f"Map here: lodestone process {folder} --out DIR", soft_wrap=True, markup=False, highlight=False)
