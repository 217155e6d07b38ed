"""Map one acquisition on this machine, without network or record, and write all that a researcher wants of it."""

import json
import os
import resource
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from db.audit import digest
from dicom_io.series import SourceSeries
from dicom_io.write.summary import pages_of
from node.contact_sheet import contact_sheet
from node.convert import PPB_PER_PPM, maps_artefact, root_mean_square
from node.nifti import sha256_of, write_volume
from node.object_kinds import UNIT_OF_KIND, ObjectKind
from node.objects import Outcome, Regions, Wanted, make_objects, measure_regions
from node.region_values import trust_in_ppb
from node.result_page import result_page
from node.run_sentences import describe_run, describe_twin, is_fallback
from node.software import software
from pipeline.acquisition import Acquisition
from pipeline.maps import CLASSICAL, CLASSICAL_SUSCEPTIBILITY, LEARNED, Quality
from pipeline.memory import return_freed_volumes
from pipeline.method import Finding, Method
from pipeline.recipe import Recipe, find_image_method
from pipeline.reconstruction.reconstruction import Reconstruction
from pipeline.reconstruction.super_resolution import Refinement
from pipeline.regions.measurements import RegionMeasurement
from pipeline.run import run

SUMMARY = "summary.json"
PAGES = "summary.pdf"
RESULT_PAGE = "summary.html"
CONTACT_SHEET = "contact_sheet.png"
DICOM_FOLDER = "dicom"
ENCODING, WRITING = "encoding", "writing"
WHOSE_MAP = {LEARNED: "the network's map", CLASSICAL: "the classical map in the network's place"}
UNITS = {
    "susceptibility": "ppm",
    "classical_susceptibility": "ppm",
    "susceptibility_spread": "ppm",
    "cone_part": "ppm",
    "total_field": "ppm",
    "local_field": "ppm",
    "field_noise": "ppm",
    "r2star": "1/s",
    "t2star": "s",
    "paramagnetic": "ppm",
    "diamagnetic": "ppm",
    "weighted_image": "arbitrary",
    "minimum_intensity_projection": "arbitrary",
    "mask": "0 or 1",
}
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

OnProgress = Callable[[str, float], None]


@dataclass(frozen=True)
class InputFile:
    """One file that was read: its path as given, and its SHA-256."""

    path: str
    sha256: str


@dataclass(frozen=True)
class LocalInput:
    """One acquisition to map.

    `facts` are plain values for the summary; `digests` identify the input whatever its files' names; `source` is given
    for DICOM and makes DICOM outputs possible. `reconstruction` names the method that made the images of k-space, and
    `findings` are what it found out about them.
    """

    acquisition: Acquisition
    affine_ras: np.ndarray
    files: tuple[InputFile, ...]
    digests: tuple[str, ...]
    facts: dict[str, Any]
    regions: Regions = field(default_factory=Regions)
    source: SourceSeries | None = None
    reconstruction: str = ""
    findings: tuple[Finding, ...] = ()


def local_steps(recipe: Recipe, is_dicom: bool) -> tuple[str, ...]:
    """Return the steps that `map_locally` reports, in order."""
    return (*recipe.steps, *((ENCODING,) if is_dicom else ()), WRITING)


