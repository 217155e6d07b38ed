"""Which part of a map lies at frequencies that the field hardly shows: there the map rests on its makers alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.operators.dipole import AXES, dipole_kernel
from pipeline.operators.padding import Frame, frame_around

CONE_THRESHOLD = 0.1
"""Frequencies at which the dipole is weaker than this count as not measured."""


def cone_part(susceptibility: Tensor, mask: Tensor, grid: Grid, threshold: float = CONE_THRESHOLD) -> Tensor:
    """Return the part of a map `(z, y, x)` [ppm] at frequencies that the field hardly shows.

    The mean in the mask is taken out first, since it is open in every map. Around the mask it
    is not zero; beyond the mask's bounding box it is not computed.

    Parameters
    ----------
    susceptibility
        Shape `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`.
    grid
        The grid with the direction of B0.
    threshold
        Absolute value of the dipole kernel below which a frequency counts as not measured.

    Raises
    ------
    UnusableInput
        Shapes disagree, the mask is empty, or the threshold is not between 0 and 2/3.
    """
    split = _Split.of(susceptibility, mask, grid, threshold)
    inside = torch.fft.irfftn(split.spectrum * split.is_open, s=split.frame.grid.shape, dim=AXES)
    return split.frame.restore(inside)


def cone_share(susceptibility: Tensor, mask: Tensor, grid: Grid, threshold: float = CONE_THRESHOLD) -> float:
    """Return which share of a map's energy lies at frequencies that the field hardly shows, from 0 to 1.

    White noise has the share of frequencies that lie there, about 0.18 at a threshold of 0.1; a map with more than
    that has streaks or structure which the field cannot confirm, one with less was smoothed there.

    Parameters
    ----------
    susceptibility
        Shape `(z, y, x)` [ppm]; its mean in the mask is left out of account.
    mask
        Bool `(z, y, x)`.
    grid
        The grid with the direction of B0.
    threshold
        Absolute value of the dipole kernel below which a frequency counts as not measured.

    Raises
    ------
    UnusableInput
        Shapes disagree, the mask is empty, or the threshold is not between 0 and 2/3.
    """
    split = _Split.of(susceptibility, mask, grid, threshold)
    energy = torch.view_as_real(split.spectrum).square().sum(dim=-1)
    # All columns but the first and the last stand for two frequencies; the frame's sizes are even.
    energy[..., 1:-1] *= 2
    total = float(energy.sum(dtype=torch.float64))
    return float((energy * split.is_open).sum(dtype=torch.float64)) / total if total > 0 else 0.0


def region_cone_share(cone: Tensor, susceptibility: Tensor, mask: Tensor, region: Tensor) -> float:
    """Return how much of a region's contrast comes from the unmeasured part of the map, from 0 to 1.

    Parameters
    ----------
    cone
        The map's `cone_part` `(z, y, x)` [ppm].
    susceptibility
        The map `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`; the contrast is against its mean.
    region
        Bool `(z, y, x)`.

    Raises
    ------
    UnusableInput
        The region is empty.
    """
    if not bool(region.any()):
        raise UnusableInput("The region is empty: it has no mean whose origin could be told.")
    contrast = float(susceptibility[region].double().mean() - susceptibility[mask].double().mean())
    open_part = float(cone[region].double().mean())
    measured = abs(contrast - open_part)
    total = abs(open_part) + measured
    return abs(open_part) / total if total > 0 else 0.0


@dataclass(frozen=True)
class _Split:
    """The half spectrum of a map on a frame around its mask, and the frequencies at which it is open."""

    frame: Frame
    spectrum: Tensor
    is_open: Tensor

    @classmethod
    def of(cls, susceptibility: Tensor, mask: Tensor, grid: Grid, threshold: float) -> "_Split":
        if susceptibility.shape != mask.shape:
            raise UnusableInput(f"The map has shape {tuple(susceptibility.shape)} but the mask {tuple(mask.shape)}.")
        if not 0 < threshold < 2 / 3:
            raise UnusableInput(f"The threshold must lie between 0 and 2/3; it is {threshold}.")
        frame = frame_around(mask, grid)
        contrast = torch.where(mask, susceptibility - susceptibility[mask].mean(), 0.0)
        kernel = dipole_kernel(frame.grid, dtype=contrast.dtype, device=contrast.device)
        is_open = kernel.abs() < threshold
        is_open[0, 0, 0] = False
        return cls(frame, torch.fft.rfftn(frame.embed(contrast), dim=AXES), is_open)
