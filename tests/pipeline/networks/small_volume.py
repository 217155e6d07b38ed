"""A small scan of odd sizes, tilted and anisotropic, for the tests of the networks."""

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.networks.inputs import Scan
from pipeline.operators.dipole import Dipole

SHAPE = (6, 9, 8)
GRID = Grid(SHAPE, (2.0, 1.0, 1.5), (0.8, 0.6, 0.0))


def box_mask(shape: tuple[int, ...] = SHAPE) -> Tensor:
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[1:-1, 2:-1, 1:-2] = True
    return mask


def small_truth(dtype: torch.dtype = torch.float32) -> Tensor:
    chance = torch.Generator().manual_seed(5)
    return (torch.randn(SHAPE, generator=chance, dtype=torch.float64) * 0.05 * box_mask()).to(dtype)


def small_scan(dtype: torch.dtype = torch.float32) -> Scan:
    mask = box_mask()
    truth = small_truth(dtype)
    noise = torch.linspace(1e-3, 4e-3, truth.numel(), dtype=dtype).reshape(SHAPE)
    return Scan(Dipole.on(GRID, truth)(truth), mask, GRID, noise * mask)


def small_starts(dtype: torch.dtype = torch.float32) -> Tensor:
    """Return two maps to refine: one of too much contrast, and one of too little."""
    truth = small_truth(dtype)
    return torch.stack((1.1 * truth, 0.8 * truth))
