"""Masks that the phase decides: where there is a field at all, and where in the brain it can be relied on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.input_check import LEAST_MASK_VOXELS
from pipeline.method import Method, StepContext, setting
from pipeline.susceptibility import morphology as shapes
from pipeline.susceptibility.masking import PhaseQualitySettings, brain_mask, coarse_factors, images_of, times_of
from pipeline.susceptibility.masking_hull import LEVEL_MM
from pipeline.susceptibility.masking_rim import eroded
from pipeline.susceptibility.phase_quality import phase_quality


@dataclass(frozen=True)
class PhaseOnlySettings:
    """Choices of the mask from the phase alone."""

    least_quality: float = setting(0.4, "1", "voxels whose phase is rated lower are left out", minimum=0.0, maximum=1.0)
    closing_mm: float = setting(4.0, "mm", "gaps narrower than twice this are closed", minimum=0.0)
    erosion_mm: float = setting(0.0, "mm", "the finished mask is eroded by this", minimum=0.0)


@dataclass(frozen=True)
class TwoPassSettings(PhaseQualitySettings):
    """Choices of the filled mask, and of the voxels in it that can be relied on."""

    reliable_quality: float = setting(
        0.6, "1", "voxels of the mask whose phase is rated lower are not reliable", minimum=0.0, maximum=1.0
    )
    reliable_signal: float = setting(
        0.4, "1", "nor are voxels below this part of the local brain signal at the last echo", minimum=0.0, maximum=1.0
    )


def phase_mask(
    magnitude: Tensor, phase: Tensor, grid: Grid, settings: PhaseOnlySettings | None = None
) -> tuple[Tensor, Tensor]:
    """Find the largest body in which the phase can be trusted, and the quality of the phase.

    Parameters
    ----------
    magnitude
        Magnitude [arbitrary], `(echo, z, y, x)`; it only says how much the phase of each echo counts.
    phase
        Wrapped phase [rad], `(echo, z, y, x)`.
    grid
        The grid of the images.
    settings
        The least quality, and how far gaps are closed.

    Returns
    -------
        The mask, bool `(z, y, x)`, one body without holes, and the phase quality [1], `(z, y, x)`.

    Raises
    ------
    UnusableInput
        Shapes disagree, the phase is noise everywhere, or erosion leaves nothing.

    Notes
    -----
    The phase of the scalp is good too, so it stays in: the mask holds whatever has a field. It serves objects that are
    no heads, and fields that reach beyond the brain.

    References
    ----------
    Hagberg 2022, doi:10.1002/mrm.29368 (second differences of the phase bound the mask); Stewart 2022,
    doi:10.1002/mrm.29048 (phase quality with its holes filled).
    """
    settings = settings or PhaseOnlySettings()
    rating = phase_quality(phase, magnitude)
    trusted = (rating > settings.least_quality).cpu().numpy()
    # The rating is a mean weighted by the signal, so the air beside tissue takes the tissue's: one voxel is taken back.
    body = shapes.largest(shapes.erode(trusted, 1.0, (1.0, 1.0, 1.0)))
    if body.sum() < LEAST_MASK_VOXELS:
        raise UnusableInput("The phase is noise everywhere; check that the phase images hold wrapped phase in radians.")
    body = shapes.fill(shapes.close(body, settings.closing_mm, grid.voxel_size_mm))
    return eroded(torch.from_numpy(body).to(phase.device), settings.erosion_mm, grid), rating


def reliable_voxels(
    mask: Tensor, quality: Tensor, magnitude: Tensor, grid: Grid, settings: TwoPassSettings | None = None
) -> Tensor:
    """Find the voxels of a mask whose phase is smooth and whose last echo is not nearly lost.

    Parameters
    ----------
    mask
        Brain, bool `(z, y, x)`.
    quality
        Phase quality [1], `(z, y, x)`.
    magnitude
        Magnitude [arbitrary], `(echo, z, y, x)`.
    grid
        The grid of the images.
    settings
        The limits.

    Returns
    -------
        Bool `(z, y, x)`, with holes where bleeds, calcifications, large veins and the places above air cells are.

    Raises
    ------
    UnusableInput
        Shapes disagree, or no voxel is reliable.
    """
    settings = settings or TwoPassSettings()
    if mask.shape != quality.shape or magnitude.shape[1:] != mask.shape:
        raise UnusableInput(
            f"Mask {tuple(mask.shape)}, quality {tuple(quality.shape)} and magnitude {tuple(magnitude.shape)} must "
            "share one grid."
        )
    size = grid.voxel_size_mm
    factors = coarse_factors(size)
    coarse_size = tuple(factor * step for factor, step in zip(factors, size, strict=True))
    last = magnitude[-1]
    brain = shapes.shrink(mask, factors) > 0.5
    level = shapes.local_mean(shapes.shrink(last, factors), brain, LEVEL_MM, coarse_size)
    limit = torch.from_numpy(np.ascontiguousarray(shapes.enlarge(level, factors, tuple(mask.shape)))).to(last)
    reliable = mask & (quality > settings.reliable_quality) & (last > settings.reliable_signal * limit)
    if int(reliable.sum()) < LEAST_MASK_VOXELS:
        raise UnusableInput("No voxel of the mask is reliable; lower reliable_quality or reliable_signal.")
    return reliable


def two_pass_masks(
    magnitude: Tensor,
    phase: Tensor,
    grid: Grid,
    settings: TwoPassSettings | None = None,
    echo_times_s: Sequence[float] = (),
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the filled brain, the quality of its phase, and the voxels in it that can be relied on.

    Parameters
    ----------
    magnitude
        Magnitude [arbitrary], `(echo, z, y, x)`.
    phase
        Wrapped phase [rad], `(echo, z, y, x)`.
    grid
        The grid of the images.
    settings
        What counts as tissue and as reliable.
    echo_times_s
        Echo times [s].

    Returns
    -------
        The filled mask, bool, the quality [1] and the reliable mask, bool, each `(z, y, x)`.

    Raises
    ------
    UnusableInput
        Shapes disagree, the magnitude is zero, no tissue is found or none of it is reliable.

    Notes
    -----
    A map inverted from the reliable voxels alone is free of the streaks that strong sources and lost signal throw; one
    from the filled mask holds those sources. The two-pass map takes the first where `reliable_mask` is set and the
    second in its holes.

    References
    ----------
    Stewart 2022, doi:10.1002/mrm.29048.
    """
    settings = settings or TwoPassSettings()
    mask, quality = brain_mask(magnitude, phase, grid, settings, echo_times_s)
    return mask, quality, reliable_voxels(mask, quality, magnitude, grid, settings)


