"""From a raw scan to the echo images that are mapped: sorted, reconstructed, placed in the patient."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dicom_io.geometry import Geometry
from dicom_io.kspace.scan import RawScan
from dicom_io.kspace.stack import n_slices
from node.convert import to_grid
from node.kspace_convert import geometry_of_images, place_images, to_kspace
from pipeline.errors import UnusableInput
from pipeline.finer import finer_images
from pipeline.method import Finding, MethodChoice
from pipeline.methods import FINER
from pipeline.networks.weights import verified_digest
from pipeline.recipe import Recipe
from pipeline.reconstruction.epi_distortion import straightened, without_distortion
from pipeline.reconstruction.kspace import Kspace
from pipeline.reconstruction.run import Reconstructed, reconstruct
from pipeline.reconstruction.table import DEFAULT_RECONSTRUCTION, find_reconstruction

SORTING, RECONSTRUCTING = "sorting", "reconstruction"
STEPS = (SORTING, RECONSTRUCTING)
"""What every scan goes through; a recipe may add `FINER`."""
OnProgress = Callable[[str, float], None]


@dataclass(frozen=True)
class ReconstructedScan:
    """Echo images and what is kept beside them.

    `magnitude` [arbitrary] and `phase` [rad] are float32 `(echo, z, y, x)` on `geometry`; `companions` are float32
    arrays on `measured_geometry`: the noise, the g-factor where lines were left out, the conventional images beside
    learned ones, and the images as they were measured where those that are used are finer.
    """

    magnitude: np.ndarray
    phase: np.ndarray
    geometry: Geometry
    measured_geometry: Geometry
    companions: dict[str, np.ndarray]
    method: str
    settings: dict[str, Any]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


def reconstruct_scan(
    scan: RawScan,
    recipe: Recipe,
    device: str = "cpu",
    needs_noise: bool = True,
    on_progress: OnProgress = lambda step, share: None,
    frame_of_reference_uid: str = "",
) -> ReconstructedScan:
    """Make echo images of a raw scan by the recipe's reconstruction, or by the default one where it names none.

    Raises
    ------
    DicomError
        Something in the raw data forbids an image.
    PipelineError
        The reconstruction refuses the scan.
    """
    if recipe.super_resolution is not None and n_slices(scan) > 1:
        raise UnusableInput(
            "Super-resolution is for volumes; along slices that were measured one by one no band of k-space is known. "
            "Use a recipe without it."
        )
    converted = to_kspace(scan, device, needs_noise, lambda share: on_progress(SORTING, share))
    choice = recipe.reconstruction or MethodChoice(DEFAULT_RECONSTRUCTION)
    made = reconstruct(converted.kspace, choice, lambda share: on_progress(RECONSTRUCTING, share))
    if converted.seconds_per_line is not None:
        made = _straight(made, converted.kspace, converted.seconds_per_line)
    images, findings, companions = place_images(scan, made.images), made.findings, _companions(scan, made)
    measured = geometry_of_images(scan, frame_of_reference_uid)
    if recipe.super_resolution is not None:
        measured_images = images
        images, found = _finer(scan, images, measured, recipe, on_progress)
        findings = (*findings, *found)
        if images.shape != measured_images.shape:
            companions["measured_magnitude"] = _array(measured_images.abs())
            companions["measured_phase"] = _array(measured_images.angle())
    return ReconstructedScan(
        magnitude=_array(images.abs()),
        phase=_array(images.angle()),
        geometry=geometry_of_images(scan, frame_of_reference_uid, images.shape[1:]),
        measured_geometry=measured,
        companions=companions,
        method=choice.method,
        settings=asdict(recipe.reconstruction_settings),
        findings=findings,
        notes=(*converted.notes, *_weights(choice.method, recipe)),
    )


def _finer(
    scan: RawScan, images: Tensor, measured: Geometry, recipe: Recipe, on_progress: OnProgress
) -> tuple[Tensor, tuple[Finding, ...]]:
    """Return finer images, or those that were given where a check failed, and what was found."""
    header = scan.header
    made = finer_images(
        images,
        to_grid(measured),
        header.echo_times_s,
        header.field_strength_t,
        recipe,
        lambda share: on_progress(FINER, share),
    )
    return made.images, made.findings


def _weights(method: str, recipe: Recipe) -> tuple[str, ...]:
    """Say which weights made the images: nobody could make them again without them."""
    notes = []
    if find_reconstruction(method).learned:
        notes.append(f"The images were reconstructed with the weights of {method}, SHA-256 {verified_digest(method)}.")
    if recipe.super_resolution is not None:
        finer = recipe.super_resolution.method
        notes.append(f"Finer images were made with the weights of {finer}, SHA-256 {verified_digest(finer)}.")
    return tuple(notes)


def _straight(made: Reconstructed, kspace: Kspace, seconds_per_line: float) -> Reconstructed:
    """Return the images of an echo-planar scan without distortion, and those beside them by the same displacement."""
    times = kspace.echo_times_s
    images, distortion, finding = straightened(made.images, times, seconds_per_line, kspace.grid)
    twin = made.conventional_twin
    twin = None if twin is None else without_distortion(twin, distortion, times)
    return replace(made, images=images, conventional_twin=twin, findings=(*made.findings, finding))


def images_artefact(scan: RawScan, made: ReconstructedScan) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the images as arrays and metadata for the workspace, like those of images that arrived as images."""
    grid = to_grid(made.geometry)
    metadata = {
        "echo_times_s": list(scan.header.echo_times_s),
        "b0_tesla": scan.header.field_strength_t,
        "shape": list(grid.shape),
        "voxel_size_mm": list(grid.voxel_size_mm),
        "b0_direction": list(grid.b0_direction),
    }
    return {"magnitude": made.magnitude, "phase": made.phase}, metadata


def finding_dict(finding: Finding) -> dict[str, Any]:
    """Return a finding as plain values."""
    return {**asdict(finding), "figures": dict(finding.figures)}


def _companions(scan: RawScan, made: Reconstructed) -> dict[str, np.ndarray]:
    found = {"noise": _placed(scan, made.noise)}
    if made.geometry_factor is not None:
        found["geometry_factor"] = _placed(scan, made.geometry_factor)
    if made.conventional_twin is not None:
        twin = place_images(scan, made.conventional_twin)
        found |= {"conventional_magnitude": _array(twin.abs()), "conventional_phase": _array(twin.angle())}
    return found


def _placed(scan: RawScan, volume: Tensor) -> np.ndarray:
    return _array(place_images(scan, volume[None])[0])


def _array(values: Tensor) -> np.ndarray:
    return np.ascontiguousarray(values.detach().cpu().to(torch.float32).numpy())
