"""LBV: the background is the harmonic field that continues the total field at the mask's rim inwards."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.masked_laplacian import MaskedLaplacian, MultigridCycle
from pipeline.solvers.conjugate_gradient import conjugate_gradient
from pipeline.susceptibility.background_field_removal.framed_field import counted, cut_field

HALVINGS = 16
_LEAST_INSIDE = 8


@dataclass(frozen=True)
class LbvSettings:
    """Settings of LBV."""

    iterations: int = setting(30, "1", "multigrid cycles at most", minimum=1, maximum=1000)
    tolerance: float = setting(1e-4, "1", "stop where the residual is below this share of its start", minimum=0.0)


def lbv(
    total_field: Tensor, mask: Tensor, grid: Grid, settings: LbvSettings, on_iteration: OnIteration | None = None
) -> tuple[Tensor, Tensor]:
    """Solve ∇²b = ∇²B inside the mask with b = 0 just beyond it, where all of the field counts as background.

    Beyond the mask the field is continued by parabolas: to call the tissue's own field at the outermost voxels
    background, as one does where the zeros lie on them, costs more all the way in. Those voxels stand on the least
    data, and are not given out. Conjugate gradients with a multigrid cycle as preconditioner need about seven steps and
    no FFT.

    Parameters
    ----------
    total_field
        Relative field B `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`.
    grid
        The grid.
    settings
        Stopping rule.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Local field b `(z, y, x)` [ppm], and the mask without its outermost voxels, in which it is known.

    Raises
    ------
    UnusableInput
        Shapes disagree, or the mask is so thin that it has hardly any inner voxels.
    NotConverged
        The iteration diverged.

    Source: Zhou 2014, doi:10.1002/nbm.3064; cycle as preconditioner: Tatebe 1993, Copper Mountain conference on
    multigrid methods.
    """
    cut = cut_field(total_field, mask, grid, multiple=HALVINGS)
    inner = without_outermost(cut.inside)
    laplacian = MaskedLaplacian(cut.frame.grid, cut.inside.to(cut.field.dtype))
    local = solve_poisson(laplacian, laplacian.one_sided(cut.field), settings, on_iteration)
    return cut.frame.restore(local.mul_(inner)), cut.frame.restore(inner)


def solve_poisson(
    laplacian: MaskedLaplacian, right: Tensor, settings: LbvSettings, on_iteration: OnIteration | None = None
) -> Tensor:
    """Return the volume `(z, y, x)` that is zero outside a mask and has a given Laplacian inside.

    Parameters
    ----------
    laplacian
        −∇² on the mask; a grid whose sizes can often be halved is solved fastest.
    right
        What it must give `(z, y, x)`; overwritten.
    settings
        Stopping rule.
    on_iteration
        Told the fraction done.

    Raises
    ------
    NotConverged
        The iteration diverged.
    """
    cycle = MultigridCycle.of(laplacian)
    size = float(torch.dot(right.flatten(), cycle(right).flatten())) ** 0.5
    solution = conjugate_gradient(
        laplacian,
        right,
        torch.zeros_like(right),
        n_iterations=settings.iterations,
        tolerance=settings.tolerance * size,
        preconditioner=cycle,
        on_iteration=counted(on_iteration, settings.iterations),
        in_place=True,
    )
    if on_iteration is not None:
        on_iteration(1.0)
    return solution


def without_outermost(mask: Tensor) -> Tensor:
    """Return the voxels whose six neighbours all lie in a mask `(z, y, x)` that is empty on the volume's border.

    Raises
    ------
    UnusableInput
        There are hardly any.
    """
    inner = mask.clone()
    for axis in range(3):
        size = mask.shape[axis] - 1
        inner.narrow(axis, 0, size).logical_and_(mask.narrow(axis, 1, size))
        inner.narrow(axis, 1, size).logical_and_(mask.narrow(axis, 0, size))
    if int(inner.sum()) < _LEAST_INSIDE:
        raise UnusableInput(
            "The mask has hardly any voxel with neighbours in the mask on all sides; give a larger one."
        )
    return inner


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: LbvSettings) -> dict[str, Tensor]:
    local_field, mask = lbv(artefacts["total_field"], artefacts["mask"], context.grid, settings, context.on_iteration)
    return {"local_field": local_field, "mask": mask}


LBV = Method(
    name="lbv",
    citation="Zhou 2014, doi:10.1002/nbm.3064",
    run=_run,
    settings=LbvSettings,
    inputs=("total_field", "mask"),
    outputs=("local_field", "mask"),
    memory_volumes=7.0,
)
