"""Rapid two-step dipole inversion: solve what the kernel sees well, then fill in the rest with total variation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.dipole import Dipole
from pipeline.operators.gradient import SplitGradient
from pipeline.operators.padding import Frame, frame_around
from pipeline.solvers.alternating_directions import AlternatingDirections, ClosedData
from pipeline.solvers.conjugate_gradient import conjugate_gradient

_RELAXATION = 1.6
_SHARE_OF_FIRST_STEP = 0.5


@dataclass(frozen=True)
class RtsSettings:
    """Settings of the two steps."""

    threshold: float = setting(
        0.15, "1", "kernel values below this are left to the second step", minimum=0.01, maximum=0.6
    )
    inner_iterations: int = setting(
        16, "1", "least-squares steps of the first step; few of them leave the noise out", minimum=1, maximum=100
    )
    regularisation: float = setting(
        4e-3, "ppm·mm", "weight of the total variation against the squared error of the first map", minimum=1e-8
    )
    edge_penalty: float = setting(100.0, "1/(ppm·mm)", "penalty of the split gradient, per regularisation", minimum=1.0)
    iterations: int = setting(20, "1", "alternating steps at most", minimum=1, maximum=1000)
    tolerance: float = setting(1e-2, "1", "stop where a step changes the map by less than this share", minimum=0.0)
    margin: int = setting(8, "voxel", "least padding around the mask", minimum=4, maximum=128)


def rapid_two_step(
    local_field: Tensor, mask: Tensor, grid: Grid, settings: RtsSettings, on_iteration: OnIteration | None = None
) -> Tensor:
    """Solve least squares by a few steps, keep its well-conditioned part, and minimise total variation over the rest.

    The first step looks for sources inside the mask only: a local field has no others, and that alone tells much of
    what the kernel hides.

    Parameters
    ----------
    local_field
        Field without background `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`; the result is zero outside.
    grid
        The grid with the direction of B0.
    settings
        Threshold, weight and stopping rule.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Susceptibility `(z, y, x)` [ppm], up to a constant.

    Raises
    ------
    UnusableInput
        Shapes disagree or the mask is empty.
    NotConverged
        The field holds extreme values.

    Source: Kames 2018, doi:10.1016/j.neuroimage.2017.11.018.
    """
    if local_field.shape != mask.shape:
        raise UnusableInput(f"The field has shape {tuple(local_field.shape)} but the mask {tuple(mask.shape)}.")
    frame = frame_around(mask, grid, settings.margin)
    dipole = Dipole.on(frame.grid, local_field)

    def told_first(step: int) -> None:
        if on_iteration is not None:
            on_iteration(_SHARE_OF_FIRST_STEP * step / settings.inner_iterations)

    def told_second(step: int) -> None:
        if on_iteration is not None:
            on_iteration(_SHARE_OF_FIRST_STEP + (1 - _SHARE_OF_FIRST_STEP) * step / settings.iterations)

    first = _least_squares(local_field, mask, frame, dipole, settings.inner_iterations, told_first)
    seen = (dipole.kernel.abs() > settings.threshold).to(local_field.dtype)
    data = ClosedData(seen, first)
    del first, dipole
    thresholds = local_field.new_full((1, 1, 1), 1 / settings.edge_penalty).expand(frame.grid.shape)
    gradient = SplitGradient(frame.grid, thresholds, _RELAXATION)
    penalty = settings.regularisation * settings.edge_penalty
    alternation = AlternatingDirections(frame.grid, seen, data, gradient, penalty)
    del seen
    susceptibility = alternation.advance(settings.iterations, settings.tolerance, told_second)
    del alternation, data, gradient
    return frame.restore(susceptibility).masked_fill_(~mask, 0.0)


def _least_squares(
    local_field: Tensor, mask: Tensor, frame: Frame, dipole: Dipole, iterations: int, told: Callable[[int], None]
) -> Tensor:
    """Return a map, zero outside the mask, that explains the field in it, by a few conjugate gradients from zero."""
    known = frame.embed(mask)

    def operator(source: Tensor) -> Tensor:
        return dipole(dipole(source).mul_(known)).mul_(known)

    right_side = dipole(frame.embed(torch.where(mask, local_field, 0.0))).mul_(known)
    start = torch.zeros_like(right_side)
    return conjugate_gradient(operator, right_side, start, n_iterations=iterations, on_iteration=told)


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: RtsSettings) -> dict[str, Tensor]:
    susceptibility = rapid_two_step(
        artefacts["local_field"], artefacts["mask"], context.grid, settings, context.on_iteration
    )
    return {"susceptibility": susceptibility}


RTS = Method(
    name="rts",
    citation="Kames 2018, doi:10.1016/j.neuroimage.2017.11.018",
    run=_run,
    settings=RtsSettings,
    inputs=("local_field", "mask"),
    outputs=("susceptibility",),
    memory_volumes=7.5,
)
