"""Robust background removal: find sources inside and outside the brain at once, and keep the field of those inside."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.dipole import Dipole
from pipeline.susceptibility.dipole_inversion.total_field import RobustSettings, sources_of_field


@dataclass(frozen=True)
class RobustRemovalSettings(RobustSettings):
    """Settings of the robust background removal: those of the inversion, with less work on the full grid."""

    rounds: int = setting(2, "1", "reweightings on the full grid", minimum=1, maximum=100)
    iterations: int = setting(20, "1", "conjugate gradient steps per reweighting", minimum=1, maximum=1000)
    remainder_share: float = setting(
        0.0, "1", "share of the field that no source explains, mostly noise, to be kept", minimum=0.0, maximum=1.0
    )


def robust_local_field(
    total_field: Tensor,
    mask: Tensor,
    magnitude: Tensor,
    field_noise: Tensor,
    grid: Grid,
    settings: RobustRemovalSettings,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Explain the total field by sources inside and outside the mask, and return the field of those inside.

    No voxel of the mask is lost. What no source explains is noise and wrong voxels, and leaves with the background
    unless `remainder_share` keeps it; with a share of one the result is the total field without that of the sources
    outside, as after a projection onto dipole fields.

    Parameters
    ----------
    total_field
        Relative field `(z, y, x)` [ppm], used inside the mask.
    mask
        Bool `(z, y, x)`.
    magnitude
        Echo images `(echo, z, y, x)`, or one image `(z, y, x)` [arbitrary].
    field_noise
        Standard deviation of the total field `(z, y, x)` [ppm].
    grid
        The grid with the direction of B0.
    settings
        Weights and numbers of iterations.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Local field `(z, y, x)` [ppm] in the whole mask.

    Raises
    ------
    UnusableInput
        Shapes disagree or the mask is empty.
    NotConverged
        The field holds extreme values.

    Source: after Liu 2017, doi:10.1002/mrm.26331.
    """
    frame, sources, inside = sources_of_field(total_field, mask, magnitude, field_noise, grid, settings, on_iteration)
    dipole = Dipole.on(frame.grid, sources)
    brain = sources * inside
    local_field = frame.restore(dipole(brain)).mul_(mask)
    if settings.remainder_share == 0:
        return local_field
    explained = local_field + frame.restore(dipole(sources.sub_(brain)))
    remainder = (total_field - explained)[mask]
    local_field[mask] += (remainder - remainder.median()) * settings.remainder_share
    return local_field


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: RobustRemovalSettings) -> dict[str, Tensor]:
    mask = artefacts["mask"]
    local_field = robust_local_field(
        artefacts["total_field"],
        mask,
        artefacts["magnitude"],
        artefacts["field_noise"],
        context.grid,
        settings,
        context.on_iteration,
    )
    return {"local_field": local_field, "mask": mask}


ROBUST = Method(
    name="robust",
    citation="after Liu 2017, doi:10.1002/mrm.26331, with residual reweighting",
    run=_run,
    settings=RobustRemovalSettings,
    inputs=("total_field", "mask", "magnitude", "field_noise"),
    outputs=("local_field", "mask"),
    memory_volumes=11.5,
)