def map_locally(given: LocalInput, recipe: Recipe, out: Path, on_progress: OnProgress) -> dict[str, Any]:
    """Map an acquisition, write maps, objects, picture and summary into `out`, and return the summary.

    Raises
    ------
    PipelineError
        The acquisition cannot be mapped with this recipe.
    InvalidObject
        A DICOM object does not satisfy the standard.
    """
    performed_at = datetime.now(UTC)
    maps, quality = run(given.acquisition, recipe, on_progress)
    told = tuple(finding.sentence for finding in given.findings if finding.is_warning)
    quality = replace(quality, findings=(*given.findings, *quality.findings), warnings=(*told, *quality.warnings))
    arrays, metadata = maps_artefact(maps)
    reference = str(metadata["reference"]).replace("_", " ")
    measured = measure_regions(arrays, given.regions, given.acquisition.grid.voxel_size_mm, quality.as_dict())
    remove_former_results(out)
    out.mkdir(parents=True, exist_ok=True)
    files = []
    if given.source is not None:
        on_progress(ENCODING, 0.0)
        files += _write_objects(given, recipe, arrays, quality, measured, reference, performed_at, out)
        on_progress(ENCODING, 1.0)
    on_progress(WRITING, 0.0)
    files += _write_maps(arrays, given.affine_ras, out)
    files.append(_draw(given, arrays, recipe, quality, out))
    summary = {
        "performed_at": performed_at.isoformat(timespec="seconds"),
        "software": software(),
        "device": _device(given.acquisition.phase.device),
        "peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2, 2),
        "input": {
            **given.facts,
            "digest": digest(sorted(given.digests)),
            "files": [asdict(one) for one in given.files],
        },
        "acquisition": _acquisition_facts(given.acquisition),
        "recipe": recipe_document(recipe),
        "reference": reference,
        "quality": quality.figures,
        "warnings": list(quality.warnings),
        "susceptibility_source": quality.susceptibility_source,
        "findings": quality.as_dict()["findings"],
        "weights": quality.weights,
        "regions": [region_in_ppb(region) for region in measured],
        "files": files,
    }
    files.append(_write_result_page(summary, out))
    on_progress(WRITING, 1.0)
    return summary


def write_summary(out: Path, summary: dict[str, Any]) -> Path:
    """Write the summary as JSON and return its path."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / SUMMARY
    path.write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def recipe_document(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe with every default written out, and each method's source."""
    ways: dict[str, tuple[Method | Reconstruction | Refinement, Any]] = {
        step: (find_image_method(step, choice.method), recipe.image_settings(step))
        for step, choice in recipe.image_steps.items()
    }
    ways |= {step: (recipe.method_of(step), recipe.settings_of(step)) for step in recipe.steps}
    return {
        "name": recipe.name,
        "digest": recipe.digest,
        "steps": {
            step: {"method": way.name, "citation": way.citation, "settings": asdict(settings)}
            for step, (way, settings) in ways.items()
        },
    }


