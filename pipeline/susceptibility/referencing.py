"""Referencing: susceptibility is known up to a constant, so its zero is chosen and stated."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.method import Method, NoSettings, StepContext, setting
from pipeline.susceptibility.dipole_inversion.cerebrospinal_fluid import cerebrospinal_fluid
from pipeline.susceptibility.relaxometry import log_linear


@dataclass(frozen=True)
class FluidSettings:
    """What counts as the fluid of the ventricles."""

    highest_rate: float = setting(5.0, "1/s", "fluid decays more slowly than this", minimum=0.1, maximum=100.0)
    radius_mm: float = setting(30.0, "mm", "the ventricles lie within this of the brain's centre", minimum=1.0)


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

    Returns
    -------
        The shifted map [ppm], `(z, y, x)`.

    Raises
    ------
    UnusableInput
        Shapes disagree, or the region holds no voxel of the mask.
    """
    if not susceptibility.shape == region.shape == mask.shape:
        raise UnusableInput(
            f"Map {tuple(susceptibility.shape)}, region {tuple(region.shape)} and mask {tuple(mask.shape)} must share "
            "one grid."
        )
    inside = region & mask
    if not bool(inside.any()):
        raise UnusableInput("The reference region holds no voxel of the mask; choose another reference.")
    mean = susceptibility[inside].double().mean().to(susceptibility.dtype)
    return torch.where(mask, susceptibility - mean, torch.zeros_like(susceptibility))


def _run_whole_brain(artefacts: Mapping[str, Tensor], _: StepContext, __: NoSettings) -> dict[str, Tensor]:
    mask = artefacts["mask"]
    return {"susceptibility": subtract_region_mean(artefacts["susceptibility"], mask, mask)}


def _run_region(artefacts: Mapping[str, Tensor], _: StepContext, __: NoSettings) -> dict[str, Tensor]:
    region = artefacts["region"].bool()
    return {"susceptibility": subtract_region_mean(artefacts["susceptibility"], region, artefacts["mask"])}


def _run_csf(artefacts: Mapping[str, Tensor], context: StepContext, settings: FluidSettings) -> dict[str, Tensor]:
    mask = artefacts["mask"]
    if "region" in artefacts:
        fluid = artefacts["region"].bool()
    else:
        rate = _rate(artefacts, context)
        fluid = cerebrospinal_fluid(rate, mask, context.grid, settings.highest_rate, settings.radius_mm)
    return {"susceptibility": subtract_region_mean(artefacts["susceptibility"], fluid, mask)}


def _rate(artefacts: Mapping[str, Tensor], context: StepContext) -> Tensor:
    """Return R2* [1/s] as it is given, else fitted to the magnitude."""
    if "r2star" in artefacts:
        return artefacts["r2star"]
    if "magnitude" not in artefacts:
        raise UnusableInput("The reference 'csf' finds the fluid by its R2*; give r2star, magnitude or a region.")
    return log_linear(artefacts["magnitude"], artefacts["mask"], context.echo_times_s)


def _run_none(artefacts: Mapping[str, Tensor], _: StepContext, __: NoSettings) -> dict[str, Tensor]:
    return {"susceptibility": artefacts["susceptibility"]}


WHOLE_BRAIN = Method(
    name="whole_brain",
    citation="Bilgic 2024 (consensus), doi:10.1002/mrm.30006",
    run=_run_whole_brain,
    settings=NoSettings,
    inputs=("susceptibility", "mask"),
    outputs=("susceptibility",),
    memory_volumes=2.5,
)
CSF = Method(
    name="csf",
    citation="fluid of the ventricles found by R2*: Liu 2018, doi:10.1002/mrm.26946",
    run=_run_csf,
    settings=FluidSettings,
    inputs=("susceptibility", "mask"),
    outputs=("susceptibility",),
    optional_inputs=("region", "r2star", "magnitude"),
    memory_volumes=2.5,
)
REGION = Method(
    name="region",
    citation="mean of a given region: Bilgic 2024 (consensus), doi:10.1002/mrm.30006",
    run=_run_region,
    settings=NoSettings,
    inputs=("susceptibility", "mask", "region"),
    outputs=("susceptibility",),
    memory_volumes=2.5,
)
NONE = Method(
    name="none",
    citation="no reference: the zero is where the inversion left it",
    run=_run_none,
    settings=NoSettings,
    inputs=("susceptibility",),
    outputs=("susceptibility",),
    memory_volumes=0.5,
)
