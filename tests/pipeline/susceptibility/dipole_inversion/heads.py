"""A small head for the inversions: a ball of brain with inclusions, and sources around it."""

import math
from dataclasses import dataclass

import torch

from pipeline.grid import Grid
from pipeline.operators.dipole import Dipole

TILTED = (math.cos(0.35), math.sin(0.35) * 0.6, math.sin(0.35) * 0.8)
NOISE_PPM = 1e-3


@dataclass(frozen=True)
class SmallHead:
    """Truth and measurement on one grid, double precision `(z, y, x)`."""

    grid: Grid
    mask: torch.Tensor
    truth: torch.Tensor
    local_field: torch.Tensor
    total_field: torch.Tensor
    magnitude: torch.Tensor
    field_noise: torch.Tensor

    def artefacts(self, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
        """Return what the methods ask for, with the same noise for the same grid."""
        noise = NOISE_PPM * torch.randn(self.grid.shape, generator=torch.Generator().manual_seed(9)).double()
        volumes = {
            "local_field": (self.local_field + noise) * self.mask,
            "total_field": (self.total_field + noise) * self.mask,
            "magnitude": self.magnitude,
            "field_noise": self.field_noise,
        }
        return {"mask": self.mask} | {name: volume.to(dtype) for name, volume in volumes.items()}

    def slope(self, susceptibility: torch.Tensor) -> float:
        """Return the regression of a map on the truth inside the mask."""
        found, truth = susceptibility[self.mask].double(), self.truth[self.mask]
        found, truth = found - found.mean(), truth - truth.mean()
        return float((found * truth).sum() / truth.square().sum())

    def error_percent(self, susceptibility: torch.Tensor) -> float:
        """Return the norm of the error over that of the truth, both without their means, inside the mask."""
        found, truth = susceptibility[self.mask].double(), self.truth[self.mask]
        found, truth = found - found.mean(), truth - truth.mean()
        return 100 * float((found - truth).norm() / truth.norm())


def small_head(
    shape: tuple[int, int, int] = (44, 44, 44),
    voxel_size_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    direction: tuple[float, float, float] = TILTED,
) -> SmallHead:
    """Build a ball of 14 mm with a paramagnetic and a diamagnetic inclusion, and two strong sources outside it."""
    grid = Grid(shape, voxel_size_mm, direction)
    mask = _ball(grid, (0.0, 0.0, 0.0), 14.0) > 0.5
    bright, dark = _ball(grid, (3.0, 4.0, -4.0), 4.0), _ball(grid, (-4.0, -3.0, 4.0), 3.5)
    truth = (0.15 * bright - 0.10 * dark) * mask
    around = (12.0 * _ball(grid, (0.0, 18.5, 0.0), 2.5) - 8.0 * _ball(grid, (-2.0, -3.0, 18.5), 2.5)) * ~mask
    dipole = Dipole.on(grid, truth)
    local_field = dipole(truth)
    magnitude = (100 - 25 * bright + 10 * dark) * mask
    noise = torch.full(shape, NOISE_PPM, dtype=torch.float64)
    return SmallHead(grid, mask, truth, local_field, local_field + dipole(around), magnitude[None], noise)


def _ball(grid: Grid, centre: tuple[float, float, float], radius_mm: float) -> torch.Tensor:
    axes = [
        (torch.arange(n, dtype=torch.float64) - n // 2) * step - place
        for n, step, place in zip(grid.shape, grid.voxel_size_mm, centre, strict=True)
    ]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    distance = (z.square() + y.square() + x.square()).sqrt()
    return ((radius_mm - distance) / max(grid.voxel_size_mm) + 0.5).clamp(0, 1)
