"""Find the brain: where the phase can be trusted and the magnitude is tissue, without skull, scalp and air.

A smooth brain is found on a coarse grid (`masking_hull`); the fine grid decides the rim (`masking_rim`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, StepContext, setting
from pipeline.susceptibility import morphology as shapes
from pipeline.susceptibility.masking_hull import brain_hull
from pipeline.susceptibility.masking_rim import eroded, fine_rim, without_fluid
from pipeline.susceptibility.morphology import Bool, Size
from pipeline.susceptibility.phase_quality import phase_quality

COARSE_MM = 2.4


@dataclass(frozen=True)
class MagnitudeSettings:
    """Choices of the mask from the magnitude alone."""

    least_signal: float = setting(
        0.35, "1", "voxels below this part of the local brain signal are bone or air", minimum=0.0, maximum=1.0
    )
    closing_mm: float = setting(8.0, "mm", "sulci and other gaps narrower than twice this are closed", minimum=0.0)
    peel_mm: float = setting(4.0, "mm", "fluid around the brain is taken off to this depth; 0 keeps it", minimum=0.0)
    erosion_mm: float = setting(0.0, "mm", "the finished mask is eroded by this", minimum=0.0)


@dataclass(frozen=True)
class PhaseQualitySettings(MagnitudeSettings):
    """Choices of the mask from magnitude and phase."""

    least_quality: float = setting(0.3, "1", "voxels whose phase is rated lower are left out", minimum=0.0, maximum=1.0)


def brain_mask(
    magnitude: Tensor,
    phase: Tensor | None,
    grid: Grid,
    settings: MagnitudeSettings | None = None,
    echo_times_s: Sequence[float] = (),
) -> tuple[Tensor, Tensor]:
    """Find the brain in the magnitude of all echoes and the quality of their phase.

    Parameters
    ----------
    magnitude
        Magnitude [arbitrary], `(echo, z, y, x)`.
    phase
        Wrapped phase [rad], `(echo, z, y, x)`, with or without offset; None to trust every voxel.
    grid
        The grid of the images.
    settings
        What counts as tissue, how far sulci are closed, and how deep fluid is taken off.
    echo_times_s
        Echo times [s]; with two or more, R2* helps to tell brain from the fluid around it.

    Returns
    -------
        The mask, bool `(z, y, x)`, one body without holes, and the quality [1], `(z, y, x)`: that of the phase, or one
        everywhere where there is no phase.

    Raises
    ------
    UnusableInput
        Where shapes disagree, the magnitude is zero, no body of tissue is found or erosion leaves nothing of it.

    Notes
    -----
    The mask is everything soft inside the skull without most of the fluid at its rim: brain, ventricles, large veins.
    Where the brain fills the volume, or where the head has no scalp, the whole body of tissue is kept.
    """
    settings = settings or PhaseQualitySettings()
    if magnitude.ndim != 4 or tuple(magnitude.shape[1:]) != grid.shape:
        raise UnusableInput(f"Magnitude {tuple(magnitude.shape)} must be (echo, z, y, x) on the grid {grid.shape}.")
    if isinstance(settings, PhaseQualitySettings) and phase is not None:
        rating = phase_quality(phase, magnitude)
        trusted = rating > settings.least_quality
    else:
        rating = torch.ones_like(magnitude[0])
        trusted = torch.ones_like(magnitude[0], dtype=torch.bool)
    mask = _brain(magnitude, trusted, grid, settings, echo_times_s)
    return eroded(torch.from_numpy(mask).to(magnitude.device), settings.erosion_mm, grid), rating


def coarse_factors(size: Size) -> tuple[int, ...]:
    """Return how many voxels of a size [mm] make one of the grid on which the brain is told from the scalp."""
    # Just below the half, so that a size of 1.6 or 1.5999999999 mm gives the same grid.
    return tuple(max(1, round(COARSE_MM / step - 1e-5)) for step in size)


def _brain(
    magnitude: Tensor, trusted: Tensor, grid: Grid, settings: MagnitudeSettings, echo_times_s: Sequence[float]
) -> Bool:
    size = grid.voxel_size_mm
    factors = coarse_factors(size)
    coarse_size = tuple(factor * step for factor, step in zip(factors, size, strict=True))
    # All echoes together tell brain from scalp better than one; the first alone shows tissue that loses signal early.
    together = shapes.shrink(magnitude.square().mean(0).sqrt_(), factors)
    first = shapes.shrink(magnitude[0], factors)
    coarse_trusted = shapes.shrink(trusted, factors) > 0.5
    hull, level = brain_hull(together, first, coarse_trusted, coarse_size, settings.least_signal, settings.closing_mm)
    # Two coarse voxels around the hull hold everything that the fine grid still decides.
    near = shapes.bounding_box(shapes.dilate(hull, 2.0, (1.0, 1.0, 1.0)))
    box = tuple(
        slice(cut.start * factor, min(cut.stop * factor, length))
        for cut, factor, length in zip(near, factors, grid.shape, strict=True)
    )
    images = magnitude[(slice(None), *box)]
    fine_level = shapes.enlarge(level[near], factors, tuple(images.shape[1:]))
    tissue = images[0].cpu().numpy() > settings.least_signal * fine_level
    brain = fine_rim(tissue & trusted[box].cpu().numpy(), hull[near], factors, size)
    if settings.peel_mm > 0:
        brain = without_fluid(brain, images, fine_level, echo_times_s, size, settings.peel_mm)
    mask = np.zeros(grid.shape, dtype=bool)
    mask[box] = brain
    return mask


def images_of(inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
    """Return a step's magnitude with as many images as its phase, and the phase.

    One magnitude `(z, y, x)` serves all echoes; without phase it stands for one echo.
    """
    magnitude, phase = inputs["magnitude"], inputs.get("phase")
    if magnitude.ndim == 3:
        magnitude = magnitude.expand(len(phase) if phase is not None else 1, *magnitude.shape)
    return magnitude, phase


def times_of(magnitude: Tensor, context: StepContext) -> tuple[float, ...]:
    """Return the echo times [s] of a step's magnitude; none where it is one image for all echoes."""
    return context.echo_times_s if magnitude.ndim == 4 and len(magnitude) == len(context.echo_times_s) else ()


def _run(inputs: Mapping[str, Tensor], context: StepContext, settings: MagnitudeSettings) -> dict[str, Tensor]:
    magnitude, phase = images_of(inputs)
    times = times_of(inputs["magnitude"], context)
    mask, quality = brain_mask(magnitude, phase, context.grid, settings, times)
    return {"mask": mask, "quality": quality}


PHASE_QUALITY = Method(
    name="phase_quality",
    citation="phase quality × magnitude, opened until the scalp lets go (second differences: doi:10.1364/AO.46.006623)",
    run=_run,
    settings=PhaseQualitySettings,
    inputs=("magnitude", "phase"),
    outputs=("mask", "quality"),
    memory_volumes=9.5,
)
MAGNITUDE = Method(
    name="magnitude",
    citation="brain extraction by morphology, after Shattuck 2001 (NeuroImage 13:856)",
    run=_run,
    settings=MagnitudeSettings,
    inputs=("magnitude",),
    outputs=("mask", "quality"),
    memory_volumes=8.5,
)
