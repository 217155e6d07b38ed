"""Noise-free complex images of simulated heads, from which accelerated k-space is made for training."""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.simulation.coils import birdcage_array
from pipeline.simulation.families import find_family
from pipeline.simulation.sampling_patterns import poisson_disk, uniform
from pipeline.simulation.scanner import Protocol, acquire
from pipeline.training.datasets.chance import Chance

TRAINED_FAMILIES = ("piecewise_smooth", "textured")
HELD_OUT_FAMILIES = ("strong_background",)
"""Heads that no reconstruction network ever trains on."""
N_ECHOES = 3
_CPU = torch.device("cpu")
_FIRST_SEED, _LAST_SEED = 1_000_000, 9_000_000
"""Of the heads; those on which results are reported have small numbers."""
_NO_NOISE = 1e7
_COIL_STEP = 3
_N_ARRAYS, _N_PATTERNS = 2, 12
_HELD_MATERIALS = 32


@dataclass(frozen=True)
class HeadMaterial:
    """One simulated head, scanned without noise, with coils and patterns to sample it with.

    Attributes
    ----------
    images
        Complex `(echo, z, y, x)`; the mean magnitude of the brain at the first echo is 1.
    brain
        Bool `(z, y, x)`.
    arrays
        Sensitivities of different coil arrays, on a coarser grid: complex `(coil, z, y, x)` each.
    patterns
        Measured lines `(z, y)`, bool, with the size of the calibration block of each.
    """

    images: Tensor
    brain: Tensor
    grid: Grid
    arrays: tuple[Tensor, ...]
    patterns: tuple[tuple[Tensor, tuple[int, int]], ...]

    def sensitivities(self, array: int, window: slice) -> Tensor:
        """Return the sensitivities of an array in a window of x: `(coil, z, y, x)`, their power 1 everywhere."""
        coarse = torch.view_as_real(self.arrays[array]).movedim(-1, 1).flatten(0, 1)[None]
        fine = torch.nn.functional.interpolate(coarse, size=self.grid.shape, mode="trilinear", align_corners=True)
        parts = fine[0].unflatten(0, (-1, 2))[..., window]
        whole = torch.complex(parts[:, 0].contiguous(), parts[:, 1].contiguous())
        return whole / whole.abs().square().sum(0).sqrt().clamp_min(1e-6)


@lru_cache(maxsize=_HELD_MATERIALS)
def head_material(purpose: str, seed: int, index: int) -> HeadMaterial:
    """Make a head's material; the same for the same arguments.

    Parameters
    ----------
    purpose
        "training" takes the trained families, "validation" the held-out ones.
    seed, index
        Decide everything else.
    """
    chance = Chance(f"kspace head/{purpose}/{seed}/{index}", _CPU)
    families = TRAINED_FAMILIES if purpose == "training" else HELD_OUT_FAMILIES
    head = find_family(chance.choice(families)).head(chance.integer(_FIRST_SEED, _LAST_SEED))
    scan = acquire(head, _protocol(chance)).acquisition
    images = torch.polar(scan.magnitude, scan.phase)
    brain = scan.magnitude[0] > 0.5 * scan.magnitude[0].amax()
    images = images / scan.magnitude[0][brain].mean()
    arrays = tuple(_array(scan.grid, chance) for _ in range(_N_ARRAYS))
    patterns = tuple(_pattern((scan.grid.shape[0], scan.grid.shape[1]), chance) for _ in range(_N_PATTERNS))
    return HeadMaterial(images, brain, scan.grid, arrays, patterns)


def _protocol(chance: Chance) -> Protocol:
    """Return a scan that holds the whole head, of random voxels, tilt and echoes."""
    in_plane = chance.log_uniform(0.8, 2.4)
    voxel = (chance.log_uniform(1.4, 3.0), in_plane, in_plane * chance.log_uniform(0.85, 1.2))
    extents = (chance.uniform(140, 165), chance.uniform(205, 225), chance.uniform(165, 185))
    shape = tuple(2 * round(extent / size / 2) for extent, size in zip(extents, voxel, strict=True))
    first = chance.uniform(0.003, 0.008)
    times = tuple(first + number * chance.uniform(0.006, 0.014) for number in range(N_ECHOES))
    return Protocol(
        (shape[0], shape[1], shape[2]),
        voxel,
        tuple(sorted(times)),
        b0_tesla=chance.choice((1.5, 3.0, 3.0, 3.0)),
        snr=_NO_NOISE,
        rotation_deg=(chance.uniform(-25, 25), chance.uniform(-10, 10), chance.uniform(-10, 10)),
        finest_mm=max(0.8, 0.5 * max(voxel)),
    )


def _array(grid: Grid, chance: Chance) -> Tensor:
    """Return smooth sensitivities on every third voxel: the field of a loop is costly and has no fine detail."""
    shape = tuple(-(-size // _COIL_STEP) for size in grid.shape)
    voxel = tuple(size * n / m for size, n, m in zip(grid.voxel_size_mm, grid.shape, shape, strict=True))
    coarse = replace(grid, shape=(shape[0], shape[1], shape[2]), voxel_size_mm=(voxel[0], voxel[1], voxel[2]))
    return birdcage_array(coarse, chance.choice((6, 8, 8, 12)), chance.integer(0, 10**6))


def _pattern(shape: tuple[int, int], chance: Chance) -> tuple[Tensor, tuple[int, int]]:
    """Return a Poisson disk, or now and then a regular pattern, and the size of its calibration block."""
    block = chance.choice((16, 20, 24))
    calibration = (min(block, shape[0] // 3), min(block, shape[1] // 3))
    if chance.happens(0.1):
        factors, shift = chance.choice((((1, 2), 0), ((1, 3), 0), ((2, 2), 1), ((2, 2), 0)))
        return uniform(shape, factors, calibration, shift), calibration
    return poisson_disk(shape, chance.log_uniform(2.0, 6.0), calibration, chance.integer(0, 10**6)), calibration
