"""Referencing: susceptibility is known up to a constant, so its zero is chosen and stated."""

from collections.abc import Mapping

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.method import Method, NoSettings, StepContext


def subtract_region_mean(susceptibility: Tensor, region: Tensor, mask: Tensor) -> Tensor:
    """Shift a susceptibility map so that its mean over a region is zero.

    Parameters
    ----------
    susceptibility
        Map `(z, y, x)` [ppm].
    region
        Bool `(z, y, x)`, the reference region.
    mask
        Bool `(z, y, x)`; the map stays zero outside.

    Raises
    ------
    UnusableInput
        The region holds no voxel of the mask.
    """
    inside = region & mask
    if not bool(inside.any()):
        raise UnusableInput("The reference region holds no voxel of the mask; choose another reference.")
    mean = susceptibility[inside].double().mean().to(susceptibility.dtype)
    return torch.where(mask, susceptibility - mean, torch.zeros_like(susceptibility))


def _run_whole_brain(artefacts: Mapping[str, Tensor], _: StepContext, __: NoSettings) -> dict[str, Tensor]:
    mask = artefacts["mask"]
    return {"susceptibility": subtract_region_mean(artefacts["susceptibility"], mask, mask)}


def _run_none(artefacts: Mapping[str, Tensor], _: StepContext, __: NoSettings) -> dict[str, Tensor]:
    return {"susceptibility": artefacts["susceptibility"]}


WHOLE_BRAIN = Method(
    name="whole_brain",
    citation="Bilgic 2024 (consensus), doi:10.1002/mrm.30006",
    run=_run_whole_brain,
    settings=NoSettings,
    inputs=("susceptibility", "mask"),
    outputs=("susceptibility",),
)
NONE = Method(
    name="none",
    citation="no reference: the zero is where the inversion left it",
    run=_run_none,
    settings=NoSettings,
    inputs=("susceptibility",),
    outputs=("susceptibility",),
)
