"""A small accelerated scan whose perfect images are known, and networks that change what they are given."""

import torch
from torch import Tensor, nn

from pipeline.grid import Grid
from pipeline.operators.centred_fourier import to_kspace
from pipeline.reconstruction.kspace import Kspace
from pipeline.simulation.coils import birdcage_array
from pipeline.simulation.sampling_patterns import poisson_disk

SHAPE = (14, 16, 20)
GRID = Grid(SHAPE, (10.0, 12.0, 9.0))
ECHO_TIMES_S = (0.005, 0.015)


def true_images() -> Tensor:
    """Return two echoes of a ball with stripes and a phase that grows."""
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in SHAPE), indexing="ij")
    ball = ((z.square() + y.square() + x.square()) < 0.7).float() * (30 + 8 * torch.cos(11 * y))
    return torch.stack([torch.polar(ball, (1 + echo) * (x + z * y)) for echo in range(2)])


def small_scan(noise: float = 1.0, acceleration: float = 2.0) -> tuple[Kspace, Tensor, Tensor]:
    """Return k-space with noise of a mean squared magnitude, sensitivities, and the true images."""
    images, maps = true_images(), birdcage_array(GRID, 5, 1)
    lines = poisson_disk(SHAPE[:2], acceleration, (6, 6), 2)
    chance = torch.Generator().manual_seed(4)
    clean = to_kspace(maps * images[:, None])
    noisy = clean + noise**0.5 * torch.randn(clean.shape, dtype=clean.dtype, generator=chance)
    measured = lines.expand(2, -1, -1).clone()
    return Kspace(noisy * measured[:, None, ..., None], measured, GRID, ECHO_TIMES_S, 3.0), maps, images


def awake(network: nn.Module) -> nn.Module:
    """Give every kernel values, so that nothing is blind to its input."""
    torch.manual_seed(6)
    with torch.no_grad():
        for values in network.parameters():
            if values.ndim > 1:
                values.copy_(torch.randn(values.shape) / values[0].numel() ** 0.5)
    return network.eval()
