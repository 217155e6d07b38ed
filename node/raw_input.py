"""Read a file of raw data for local use, with its sidecar, and write what a reconstruction made of it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from dicom_io.kspace.formats import format_of, read_raw_file
from dicom_io.kspace.overrides import Overrides, read_sidecar, sidecar_of
from dicom_io.kspace.raw_data import RawPayload, raw_data_object
from dicom_io.kspace.scan import RawScan
from dicom_io.kspace.source import PHASE_SCALING, source_of
from dicom_io.series import Part
from node.convert import to_grid
from node.inspection_pictures import write_picture
from node.local_run import InputFile, LocalInput
from node.nifti import write_volume
from node.objects import Regions
from node.reconstruction import ReconstructedScan, finding_dict, reconstruct_scan
from pipeline.acquisition import Acquisition
from pipeline.recipe import Recipe

FILES = {
    "magnitude": "arbitrary",
    "phase": "rad",
    "noise": "of the magnitude's unit",
    "geometry_factor": "1",
    "conventional_magnitude": "arbitrary",
    "conventional_phase": "rad",
    "measured_magnitude": "arbitrary",
    "measured_phase": "rad",
}
PICTURE = "reconstruction.png"


@dataclass(frozen=True)
class RawFile:
    """A raw scan on this machine; `sidecar` is the file that was read beside it, or None."""

    path: Path
    scan: RawScan
    payload: RawPayload
    sidecar: Path | None


def read_raw(path: Path, without_noise: bool = False) -> RawFile:
    """Read a file of raw data and the sidecar beside it.

    Raises
    ------
    MalformedRawData, IncompleteRawData
        File or sidecar cannot be read; the sentence says why.
    """
    form, beside = format_of(path), sidecar_of(path)
    overrides = Overrides() if beside is None else read_sidecar(beside)
    overrides = replace(overrides, is_without_noise=overrides.is_without_noise or without_noise)
    scan = read_raw_file(path, form)
    scan = replace(scan, header=overrides.applied_to(scan.header))
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return RawFile(path, scan, RawPayload(form, sha256, path.stat().st_size, None, overrides), beside)


def reconstruct_raw(
    raw: RawFile, recipe: Recipe, device: str, on_progress: Callable[[str, float], None]
) -> ReconstructedScan:
    """Reconstruct a file of raw data by a recipe.

    Raises
    ------
    DicomError, PipelineError
        What forbids an image.
    """
    needs_noise = not raw.payload.overrides.is_without_noise
    return reconstruct_scan(raw.scan, recipe, device, needs_noise, on_progress, _frame(raw))


def local_input(raw: RawFile, made: ReconstructedScan, device: str) -> LocalInput:
    """Return reconstructed images as what is mapped locally."""
    template = raw_data_object(raw.payload, raw.scan.header, datetime.now(UTC))
    source = source_of(raw.scan, template, made.geometry)
    facts = {
        "kind": raw.payload.format.value,
        "description": raw.path.name,
        "vendor": source.vendor,
        "phase_scaling": PHASE_SCALING,
        "notes": [*raw.scan.notes, *made.notes],
        "ignored": [],
        "reconstruction": document_of(made),
    }
    return LocalInput(
        acquisition=Acquisition(
            torch.as_tensor(made.magnitude, device=device),
            torch.as_tensor(made.phase, device=device),
            raw.scan.header.echo_times_s,
            raw.scan.header.field_strength_t,
            to_grid(made.geometry),
        ),
        affine_ras=made.geometry.affine_ras,
        files=(InputFile(str(raw.path), raw.payload.sha256),),
        digests=(raw.payload.sha256,),
        facts=facts,
        regions=Regions(),
        source=source,
        reconstruction=made.method,
        findings=made.findings,
    )


def document_of(made: ReconstructedScan) -> dict[str, Any]:
    """Return what was reconstructed, how, and what was found out about it, as plain values."""
    return {
        "method": made.method,
        "settings": made.settings,
        "findings": [finding_dict(one) for one in made.findings],
        "notes": list(made.notes),
    }


def write_images(made: ReconstructedScan, raw: RawFile, out: Path) -> list[dict[str, str]]:
    """Write the images, what is kept beside them and a picture; return what lies where."""
    out.mkdir(parents=True, exist_ok=True)
    images = {"magnitude": made.magnitude, "phase": made.phase}
    arrays = images | made.companions
    files = []
    for name, unit in FILES.items():
        if name in arrays:
            path = out / f"{name}.nii.gz"
            place = made.geometry if name in images else made.measured_geometry
            write_volume(path, arrays[name], place.affine_ras, f"{name} [{unit}], Lodestone")
            files.append({"path": path.name, "kind": f"NIfTI {name}", "unit": unit})
    times = [1000 * time for time in raw.scan.header.echo_times_s]
    volumes = {
        Part.MAGNITUDE: dict(zip(times, made.magnitude, strict=True)),
        Part.PHASE: dict(zip(times, made.phase, strict=True)),
    }
    write_picture(out / PICTURE, volumes, made.geometry, f"{raw.path.name} · {made.method.replace('_', ' ')}")
    files.append({"path": PICTURE, "kind": "picture", "unit": ""})
    return files


def _frame(raw: RawFile) -> str:
    header = raw.scan.header
    return str(raw_data_object(raw.payload, header, datetime.now(UTC)).FrameOfReferenceUID)
