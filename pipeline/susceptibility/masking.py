"""Find the brain: where the phase can be trusted and the magnitude is tissue, without skull, scalp and air.

On a coarse copy of the image, tissue is opened with growing balls until its largest body lets go of the scalp and the
next ball changes little; what still hangs on it by a narrow passage and reaches the scalp, like the eyes, is cut at the
passage. Sulci are closed, air that reaches in from outside is taken out again. The fine grid decides the rim.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, StepContext, setting
from pipeline.susceptibility import morphology as shapes
from pipeline.susceptibility.phase_quality import phase_quality

Bool = NDArray[np.bool_]
Float = NDArray[np.float32]
Size = tuple[float, ...]

# Least signal of tissue as a part of the local brain signal, and the openings [mm] tried with it: gentle ones first.
SEPARATIONS = ((0.5, (3.0, 4.5, 6.0)), (0.6, (4.5, 6.0, 8.0)), (0.7, (6.0, 8.0, 10.0)), (0.8, (8.0, 10.0, 12.0)))
COARSE_MM = 2.4
SCALP_MM = 4.0
FREE_SHARE = 0.02
LEAST_DYNAMIC_MM = 1.5
LEVEL_MM = 20.0
RIM_CLOSING_MM = 3.0
RIM_OPENING_MM = 2.0


@dataclass(frozen=True)
class PhaseQualitySettings:
    """Choices of the mask."""

    least_quality: float = setting(0.3, "1", "voxels whose phase is rated lower are left out", minimum=0.0, maximum=1.0)
    least_signal: float = setting(
        0.35, "1", "voxels below this part of the local brain signal are bone or air", minimum=0.0, maximum=1.0
    )
    closing_mm: float = setting(8.0, "mm", "sulci and other gaps narrower than twice this are closed", minimum=0.0)


def brain_mask(
    magnitude: Tensor, phase: Tensor, grid: Grid, settings: PhaseQualitySettings | None = None
) -> tuple[Tensor, Tensor]:
    """Find the brain in the magnitude of all echoes and the quality of their phase.

    Parameters
    ----------
    magnitude
        Magnitude [arbitrary], `(echo, z, y, x)`.
    phase
        Wrapped phase [rad], `(echo, z, y, x)`, with or without offset.
    grid
        The grid of the images.
    settings
        What counts as tissue, and how far sulci are closed.

    Returns
    -------
        The mask, bool `(z, y, x)`, one body without holes, and the phase quality [1], `(z, y, x)`.

    Raises
    ------
    UnusableInput
        Where shapes disagree, the magnitude is zero or no body of tissue is found.

    Notes
    -----
    The mask is everything soft inside the skull: brain, the fluid around it, the large veins. Where the brain fills the
    volume, or where the head has no scalp, there is nothing to cut and the whole body of tissue is kept.
    """
    settings = settings or PhaseQualitySettings()
    rating = phase_quality(phase, magnitude)
    factors = tuple(max(1, round(COARSE_MM / size)) for size in grid.voxel_size_mm)
    coarse_size = tuple(factor * size for factor, size in zip(factors, grid.voxel_size_mm, strict=True))
    trusted = rating.cpu().numpy() > settings.least_quality
    # All echoes together tell brain from scalp better than one; the first alone shows tissue that loses signal early.
    together = magnitude.square().mean(0).sqrt().cpu().numpy().astype(np.float32)
    first = magnitude[0].cpu().numpy().astype(np.float32)
    coarse_first = shapes.shrink(first, factors)
    coarse_trusted = shapes.shrink(trusted.astype(np.float32), factors) > 0.5
    hull = _hull(shapes.shrink(together, factors), coarse_first, coarse_trusted, coarse_size, settings)
    level = shapes.local_mean(coarse_first, hull, LEVEL_MM, coarse_size)
    tissue = (first > settings.least_signal * shapes.enlarge(level, factors, first.shape)) & trusted
    fine = _rim(tissue, hull, factors, grid.voxel_size_mm)
    return torch.from_numpy(fine).to(magnitude.device), rating


def _hull(signal: Float, first: Float, trusted: Bool, size: Size, settings: PhaseQualitySettings) -> Bool:
    """Return a smooth, filled brain on the coarse grid."""
    head = shapes.head(signal)
    level = shapes.local_mean(signal, head, LEVEL_MM, size)
    brain = head
    for _ in range(2):
        brain = _separate(signal / level, trusted, head, size)
        level = shapes.local_mean(signal, brain, LEVEL_MM, size)
    closed = shapes.close(brain, settings.closing_mm, size)
    level = shapes.local_mean(first, brain, LEVEL_MM, size)
    outside = shapes.open(first < settings.least_signal * level, 1.0, size)
    solid = shapes.open(brain | (closed & ~outside), 4.0, size)
    return shapes.fill(shapes.largest(solid))


def _separate(relative: Float, trusted: Bool, head: Bool, size: Size) -> Bool:
    """Return the largest body of tissue after the gentlest opening that takes it off the scalp."""
    shell = head & (shapes.depth(head, size) < SCALP_MM)
    candidates: list[tuple[float, Bool]] = []
    free: list[Bool] = []
    for least, radii in SEPARATIONS:
        tissue = (relative > least) & trusted
        tissue_depth = shapes.depth(tissue, size)
        for radius in radii:
            deep = tissue_depth > radius
            if not deep.any():
                continue
            body = tissue & shapes.dilate(shapes.largest(deep), radius + max(size), size)
            share = float((body & shell).sum() / max(1, shell.sum()))
            candidates.append((share, body))
            if share >= FREE_SHARE:
                continue
            free.append(_without_neighbours(tissue_depth, shapes.largest(deep), body, shell))
            # What the next opening leaves nearly as it was had nothing foreign left on it.
            if len(free) > 1 and free[-1].sum() > 0.95 * free[-2].sum():
                return free[-2]
    if free:
        return free[-1]
    if not candidates:
        raise UnusableInput("No body of tissue was found in the magnitude; check that the images show a head.")
    first, freest = candidates[0], min(candidates, key=lambda candidate: candidate[0])
    # A brain without scalp, or a slab inside the brain, touches the head's surface whatever is done: nothing to cut.
    return freest[1] if freest[0] < 0.3 * first[0] else first[1]


def _without_neighbours(tissue_depth: Float, core: Bool, body: Bool, shell: Bool) -> Bool:
    """Return the body without what hangs on it by a passage and reaches the scalp, like the eyes."""
    numbers = shapes.basins(tissue_depth, LEAST_DYNAMIC_MM)
    count = int(numbers.max()) + 1
    volume, in_core, in_body, in_shell = (
        np.bincount(numbers.ravel(), weights=part.ravel(), minlength=count).astype(np.float64)
        for part in (np.ones_like(core), core, body, shell)
    )
    own = (in_core > 0) | ((in_shell < FREE_SHARE * volume) & (in_body > 0.5 * volume))
    own[0] = False
    return own[numbers] & body


def _rim(tissue: Bool, hull: Bool, factors: tuple[int, ...], size: Size) -> Bool:
    """Return the mask on the fine grid: tissue within a coarse voxel of the hull, without holes."""
    inner = shapes.enlarge(shapes.depth(hull, (1.0, 1.0, 1.0)) > 2.5, factors, tissue.shape)
    outer = shapes.enlarge(shapes.dilate(hull, 1.0, (1.0, 1.0, 1.0)), factors, tissue.shape)
    box = shapes.bounding_box(outer)
    whole = (tissue[box] & outer[box]) | inner[box]
    whole = shapes.close(whole, RIM_CLOSING_MM, size) & outer[box]
    mask = np.zeros_like(tissue)
    mask[box] = shapes.fill(shapes.largest(shapes.open(whole, RIM_OPENING_MM, size)))
    return mask


def run(inputs: Mapping[str, Tensor], context: StepContext, settings: PhaseQualitySettings) -> dict[str, Tensor]:
    """Mask the step's images; see `brain_mask`."""
    mask, quality = brain_mask(inputs["magnitude"], inputs["phase"], context.grid, settings)
    return {"mask": mask, "quality": quality}


PHASE_QUALITY = Method(
    name="phase_quality",
    citation="phase quality × magnitude, opened until the scalp lets go (second differences: doi:10.1364/AO.46.006623)",
    run=run,
    settings=PhaseQualitySettings,
    inputs=("magnitude", "phase"),
    outputs=("mask", "quality"),
)
