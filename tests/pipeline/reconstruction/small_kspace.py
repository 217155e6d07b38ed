"""A small multi-echo scan of an analytic object by eight coils, with its truth."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.operators.centred_fourier import to_kspace
from pipeline.reconstruction.kspace import Kspace
from pipeline.simulation.coils import birdcage_array, correlated_noise, noise_covariance

SHAPE = (16, 32, 24)
GRID = Grid(SHAPE, (9.0, 7.0, 8.0))
ECHO_TIMES_S = (0.005, 0.020)


@dataclass(frozen=True)
class SmallScan:
    """K-space and the truth behind it."""

    kspace: Kspace
    images: Tensor
    sensitivities: Tensor
    inside: Tensor


def true_images() -> tuple[Tensor, Tensor]:
    """Return an ellipsoid with two spheres in it and a phase that grows with the echo time, and where it is."""
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in SHAPE), indexing="ij")
    inside = (z / 0.8).square() + (y / 0.75).square() + (x / 0.7).square() < 1
    first = (z - 0.2).square() + (y - 0.2).square() + (x + 0.2).square() < 0.06
    second = (z + 0.2).square() + (y + 0.3).square() + (x - 0.1).square() < 0.05
    magnitude = inside * (1.0 + 0.5 * first - 0.4 * second)
    field = 60 * y * z + 30 * x - 40 * first
    return torch.stack([torch.polar(magnitude * (1 - 8 * time), field * time) for time in ECHO_TIMES_S]), inside


def small_scan(
    measured: Tensor | None = None, *, noise: float = 0.005, correlation: float = 0.2, n_coils: int = 8
) -> SmallScan:
    """Scan the object with the given lines of `(z, y)`, all lines if None."""
    lines = torch.ones(SHAPE[:2], dtype=torch.bool) if measured is None else measured
    images, inside = true_images()
    sensitivities = birdcage_array(GRID, n_coils, 1)
    covariance = noise_covariance(n_coils, correlation, 2) * noise**2
    chance = torch.Generator().manual_seed(3)
    samples = torch.stack(
        [to_kspace(sensitivities * image) + correlated_noise(SHAPE, covariance, chance) for image in images]
    )
    kspace = Kspace(
        samples * lines[..., None],
        lines.expand(len(images), *lines.shape).clone(),
        GRID,
        ECHO_TIMES_S,
        3.0,
        correlated_noise((4000,), covariance, chance),
    )
    return SmallScan(kspace, images, sensitivities, inside)


def every_second_line(calibration: int = 12) -> Tensor:
    """Return a pattern of every second line along y with a gapless block in the centre."""
    lines = torch.zeros(SHAPE[:2], dtype=torch.bool)
    lines[:, ::2] = True
    z, y = SHAPE[0] // 2, SHAPE[1] // 2
    half = calibration // 2
    lines[z - half : z + half, y - half : y + half] = True
    return lines


def relative_error(images: Tensor, truth: Tensor, inside: Tensor) -> float:
    """Return the rms difference inside the object relative to the rms truth."""
    return float((images - truth)[..., inside].norm() / truth[..., inside].norm())


def phase_error(images: Tensor, truth: Tensor, inside: Tensor) -> float:
    """Return the rms error of the phase between the echoes inside the object [rad]."""
    found, true = images[1] * images[0].conj(), truth[1] * truth[0].conj()
    return float((found * true.conj()).angle()[inside].square().mean().sqrt())
