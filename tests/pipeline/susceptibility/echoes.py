"""Simulated echoes of a ball of tissue with a known field, for the tests of the field mapping steps."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.units import radians_per_ppm

SHAPE = (20, 28, 24)
GRID = Grid(shape=SHAPE, voxel_size_mm=(2.0, 1.0, 1.5))
B0_TESLA = 3.0


@dataclass(frozen=True)
class Echoes:
    """What was put in, and the images that came out of it."""

    phase: Tensor
    magnitude: Tensor
    mask: Tensor
    field: Tensor
    offset: Tensor
    echo_times_s: tuple[float, ...]
    noise: float


def coordinates() -> tuple[Tensor, Tensor, Tensor]:
    """Return z, y and x from −1 to 1, each in its own axis only."""
    axes = [torch.linspace(-1, 1, length) for length in SHAPE]
    return axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]


def ball() -> Tensor:
    """Return the ball of tissue."""
    z, y, x = coordinates()
    return z**2 + y**2 + x**2 < 0.9


def smooth_field(size_ppm: float) -> Tensor:
    """Return a field that differs along every axis, so that exchanged axes show."""
    z, y, x = coordinates()
    return size_ppm * (0.5 * z - 0.3 * y**2 + 0.8 * x * y + 0.2 * x)


def echoes(
    echo_times_s: tuple[float, ...] = (0.004, 0.009, 0.014, 0.019),
    field_ppm: float = 0.5,
    offset_rad: float = 0.8,
    noise: float = 0.0,
    r2star: float = 20.0,
    seed: int = 0,
) -> Echoes:
    """Return noisy complex images of the ball: smooth offset, field and decay, magnitude 1 at time zero."""
    z, y, x = coordinates()
    mask = ball()
    field = smooth_field(field_ppm)
    offset = offset_rad * (0.6 * x - 0.4 * y * z + 0.7).expand(SHAPE)
    chance = torch.Generator().manual_seed(seed)
    images = []
    for time in echo_times_s:
        amplitude = mask * math.exp(-r2star * time)
        image = torch.polar(amplitude.float(), offset + radians_per_ppm(time, B0_TESLA) * field)
        real, imaginary = (noise * torch.randn(SHAPE, generator=chance) for _ in range(2))
        images.append(image + torch.complex(real, imaginary))
    signal = torch.stack(images)
    return Echoes(signal.angle(), signal.abs(), mask, field, offset, echo_times_s, noise)
