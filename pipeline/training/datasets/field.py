"""The field of a patch of susceptibility: padded against wrap-around, cut back, at one or several orientations."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.operators.dipole import dipole_kernel
from pipeline.operators.padding import fast_even_size
from pipeline.susceptibility.dipole_inversion.cosmos import CosmosSettings, multi_orientation_inversion
from pipeline.training.datasets.chance import Chance, rotation_about

_FREQUENCIES_AT_ONCE = 8
_COSMOS_STEPS = 2
_HEAD_TURNS_DEG = (15.0, 45.0)
"""How far a head is turned in the scanner for another orientation."""


@dataclass(frozen=True)
class PatchField:
    """A susceptibility that stands alone in a wider space, transformed along x; the field is wanted in the part `kept`.

    `lines` is complex `(x frequency, z, y)`, so that a few frequencies at a time are contiguous and fit the cache.
    """

    grid: Grid
    kept: tuple[slice, slice, slice]
    lines: Tensor

    @classmethod
    def of(cls, susceptibility: Tensor, grid: Grid, kept_shape: tuple[int, int, int]) -> "PatchField":
        """Prepare a susceptibility `(z, y, x)` [ppm], of which the field in a middle part is wanted.

        Parameters
        ----------
        susceptibility
            Shape of the grid.
        grid
            Its grid.
        kept_shape
            Shape of the middle part.
        """
        kept, wide = [], []
        for size, inner in zip(grid.shape, kept_shape, strict=True):
            start = (size - inner) // 2
            kept.append(slice(start, start + inner))
            # Twice the patch; what surrounds it may come as near as three quarters of the patch from the next period.
            wide.append(fast_even_size(max(2 * inner, size + inner // 2)))
        padded = replace(grid, shape=(wide[0], wide[1], wide[2]))
        lines = torch.fft.rfft(susceptibility, n=wide[2], dim=2).permute(2, 0, 1).contiguous()
        return cls(padded, (kept[0], kept[1], kept[2]), lines)

    def at(self, direction: tuple[float, float, float]) -> Tensor:
        """Return the field [ppm] in the kept part for a direction of B0."""
        grid = replace(self.grid, b0_direction=direction)
        depth, height, width = grid.shape
        kernel = dipole_kernel(grid, device=self.lines.device).permute(2, 0, 1).contiguous()
        field = [
            torch.fft.ifft2(torch.fft.fft2(lines, s=(depth, height)).mul_(part))[:, self.kept[0], self.kept[1]]
            for lines, part in zip(self.lines.split(self._at_once), kernel.split(self._at_once), strict=True)
        ]
        return torch.fft.irfft(torch.cat(field).permute(1, 2, 0), n=width, dim=2)[:, :, self.kept[2]].contiguous()

    @property
    def _at_once(self) -> int:
        """Return how many frequencies are transformed together: on a CPU what its cache holds, else all."""
        return len(self.lines) if self.lines.is_cuda else _FREQUENCIES_AT_ONCE


def tilted(tilt_deg: float, azimuth_deg: float) -> tuple[float, float, float]:
    """Return the unit vector `(z, y, x)` at an angle from the first axis [degree]."""
    tilt, azimuth = math.radians(tilt_deg), math.radians(azimuth_deg)
    return math.cos(tilt), math.sin(tilt) * math.sin(azimuth), math.sin(tilt) * math.cos(azimuth)


def head_turns(first: tuple[float, float, float], count: int, chance: Chance) -> list[tuple[float, float, float]]:
    """Return directions of B0: the first, then as many as wanted in a ring around it, each at an angle of its own."""
    start, directions = chance.uniform(0.0, 2 * math.pi), [first]
    along = torch.tensor(first)
    across = torch.linalg.cross(along, torch.eye(3)[int(along.abs().argmin())])
    across = across / across.norm()
    for number in range(count - 1):
        axis = rotation_about(along, start + 2 * math.pi * number / (count - 1)) @ across
        angle = math.radians(chance.uniform(*_HEAD_TURNS_DEG))
        z, y, x = (rotation_about(axis, angle) @ along).tolist()
        directions.append((z, y, x))
    return directions


def cosmos_labels(
    patch: PatchField, mask: Tensor, field_noise: Tensor, grid: Grid, count: int, chance: Chance
) -> Tensor:
    """Return the susceptibility that COSMOS finds from noisy fields at several orientations.

    Parameters
    ----------
    patch
        The truth.
    mask
        Bool `(z, y, x)`.
    field_noise
        Standard deviation of each field [ppm].
    grid
        The grid of the mask; its direction of B0 is the first orientation.
    count
        Number of orientations, at least 3.
    chance
        Draws directions and noise.

    Returns
    -------
    Shape `(z, y, x)` [ppm], zero outside the mask, up to a constant.

    Source: Liu 2009, doi:10.1002/mrm.21828, as the labels of Yoon 2018, doi:10.1016/j.neuroimage.2018.06.030.
    """
    directions = head_turns(grid.b0_direction, count, chance)
    fields = torch.stack(
        [(patch.at(direction) + field_noise * chance.noise(*grid.shape)) * mask for direction in directions]
    )
    return multi_orientation_inversion(fields, mask, directions, grid, CosmosSettings(iterations=_COSMOS_STEPS))
