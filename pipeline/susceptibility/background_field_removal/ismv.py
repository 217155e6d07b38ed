"""iSMV: the harmonic field that continues the border's values inwards is what repeated spherical means converge to."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.dipole import AXES
from pipeline.operators.spherical_mean import ball_kernel, balls_inside, refuse_too_small_for_ball
from pipeline.solvers.conjugate_gradient import conjugate_gradient
from pipeline.susceptibility.background_field_removal.framed_field import counted, cut_field


@dataclass(frozen=True)
class IsmvSettings:
    """Settings of iSMV."""

    radius_mm: float = setting(
        6.0, "mm", "radius of the ball; voxels nearer to the border are lost", minimum=0.5, maximum=40.0
    )
    iterations: int = setting(60, "1", "steps at most", minimum=1, maximum=1000)
    tolerance: float = setting(1e-2, "1", "stop where the residual is below this share of its start", minimum=0.0)


def ismv(
    total_field: Tensor, mask: Tensor, grid: Grid, settings: IsmvSettings, on_iteration: OnIteration | None = None
) -> tuple[Tensor, Tensor]:
    """Subtract the field that equals its own spherical mean inside and the total field at the border.

    The published iteration replaces the field where the ball fits (M) by its mean S and repeats that until nothing
    changes. What it converges to is the solution b of M (δ − S) M b = M (δ − S) B, which is symmetric and positive:
    conjugate gradients reach it in tens of steps in place of hundreds, at the same cost per step.

    Parameters
    ----------
    total_field
        Relative field B `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`.
    grid
        The grid.
    settings
        Radius and stopping rule.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Local field b `(z, y, x)` [ppm], and the smaller mask M in which it is known.

    Raises
    ------
    UnusableInput
        Shapes disagree, or the ball fits nowhere into the mask.
    NotConverged
        The iteration diverged.

    Source: Wen 2014, doi:10.1002/mrm.24998.
    """
    refuse_too_small_for_ball(mask, grid, settings.radius_mm)
    cut = cut_field(total_field, mask, grid)
    kernel = ball_kernel(cut.frame.grid, settings.radius_mm, cut.field)
    known = balls_inside(cut.inside, kernel)
    if not bool(known.any()):
        raise UnusableInput(f"No ball of radius {settings.radius_mm:g} mm fits into the mask; choose a smaller radius.")
    kept = kernel.neg_().add_(1.0)

    def filtered(field: Tensor) -> Tensor:
        spectrum = torch.fft.rfftn(field, dim=AXES).mul_(kept)
        return torch.fft.irfftn(spectrum, s=cut.shape, dim=AXES).mul_(known)

    right = filtered(cut.field)
    local = conjugate_gradient(
        filtered,
        right,
        torch.zeros_like(right),
        n_iterations=settings.iterations,
        tolerance=settings.tolerance * float(right.norm()),
        on_iteration=counted(on_iteration, settings.iterations),
    )
    if on_iteration is not None:
        on_iteration(1.0)
    return cut.frame.restore(local), cut.frame.restore(known)


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: IsmvSettings) -> dict[str, Tensor]:
    local_field, mask = ismv(artefacts["total_field"], artefacts["mask"], context.grid, settings, context.on_iteration)
    return {"local_field": local_field, "mask": mask}


ISMV = Method(
    name="ismv",
    citation="Wen 2014, doi:10.1002/mrm.24998",
    run=_run,
    settings=IsmvSettings,
    inputs=("total_field", "mask"),
    outputs=("local_field", "mask"),
    memory_volumes=5.0,
)
