"""`lodestone inspect` for raw data: what a file states, what came, what forbids images, and what is only assumed."""

import sys
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

import dicom_io.errors
from dicom_io.kspace.header_check import check_counts, check_header, check_noise
from dicom_io.kspace.scan import RawScan, calibration_readouts, imaging_readouts, navigator_readouts, noise_readouts
from dicom_io.kspace.stack import places_of_slices
from node.commands.console import FAILED, out, print_json
from node.kspace_convert import geometry_of_images
from node.raw_input import RawFile, read_raw


def inspect_raw(path: Path, as_json: bool) -> None:
    """Print what a file of raw data holds and whether images can be made of it; end with 1 where they cannot.

    Raises
    ------
    MalformedRawData, IncompleteRawData
        File or sidecar cannot be read.
    """
    raw = read_raw(path)
    document = _document(raw)
    problem = _problem(raw)
    document["problem"] = None if problem is None else {"class": type(problem).__name__, "sentence": str(problem)}
    print_json(document) if as_json else _print(document)
    if problem is not None:
        sys.exit(FAILED)


def _problem(raw: RawFile) -> dicom_io.errors.Permanent | None:
    """Return what forbids images as far as it can be told without reading the samples."""
    scan = raw.scan
    try:
        check_header(scan.header)
        check_counts(scan)
        check_noise(scan, not raw.payload.overrides.is_without_noise)
        places_of_slices(scan)
        geometry_of_images(scan, "")
    except dicom_io.errors.Permanent as found:
        return found
    return None


def _document(raw: RawFile) -> dict[str, Any]:
    scan, header = raw.scan, raw.scan.header
    return {
        "file": str(raw.path),
        "kind": raw.payload.format.value,
        "sidecar": str(raw.sidecar) if raw.sidecar else "",
        "scanner": " ".join(part for part in (header.vendor, header.model) if part),
        "trajectory": header.trajectory,
        "encoded_matrix_xyz": list(header.encoded.shape[::-1]),
        "image_matrix_xyz": list(header.recon.shape[::-1]),
        "field_of_view_mm_xyz": list(header.recon.field_of_view_mm[::-1]),
        "echo_times_ms": [round(1000 * time, 6) for time in header.echo_times_s],
        "b0_tesla": header.field_strength_t,
        "acceleration": list(header.acceleration),
        "readouts": _counts(scan),
        "notes": list(scan.notes),
    }


def _counts(scan: RawScan) -> dict[str, int]:
    imaging = imaging_readouts(scan)
    return {
        "all": scan.n_readouts,
        "of images": len(imaging),
        "of noise": len(noise_readouts(scan)),
        "of calibration": len(calibration_readouts(scan)),
        "of navigators": len(navigator_readouts(scan)),
        "coils": int(scan.heads["active_channels"][imaging].max(initial=0)),
        "slices": len(set(scan.slice[imaging].tolist())),
    }


def _print(document: dict[str, Any]) -> None:
    rows = Table.grid(padding=(0, 2))
    for name in ("kind", "scanner", "trajectory", "sidecar"):
        if document[name]:
            rows.add_row(name, document[name])
    for name, unit in (("encoded_matrix_xyz", ""), ("image_matrix_xyz", ""), ("field_of_view_mm_xyz", " mm")):
        shown = " × ".join(f"{value:g}" for value in document[name])
        rows.add_row(name.removesuffix("_xyz").removesuffix("_mm").replace("_", " "), shown + unit)
    rows.add_row("echo times", ", ".join(f"{time:g}" for time in document["echo_times_ms"]) + " ms")
    rows.add_row("B0", f"{document['b0_tesla']:g} T")
    rows.add_row("acceleration", " × ".join(str(factor) for factor in document["acceleration"]))
    rows.add_row("readouts", ", ".join(f"{count} {name}" for name, count in document["readouts"].items()))
    for note in document["notes"]:
        rows.add_row("note", note)
    out.print(rows, soft_wrap=True)
    problem = document["problem"]
    if problem is None:
        out.print(Text.assemble(("can be reconstructed: ", "bold green"), "lodestone reconstruct"), soft_wrap=True)
    else:
        out.print(Text.assemble((f"{problem['class']}: ", "bold yellow"), problem["sentence"]), soft_wrap=True)
