"""A small head's material, made in no time: a smooth blob with a phase, two coil arrays, and patterns."""

import torch

from pipeline.grid import Grid
from pipeline.simulation.coils import birdcage_array
from pipeline.simulation.sampling_patterns import poisson_disk
from pipeline.training.datasets.kspace_heads import N_ECHOES, HeadMaterial

SHAPE = (20, 24, 18)


def small_material() -> HeadMaterial:
    """Return material of three echoes whose brain is a ball."""
    grid = Grid(SHAPE, (6.0, 8.0, 8.0))
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in SHAPE), indexing="ij")
    ball = ((z.square() + y.square() + x.square()) < 0.6).float() * (1 + 0.3 * torch.cos(9 * y))
    images = torch.stack([torch.polar(ball, (1 + echo) * (2 * x + z * y)) for echo in range(N_ECHOES)])
    coarse = Grid((7, 8, 6), (18.0, 24.0, 24.0))
    patterns = tuple((poisson_disk(SHAPE[:2], 2.5, (8, 8), seed), (8, 8)) for seed in range(3))
    return HeadMaterial(images, ball > 0, grid, (birdcage_array(coarse, 4, 1), birdcage_array(coarse, 6, 2)), patterns)
