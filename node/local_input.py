"""Read what `lodestone process` is given, DICOM files or NIfTI files, into one form."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dicom_io.errors import NotDicom
from dicom_io.geometry import Geometry
from dicom_io.network.part10 import read_envelope
from dicom_io.read.reader import FoundAcquisition, read_echo_series
from node.convert import to_acquisition
from node.local_run import InputFile, LocalInput
from node.nifti import (
    Volume,
    check_same_grid,
    grid_of,
    phase_in_radians,
    read_stack,
    read_volume,
    sha256_of,
    sidecar,
)
from node.objects import Regions
from node.region_labels import labels_on_grid
from pipeline.acquisition import Acquisition
from pipeline.errors import UnusableInput
from pipeline.grid import Grid

SAME_PLACE_MM = 0.1


@dataclass(frozen=True)
class NiftiInput:
    """NIfTI files as a person names them; echo times [s] and field strength [T] may come from BIDS JSON files."""

    phase: tuple[Path, ...]
    magnitude: tuple[Path, ...]
    echo_times_s: tuple[float, ...] = ()
    b0_tesla: float | None = None
    b0_direction: tuple[float, float, float] | None = None
    mask: Path | None = None
    phase_scale: float | None = None
    invert_phase: bool = False


@dataclass(frozen=True)
class LabelFiles:
    """A label map (NIfTI) and its names (JSON: label → name), either of them absent."""

    label_map: Path | None = None
    names: Path | None = None


def read_dicom(found: FoundAcquisition, labels: LabelFiles, mask: Path | None, device: str) -> LocalInput:
    """Read one acquisition that was found in a folder.

    Raises
    ------
    DicomError
        It cannot be read rightly; the sentence names file, attribute and remedy.
    UnusableInput
        Mask or label map lie on another grid.
    """
    echoes = read_echo_series(found.paths, share=found.share)
    source = echoes.source
    geometry = source.geometry
    acquisition = to_acquisition(echoes, device, None if mask is None else _mask_on(mask, geometry))
    return LocalInput(
        acquisition=acquisition,
        affine_ras=geometry.affine_ras,
        files=tuple(InputFile(str(path), sha256_of(path)) for path in found.paths),
        digests=(*(_dataset_digest(path) for path in found.paths), *((found.share.title,) if found.share else ())),
        facts={
            "kind": "DICOM",
            "description": found.description,
            "SeriesInstanceUIDs": list(found.series_uids),
            "vendor": source.vendor,
            "phase_scaling": source.phase_scaling,
            "notes": list(source.notes),
            "ignored": list(source.ignored),
        },
        regions=_regions(labels, geometry),
        source=source,
    )


def read_nifti(given: NiftiInput, labels: LabelFiles, device: str) -> LocalInput:
    """Read phase and magnitude files, echo times and field strength.

    Raises
    ------
    UnusableInput
        Files disagree in shape or place, or echo times or field strength are unknown.
    PhaseScaleUnknown
        The phase's numbers follow no known convention.
    """
    phase_files, magnitude_files = read_stack(given.phase), read_stack(given.magnitude)
    check_same_grid(phase_files[0], magnitude_files[0])
    phase, scaling = phase_in_radians(phase_files, given.phase_scale)
    magnitude = np.concatenate([volume.values for volume in magnitude_files])
    if len(phase) != len(magnitude):
        raise UnusableInput(f"There are {len(phase)} phase volumes and {len(magnitude)} magnitude volumes.")
    times, b0_tesla, notes = _protocol(given, len(phase))
    if given.invert_phase:
        phase = -phase
        notes.append("The sign of the phase was turned, as asked.")
    grid = grid_of(phase_files[0], given.b0_direction)
    paths = (*given.phase, *given.magnitude, *((given.mask,) if given.mask else ()))
    files = tuple(InputFile(str(path), sha256_of(path)) for path in paths)
    return LocalInput(
        acquisition=Acquisition(
            magnitude=_tensor(magnitude, device),
            phase=_tensor(phase, device),
            echo_times_s=times,
            b0_tesla=b0_tesla,
            grid=grid,
            mask=None if given.mask is None else torch.as_tensor(_mask_like(given.mask, phase_files[0]), device=device),
        ),
        affine_ras=phase_files[0].affine,
        files=files,
        digests=tuple(file.sha256 for file in files),
        facts={"kind": "NIfTI", "phase_scaling": scaling, "notes": notes},
        regions=_regions_like(labels, phase_files[0]),
    )


def echo_times_of(paths: Sequence[Path], n_echoes: int) -> tuple[float, ...]:
    """Return the echo times [s] that BIDS JSON files state beside one file per echo, or nothing."""
    stated = [sidecar(path).get("EchoTime") for path in paths]
    if len(stated) == 1 and isinstance(stated[0], list):
        stated = stated[0]
    if len(stated) != n_echoes or not all(isinstance(time, int | float) for time in stated):
        return ()
    return tuple(float(time) for time in stated if time is not None)


def read_label_names(path: Path | None) -> dict[int, str]:
    """Read a JSON file that maps labels to names, e.g. `{"1": "putamen left"}`.

    Raises
    ------
    UnusableInput
        The file holds something else.
    """
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {int(label): str(name) for label, name in content.items()}
    except (ValueError, AttributeError) as error:
        raise UnusableInput(f'{path} holds no names of labels; write {{"1": "putamen left", "2": …}}.') from error


def _protocol(given: NiftiInput, n_echoes: int) -> tuple[tuple[float, ...], float, list[str]]:
    """Return echo times [s] and field strength [T], and notes on where they were found."""
    notes = []
    times = given.echo_times_s
    if not times:
        times = echo_times_of(given.phase, n_echoes)
        notes.append("Echo times were read from the JSON files beside the phase.")
    if not times:
        raise UnusableInput(f"The echo times are unknown: give {n_echoes} in seconds with --echo-times-s 0.004 0.008 …")
    if len(times) != n_echoes:
        raise UnusableInput(f"There are {n_echoes} phase volumes but {len(times)} echo times: {_listed(times)} s.")
    if max(times) > 0.5:
        raise UnusableInput(
            f"Echo times of {_listed(times)} s cannot be; if they are milliseconds, write "
            f"{' '.join(f'{time / 1000:g}' for time in times)}."
        )
    b0_tesla = given.b0_tesla
    if b0_tesla is None:
        stated = sidecar(given.phase[0]).get("MagneticFieldStrength")
        if not isinstance(stated, int | float):
            raise UnusableInput("The field strength is unknown: give it in tesla, e.g. --b0-tesla 3.")
        b0_tesla = float(stated)
        notes.append("The field strength was read from the JSON file beside the phase.")
    if not 0.05 <= b0_tesla <= 25:
        raise UnusableInput(f"A field strength of {b0_tesla:g} T cannot be; give it in tesla, e.g. --b0-tesla 3.")
    return times, b0_tesla, notes


def _listed(times: Sequence[float]) -> str:
    return ", ".join(f"{time:g}" for time in times)


def _mask_like(path: Path, reference: Volume) -> np.ndarray:
    volume = read_volume(path)
    check_same_grid(reference, volume)
    return np.ascontiguousarray(volume.values[0] > 0)


def _mask_on(path: Path, geometry: Geometry) -> np.ndarray:
    volume = read_volume(path)
    if volume.values.shape[1:] != geometry.shape or not np.allclose(
        volume.affine, geometry.affine_ras, atol=SAME_PLACE_MM
    ):
        raise UnusableInput(
            f"The mask {path} lies on another grid than the series; make it from a map that `lodestone process` wrote."
        )
    return np.ascontiguousarray(volume.values[0] > 0)


def _regions(labels: LabelFiles, geometry: Geometry) -> Regions:
    if labels.label_map is None:
        return Regions()
    found, sentence = labels_on_grid(labels.label_map, geometry)
    if found is None:
        raise UnusableInput(f"{labels.label_map}: {sentence}")
    return Regions(found, read_label_names(labels.names))


def _regions_like(labels: LabelFiles, reference: Volume) -> Regions:
    if labels.label_map is None:
        return Regions()
    volume = read_volume(labels.label_map)
    check_same_grid(reference, volume)
    return Regions(np.rint(volume.values[0]).astype(np.int32), read_label_names(labels.names))


def _dataset_digest(path: Path) -> str:
    """Return the SHA-256 of the dataset alone, as the node's record has it, so that both make the same UIDs."""
    try:
        offset = read_envelope(path).dataset_offset
    except NotDicom:
        return sha256_of(path)
    with path.open("rb") as file:
        file.seek(offset)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tensor(array: np.ndarray, device: str) -> torch.Tensor:
    return torch.tensor(np.ascontiguousarray(array, dtype=np.float32), device=device)


def summary_of_grid(grid: Grid, echo_times_s: Sequence[float], b0_tesla: float) -> str:
    """Return an acquisition in one line for people."""
    shape = " × ".join(str(length) for length in reversed(grid.shape))
    size = " × ".join(f"{length:.3g}" for length in reversed(grid.voxel_size_mm))
    tilt = float(np.degrees(np.arccos(min(1.0, max(abs(component) for component in grid.b0_direction)))))
    times = ", ".join(f"{1000 * time:g}" for time in echo_times_s)
    return f"{shape} voxels of {size} mm, B0 {b0_tesla:g} T tilted {tilt:.0f}°, echoes at {times} ms"


def document_of_refusal(found: FoundAcquisition, refusal: Exception) -> dict[str, Any]:
    """Return why an acquisition was not mapped, for the summary."""
    return {
        "description": found.description,
        "SeriesInstanceUIDs": list(found.series_uids),
        "n_files": len(found.paths),
        "class": type(refusal).__name__,
        "sentence": str(refusal),
    }