def remove_former_results(out: Path) -> None:
    """Remove what an earlier run wrote here and listed in its summary, so that no slice of two maps lies together."""
    try:
        former = json.loads((out / SUMMARY).read_text(encoding="utf-8"))
        names = [str(entry["path"]) for entry in former.get("files", [])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    for name in names:
        path = out / name
        # Only what lies inside the folder: the file may have been edited.
        if path.resolve().is_relative_to(out.resolve()) and path.is_file():
            path.unlink()
    (out / SUMMARY).unlink()


def region_in_ppb(region: RegionMeasurement) -> dict[str, Any]:
    """Return a region's values for people [ppb, ml]."""
    values = {
        "label": int(region.label),
        "name": region.name,
        "mean_ppb": round(float(region.mean) * PPB_PER_PPM, 2),
        "sd_ppb": round(float(region.sd) * PPB_PER_PPM, 2),
        "median_ppb": round(float(region.median) * PPB_PER_PPM, 2),
        "volume_ml": round(float(region.volume_ml), 4),
        "n_voxels": int(region.n_voxels),
    }
    return values | trust_in_ppb(vars(region))


def use_threads(threads: int) -> None:
    """Let the mathematics use so many processor threads; 0 takes all."""
    torch.set_num_threads(threads or os.cpu_count() or 1)
    return_freed_volumes()


def _write_objects(
    given: LocalInput,
    recipe: Recipe,
    arrays: dict[str, np.ndarray],
    quality: Quality,
    measured: Sequence[RegionMeasurement],
    reference: str,
    performed_at: datetime,
    out: Path,
) -> list[dict[str, Any]]:
    assert given.source is not None
    described = describe_run(
        recipe=recipe,
        quality=quality.as_dict(),
        software=software(),
        input_digest=digest(sorted(given.digests)),
        reference=reference,
        node_ae_title="LODESTONE",
        performed_at=performed_at,
        research_use_only=True,
        reconstruction=given.reconstruction,
    )
    twin = describe_twin(recipe, described)
    magnitude = root_mean_square(given.acquisition.magnitude.cpu().numpy())
    outcome = Outcome(arrays, quality.as_dict(), measured, given.regions, magnitude)
    made = make_objects(outcome, given.source, described, Wanted(companions=recipe.companions), twin)
    folder = out / DICOM_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for one in made:
        (folder / one.name).write_bytes(one.content)
        files.append(
            {
                "path": f"{DICOM_FOLDER}/{one.name}",
                "kind": f"DICOM {one.kind}",
                "unit": UNIT_OF_KIND.get(ObjectKind(one.kind), ""),
                "sha256": one.sha256,
                "SOPInstanceUID": one.SOPInstanceUID,
                "SeriesInstanceUID": one.SeriesInstanceUID,
            }
        )
        if one.kind == ObjectKind.SUMMARY:
            files.append(_write_pages(one.content, out))
    return files


def _write_pages(content: bytes, out: Path) -> dict[str, Any]:
    """Write the summary also as a plain PDF: a researcher's desk has no PACS."""
    path = out / PAGES
    path.write_bytes(pages_of(content))
    return {"path": path.name, "kind": "summary", "unit": "", "sha256": sha256_of(path)}


def _write_result_page(summary: Mapping[str, Any], out: Path) -> dict[str, Any]:
    path = out / RESULT_PAGE
    path.write_text(result_page(summary, (out / CONTACT_SHEET).read_bytes()), encoding="utf-8")
    return {"path": path.name, "kind": "page", "unit": "", "sha256": sha256_of(path)}


def _write_maps(arrays: dict[str, np.ndarray], affine_ras: np.ndarray, out: Path) -> list[dict[str, Any]]:
    files = []
    for name, unit in UNITS.items():
        if name not in arrays:
            continue
        path = out / f"{name}.nii.gz"
        array = arrays[name].astype(bool) if name == "mask" else arrays[name]
        write_volume(path, array, affine_ras, f"{name} [{unit}], Lodestone")
        files.append({"path": path.name, "kind": f"NIfTI {name}", "unit": unit, "sha256": sha256_of(path)})
    return files


def _draw(
    given: LocalInput, arrays: Mapping[str, np.ndarray], recipe: Recipe, quality: Quality, out: Path
) -> dict[str, Any]:
    path = out / CONTACT_SHEET
    magnitude = root_mean_square(given.acquisition.magnitude.cpu().numpy())
    known = quality.as_dict()
    whose = f" · {WHOSE_MAP[quality.susceptibility_source]}" if quality.weights else ""
    # A classical map in the network's place would be compared with itself.
    twin = None if is_fallback(known) else arrays.get(CLASSICAL_SUSCEPTIBILITY)
    contact_sheet(
        path,
        arrays["susceptibility"],
        magnitude,
        arrays["mask"].astype(bool),
        RAS_FROM_LPS @ given.affine_ras,
        f"Lodestone · {recipe.name}{whose} · for research use only",
        twin,
    )
    return {"path": path.name, "kind": "contact sheet", "unit": "ppb", "sha256": sha256_of(path)}


def _acquisition_facts(acquisition: Acquisition) -> dict[str, Any]:
    grid = acquisition.grid
    return {
        "shape_zyx": list(grid.shape),
        "voxel_size_mm_zyx": [round(size, 6) for size in grid.voxel_size_mm],
        "b0_direction_zyx": [round(component, 6) for component in grid.b0_direction],
        "b0_tesla": acquisition.b0_tesla,
        "n_echoes": len(acquisition.echo_times_s),
        "echo_times_s": list(acquisition.echo_times_s),
    }


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda, {torch.cuda.get_device_name(device)}"
    return f"cpu, {torch.get_num_threads()} threads"
