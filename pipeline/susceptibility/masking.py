"""Find the brain: where the phase can be trusted and the magnitude is tissue, without skull, scalp and air."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, StepContext, setting


@dataclass(frozen=True)
class PhaseQualitySettings:
    """Choices of the mask."""

    opening_mm: float = setting(4.0, "mm", "bridges to the scalp thinner than twice this are cut", minimum=0.0)
    closing_mm: float = setting(4.0, "mm", "gaps narrower than twice this are closed", minimum=0.0)


def brain_mask(magnitude: Tensor, phase: Tensor, grid: Grid, settings: PhaseQualitySettings) -> tuple[Tensor, Tensor]:
    """First version."""
    image = magnitude[0].cpu().numpy()
    bright = np.percentile(image[image > 0], 90)
    tissue = image > 0.3 * bright
    size = grid.voxel_size_mm
    deep = (
        ndimage.distance_transform_edt(np.pad(tissue, 1, mode="edge"), sampling=size)[1:-1, 1:-1, 1:-1]
        > settings.opening_mm
    )
    labels, count = ndimage.label(deep)
    if count == 0:
        raise UnusableInput("No brain was found in the magnitude.")
    core = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    grown = (ndimage.distance_transform_edt(~core, sampling=size) <= settings.opening_mm) & tissue
    near = ndimage.distance_transform_edt(~np.pad(grown, 20), sampling=size) <= settings.closing_mm
    closed = (ndimage.distance_transform_edt(near, sampling=size) > settings.closing_mm)[20:-20, 20:-20, 20:-20]
    filled = ndimage.binary_fill_holes(closed | grown)
    mask = torch.from_numpy(filled).to(magnitude.device)
    return mask, mask.to(magnitude.dtype)


def run(inputs: Mapping[str, Tensor], context: StepContext, settings: PhaseQualitySettings) -> dict[str, Tensor]:
    """Mask the step's images; see `brain_mask`."""
    mask, quality = brain_mask(inputs["magnitude"], inputs["phase"], context.grid, settings)
    return {"mask": mask, "quality": quality}


PHASE_QUALITY = Method(
    name="phase_quality",
    citation="first version",
    run=run,
    settings=PhaseQualitySettings,
    inputs=("magnitude", "phase"),
    outputs=("mask", "quality"),
)
