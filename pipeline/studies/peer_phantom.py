"""The phantom on which other programs were measured, read from a folder as a case like any other.

`phantom.npz` holds, with axes `(x, y, z[, echo])`: `field_total`, `field_local` and `chi` [ppm], `mask`, `labels`,
`mag` and `phase` [rad]; beside them `TE` [s], `B0` [T] and `vox` [mm]. B0 runs along z.
"""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.acquisition import Acquisition
from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.simulation.forward import complex_noise
from pipeline.simulation.scanner import Protocol, SimulatedScan
from pipeline.studies.cases import Case
from pipeline.susceptibility.smoothing import gaussian
from pipeline.units import radians_per_ppm

FAMILY = "peers"
NUCLEI = {
    4: "caudate nucleus",
    5: "putamen",
    6: "globus pallidus",
    7: "thalamus",
    8: "substantia nigra",
    9: "red nucleus",
    10: "dentate nucleus",
}
_NEEDED = ("field_total", "field_local", "chi", "mask", "labels", "mag", "phase", "TE", "B0")
_CORNER_VOXELS = 8
_OFFSET_SIGMA_MM = 3.0
_NOISE_SEED = 5


def read_peer_phantom(folder: Path) -> Case:
    """Read the phantom.

    Raises
    ------
    UnusableInput
        The file is missing or lacks an array.
    """
    file = folder / "phantom.npz"
    if not file.is_file():
        raise UnusableInput(f"There is no phantom.npz in {folder}; give the folder that holds it.")
    with np.load(file) as stored:
        lacking = [name for name in _NEEDED if name not in stored]
        if lacking:
            raise UnusableInput(f"{file} lacks {', '.join(lacking)}.")
        arrays = {name: np.asarray(stored[name]) for name in stored.files}
    volumes = {
        name: torch.from_numpy(np.ascontiguousarray(values.T)) for name, values in arrays.items() if values.ndim >= 3
    }
    x, y, z = (float(size) for size in arrays.get("vox", np.ones(3)))
    times = tuple(float(time) for time in arrays["TE"])
    return _as_case(volumes, (z, y, x), times, float(arrays["B0"]))


def with_field_strength(case: Case, b0_tesla: float) -> Case:
    """Return the case as it would be at another field strength: the same field in ppm, more phase, fresh noise."""
    return _resimulated(replace(case, protocol=replace(case.protocol, b0_tesla=b0_tesla)), f"{b0_tesla:g} T")


def with_snr(case: Case, snr: float) -> Case:
    """Return the case with another signal-to-noise ratio at the first echo."""
    return _resimulated(replace(case, protocol=replace(case.protocol, snr=snr)), f"SNR {snr:g}")


def _as_case(
    volumes: dict[str, Tensor], voxel_size_mm: tuple[float, float, float], times: tuple[float, ...], b0_tesla: float
) -> Case:
    magnitude, phase = volumes["mag"].float(), volumes["phase"].float()
    mask = volumes["mask"] > 0
    shape = (mask.shape[0], mask.shape[1], mask.shape[2])
    snr = float(magnitude[0][mask].mean()) / _noise_in_corners(magnitude)
    scan = SimulatedScan(
        acquisition=Acquisition(magnitude, phase, times, b0_tesla, Grid(shape, voxel_size_mm)),
        susceptibility=volumes["chi"].float(),
        labels=volumes["labels"].to(torch.int32),
        label_names=NUCLEI,
        brain=mask,
        total_field=volumes["field_total"].float(),
        local_field=volumes["field_local"].float(),
        directions=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
        first_position_mm=(0.0, 0.0, 0.0),
    )
    protocol = Protocol(shape, voxel_size_mm, times, b0_tesla, snr, seed=_NOISE_SEED)
    return Case("peers' phantom", FAMILY, scan, protocol, _offset(scan))


def _noise_in_corners(magnitude: Tensor) -> float:
    """Return the noise of one channel: the magnitude of pure noise in the corners of the volume has twice its power."""
    ends = (slice(None, _CORNER_VOXELS), slice(-_CORNER_VOXELS, None))
    power = [magnitude[:, z, y, x].square().mean() for z in ends for y in ends for x in ends]
    return math.sqrt(float(torch.stack(power).median()) / 2)


def _offset(scan: SimulatedScan) -> Tensor:
    """Return the phase [rad] that is left at every echo after the true field's was taken away, smoothed."""
    images = scan.acquisition
    left = torch.zeros(images.grid.shape, dtype=torch.complex64)
    for magnitude, phase, time in zip(images.magnitude, images.phase, images.echo_times_s, strict=True):
        true = scan.total_field * radians_per_ppm(time, images.b0_tesla)
        left += torch.polar(magnitude.square(), phase - true)
    parts = [gaussian(part.contiguous(), _OFFSET_SIGMA_MM, images.grid) for part in (left.real, left.imag)]
    return torch.complex(parts[0], parts[1]).angle()


def _resimulated(case: Case, what: str) -> Case:
    """Return the case with images made from its true field, its offset and its magnitude, with the protocol's noise."""
    images, protocol = case.scan.acquisition, case.protocol
    chance = torch.Generator().manual_seed(protocol.seed)
    noise = float(images.magnitude[0][case.mask].mean()) / protocol.snr
    echoes = []
    for magnitude, time in zip(images.magnitude, images.echo_times_s, strict=True):
        phase = case.offset + case.scan.total_field * radians_per_ppm(time, protocol.b0_tesla)
        echoes.append(torch.polar(magnitude, phase) + complex_noise(protocol.shape, noise, chance))
    noisy = torch.stack(echoes)
    acquisition = replace(images, magnitude=noisy.abs(), phase=noisy.angle(), b0_tesla=protocol.b0_tesla)
    scan = replace(case.scan, acquisition=acquisition)
    return Case(f"{case.name}, {what}", case.family, scan, protocol, case.offset)
