"""The default chain on a GPU: time per step on a large series, and the largest volume that fits into some memory."""

import math
from dataclasses import dataclass, replace

import torch

from pipeline.acquisition import Acquisition
from pipeline.errors import OutOfMemory
from pipeline.recipe import Recipe, builtin_recipe
from pipeline.run import run
from pipeline.simulation.phantom import adult_head
from pipeline.simulation.scanner import Protocol, acquire
from pipeline.studies.resources import clock, peak_bytes, start_peak

LARGE = Protocol(shape=(128, 256, 256), voxel_size_mm=(1.2, 0.9, 0.9))
MEMORY_GIB = 8.0
_STEP_OF_SEARCH = 1.25


@dataclass(frozen=True)
class DeviceRun:
    """A recipe on a device: seconds per step, and the most memory in use [GiB]."""

    device: str
    shape: tuple[int, int, int]
    n_echoes: int
    seconds: dict[str, float]
    peak_gib: float


@dataclass(frozen=True)
class LargestVolume:
    """The largest volume of a search that was mapped within a limit of memory, and what it took [GiB]."""

    shape: tuple[int, int, int]
    n_voxels: int
    peak_gib: float
    limit_gib: float


def large_series(protocol: Protocol = LARGE) -> Acquisition:
    """Return a simulated series of five echoes, 256 × 256 × 128 voxels unless another protocol is given."""
    return acquire(adult_head(), protocol).acquisition


def run_on(device: str, acquisition: Acquisition, recipe: Recipe) -> DeviceRun:
    """Map a series on a device and time its steps.

    Raises
    ------
    OutOfMemory
        The device has too little memory.
    """
    moved = replace(
        acquisition, magnitude=acquisition.magnitude.to(device), phase=acquisition.phase.to(device), mask=None
    )
    began: dict[str, float] = {}
    seconds: dict[str, float] = {}

    def listen(step: str, fraction: float) -> None:
        if fraction <= 0.0:
            began.setdefault(step, clock(device))
        elif fraction >= 1.0:
            seconds[step] = clock(device) - began[step]

    base = start_peak(device)
    inputs = sum(images.numel() * images.element_size() for images in (moved.magnitude, moved.phase))
    run(moved, recipe, listen)
    used = peak_bytes(device) - (0.0 if device.startswith("cuda") else base - inputs)
    return DeviceRun(device, acquisition.grid.shape, len(acquisition.echo_times_s), seconds, used / 2**30)


def largest_volume(acquisition: Acquisition, device: str = "cuda", limit_gib: float = MEMORY_GIB) -> LargestVolume:
    """Return the largest volume, tiled from a series, that the default chain maps within a limit of GPU memory.

    The series is stretched along the slices by a quarter more each time until the device refuses; what PyTorch holds is
    limited, so that a larger card gives the same answer.

    Raises
    ------
    OutOfMemory
        Not even the series itself fits.
    """
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, limit_gib * 2**30 / total))
    best: LargestVolume | None = None
    stretch = 1.0
    try:
        while True:
            stretched = _stretched(acquisition, stretch)
            torch.cuda.empty_cache()
            try:
                done = run_on(device, stretched, builtin_recipe("default"))
            except OutOfMemory:
                break
            best = LargestVolume(done.shape, math.prod(done.shape), done.peak_gib, limit_gib)
            stretch *= _STEP_OF_SEARCH
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    if best is None:
        raise OutOfMemory(f"Not even {acquisition.grid.shape} voxels fit into {limit_gib:g} GiB.")
    return best


def _stretched(acquisition: Acquisition, factor: float) -> Acquisition:
    """Return the series with thinner, more slices: complex images interpolated along z."""
    n_slices = 2 * round(acquisition.grid.shape[0] * factor / 2)
    shape = (n_slices, *acquisition.grid.shape[1:])
    image = torch.polar(acquisition.magnitude, acquisition.phase)
    parts = [
        torch.nn.functional.interpolate(part[None], size=shape, mode="trilinear", align_corners=False)[0]
        for part in (image.real, image.imag)
    ]
    resampled = torch.complex(parts[0], parts[1])
    z, y, x = acquisition.grid.voxel_size_mm
    voxel = (z * acquisition.grid.shape[0] / n_slices, y, x)
    grid = replace(acquisition.grid, shape=(n_slices, shape[1], shape[2]), voxel_size_mm=voxel)
    return replace(acquisition, magnitude=resampled.abs(), phase=resampled.angle(), grid=grid)
