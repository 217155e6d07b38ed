"""A round head of cloth and its echo-planar scans, shared by the tests of echo-planar reconstruction."""

import math

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.operators.centred_fourier import to_image
from pipeline.reconstruction.kspace import Kspace
from pipeline.simulation.coils import birdcage_array
from pipeline.simulation.raw_epi import EpiProtocol, MovingSignal
from pipeline.simulation.raw_scanner import EchoImages

GRID = Grid((6, 36, 32), (8.0, 6.0, 6.2))
FAULTLESS = EpiProtocol(
    n_shots=6,
    polarity_rad=0.0,
    polarity_slope_rad=0.0,
    lag_s=0.0,
    drift_hz=0.0,
    breathing_hz=0.0,
    shot_phase_rad=0.0,
    snr=math.inf,
)


def round_head(field_hz: float = 0.0) -> MovingSignal:
    """Return two echoes of a textured ball in a field that is strongest at its front, `field_hz` there."""
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in GRID.shape), indexing="ij")
    inside = (z / 0.9).square() + (y / 0.65).square() + (x / 0.75).square() < 1
    field = field_hz * torch.exp(-((y - 0.4).square() + x.square()) / 0.18)
    echo_times_s = (0.014, 0.024)
    brightness = inside * (1 + 0.3 * torch.sin(9 * x) * torch.cos(7 * y))
    images = torch.stack(
        [
            brightness * math.exp(-20 * time) * torch.polar(torch.ones_like(field), 0.5 + 2 * math.pi * time * field)
            for time in echo_times_s
        ]
    )
    scan = EchoImages(images, echo_times_s, 3.0, GRID, inside)
    return MovingSignal(scan, field, torch.full(GRID.shape, 20.0))


def coils() -> Tensor:
    """Return four sensitivities on the grid of the head."""
    return birdcage_array(GRID, 4)


def combined(kspace: Kspace, sensitivities: Tensor) -> Tensor:
    """Return the images `(echo, z, y, x)` of fully measured k-space."""
    return (to_image(kspace.samples) * sensitivities.conj()).sum(1)


def ghost(images: Tensor, faultless: Tensor, signal: Tensor) -> float:
    """Return the ghost beside the head, rms over the mean of the signal."""
    beside = (images - faultless)[0][~signal].abs().square().mean().sqrt()
    return float(beside / faultless[0][signal].abs().mean())
