"""The one bridge between the packages: DICOM arrays and units ⇄ tensors and SI units."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from dicom_io.geometry import Geometry
from dicom_io.series import EchoSeries
from pipeline.acquisition import Acquisition
from pipeline.grid import Grid
from pipeline.maps import Maps
from pipeline.units import ppm_to_hz

PPB_PER_PPM = 1000.0


def to_grid(geometry: Geometry) -> Grid:
    """Return the mathematics' view of a DICOM geometry."""
    return Grid(geometry.shape, geometry.voxel_size_mm, geometry.b0_direction)


def to_acquisition(echoes: EchoSeries, device: str = "cpu", mask: np.ndarray | None = None) -> Acquisition:
    """Return an acquisition that was read from DICOM as tensors on `device`; `mask` is `(z, y, x)`."""
    source = echoes.source
    return _acquisition(
        echoes.magnitude,
        echoes.phase,
        source.echo_times_s,
        source.magnetic_field_strength_t,
        to_grid(source.geometry),
        device,
        mask,
    )


def acquisition_artefact(echoes: EchoSeries) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return an acquisition as arrays and metadata for the workspace; nothing in them names a patient."""
    source = echoes.source
    grid = to_grid(source.geometry)
    metadata = {
        "echo_times_s": list(source.echo_times_s),
        "b0_tesla": source.magnetic_field_strength_t,
        "shape": list(grid.shape),
        "voxel_size_mm": list(grid.voxel_size_mm),
        "b0_direction": list(grid.b0_direction),
    }
    return {"magnitude": echoes.magnitude, "phase": echoes.phase}, metadata


def acquisition_from_artefact(
    arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any], device: str = "cpu"
) -> Acquisition:
    """Return what `acquisition_artefact` stored as tensors on `device`."""
    nz, ny, nx = metadata["shape"]
    dz, dy, dx = metadata["voxel_size_mm"]
    bz, by, bx = metadata["b0_direction"]
    return _acquisition(
        arrays["magnitude"],
        arrays["phase"],
        metadata["echo_times_s"],
        metadata["b0_tesla"],
        Grid((nz, ny, nx), (dz, dy, dx), (bz, by, bx)),
        device,
        arrays.get("mask"),
    )


def maps_artefact(maps: Maps) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return maps as arrays and metadata for the workspace; units as in `Maps`."""
    arrays = {
        "susceptibility": maps.susceptibility,
        "total_field": maps.total_field,
        "local_field": maps.local_field,
        "field_noise": maps.field_noise,
        "mask": maps.mask.to(torch.uint8),
    }
    if maps.r2star is not None:
        arrays["r2star"] = maps.r2star
    arrays |= maps.companions
    return {name: tensor.detach().cpu().numpy() for name, tensor in arrays.items()}, {"reference": maps.reference}


def to_ppb(susceptibility_ppm: np.ndarray) -> np.ndarray:
    """Return a susceptibility map [ppm] in the unit in which DICOM stores it [ppb]."""
    return np.asarray(susceptibility_ppm, dtype=np.float64) * PPB_PER_PPM


def to_hertz(field_ppm: np.ndarray, b0_tesla: float) -> np.ndarray:
    """Return a field [ppm] as the frequency that it adds to the protons' [Hz]."""
    return np.asarray(field_ppm, dtype=np.float64) * ppm_to_hz(1.0, b0_tesla)


def root_mean_square(magnitude: np.ndarray) -> np.ndarray:
    """Return one image of all echoes `(z, y, x)` from `(echo, z, y, x)`."""
    return np.sqrt(np.mean(np.square(magnitude, dtype=np.float32), axis=0))


def choose_device(wanted: str) -> str:
    """Return `cpu` or `cuda`; `auto` takes the graphics processor where there is one."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def _acquisition(
    magnitude: np.ndarray,
    phase: np.ndarray,
    echo_times_s: Sequence[float],
    b0_tesla: float,
    grid: Grid,
    device: str,
    mask: np.ndarray | None,
) -> Acquisition:
    return Acquisition(
        magnitude=_tensor(magnitude, device),
        phase=_tensor(phase, device),
        echo_times_s=tuple(float(time) for time in echo_times_s),
        b0_tesla=float(b0_tesla),
        grid=grid,
        mask=None if mask is None else torch.as_tensor(mask.astype(bool), device=device),
    )


def _tensor(array: np.ndarray, device: str) -> torch.Tensor:
    # The copy lets the caller free its array, and gives tensors memory that may be written.
    return torch.tensor(np.ascontiguousarray(array, dtype=np.float32), device=device)
