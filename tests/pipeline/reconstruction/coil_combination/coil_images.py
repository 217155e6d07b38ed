"""Images of the ball as several coils around it see it, each with its own phase and noise."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.units import radians_per_ppm
from tests.pipeline.susceptibility.echoes import B0_TESLA, ball, coordinates, smooth_field

GRID = Grid(shape=(20, 28, 24), voxel_size_mm=(4.0, 3.0, 3.0))


@dataclass(frozen=True)
class CoilScan:
    """The coils' images, and the one that the true sensitivities would make of them."""

    phase: Tensor
    magnitude: Tensor
    ideal: Tensor
    field: Tensor
    mask: Tensor
    echo_times_s: tuple[float, ...]

    def grown(self) -> Tensor:
        """Return the phase [rad] that the field alone builds up, `(echo, z, y, x)`."""
        return torch.stack([radians_per_ppm(time, B0_TESLA) * self.field for time in self.echo_times_s])


def coil_scan(
    echo_times_s: tuple[float, ...] = (0.005, 0.010, 0.015),
    n_coils: int = 6,
    noise: float = 0.01,
    field_ppm: float = 0.4,
) -> CoilScan:
    """Return noisy coil images of the ball; the squared sensitivities sum to one everywhere."""
    z, y, x = coordinates()
    sensitivities = []
    for coil in range(n_coils):
        angle = 2 * math.pi * coil / n_coils
        side = -0.6 if coil % 2 else 0.6
        distance2 = (z - side) ** 2 + (y - 1.2 * math.cos(angle)) ** 2 + (x - 1.2 * math.sin(angle)) ** 2
        phase = 2.3 * coil + 0.9 * math.cos(3 * angle) * y - 0.7 * math.sin(2 * angle) * x * z + 0.5 * distance2
        sensitivities.append(torch.polar(1 / (0.5 + distance2), phase))
    sensitivity = torch.stack(sensitivities)
    sensitivity /= sensitivity.abs().square().sum(0).sqrt()
    mask, field = ball(), smooth_field(field_ppm)
    chance = torch.Generator().manual_seed(11)
    echoes = []
    for time in echo_times_s:
        image = torch.polar(mask * math.exp(-20.0 * time), radians_per_ppm(time, B0_TESLA) * field)
        random = torch.randn((2, n_coils, *mask.shape), generator=chance)
        echoes.append(sensitivity * image + noise * torch.complex(random[0], random[1]))
    coils = torch.stack(echoes)
    ideal = (sensitivity.conj() * coils).sum(1)
    return CoilScan(coils.angle(), coils.abs(), ideal, field, mask, echo_times_s)