def _run_phase_only(
    inputs: Mapping[str, Tensor], context: StepContext, settings: PhaseOnlySettings
) -> dict[str, Tensor]:
    magnitude, _ = images_of(inputs)
    mask, quality = phase_mask(magnitude, inputs["phase"], context.grid, settings)
    return {"mask": mask, "quality": quality}


def _run_two_pass(inputs: Mapping[str, Tensor], context: StepContext, settings: TwoPassSettings) -> dict[str, Tensor]:
    magnitude, _ = images_of(inputs)
    times = times_of(inputs["magnitude"], context)
    mask, quality, reliable = two_pass_masks(magnitude, inputs["phase"], context.grid, settings, times)
    return {"mask": mask, "quality": quality, "reliable_mask": reliable}


PHASE_ONLY = Method(
    name="phase_only",
    citation="Hagberg 2022, doi:10.1002/mrm.29368; holes filled as in Stewart 2022, doi:10.1002/mrm.29048",
    run=_run_phase_only,
    settings=PhaseOnlySettings,
    inputs=("magnitude", "phase"),
    outputs=("mask", "quality"),
    memory_volumes=4.5,
)
TWO_PASS = Method(
    name="two_pass",
    citation="Stewart 2022, doi:10.1002/mrm.29048",
    run=_run_two_pass,
    settings=TwoPassSettings,
    inputs=("magnitude", "phase"),
    outputs=("mask", "quality", "reliable_mask"),
    memory_volumes=8.5,
)
