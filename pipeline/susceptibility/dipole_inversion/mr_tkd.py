"""Dipole inversion by model resolution: undo what truncation did to a TKD map, with total variation as prior."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.dipole import dipole_kernel
from pipeline.operators.fourier import forward_transform, inverse_transform, scale_spectrum
from pipeline.operators.gradient import SplitGradient
from pipeline.operators.padding import frame_around
from pipeline.solvers.alternating_directions import AlternatingDirections, ClosedData

_RELAXATION = 1.6


@dataclass(frozen=True)
class MrTkdSettings:
    """Settings of the inversion by model resolution."""

    threshold: float = setting(
        0.15, "1", "least absolute value of the dipole kernel that is divided by", minimum=0.01, maximum=0.6
    )
    regularisation: float = setting(
        5e-3, "ppm·mm", "weight of the total variation against the squared error of the TKD map", minimum=1e-8
    )
    edge_penalty: float = setting(100.0, "1/(ppm·mm)", "penalty of the split gradient, per regularisation", minimum=1.0)
    iterations: int = setting(20, "1", "alternating steps at most", minimum=1, maximum=1000)
    tolerance: float = setting(1e-2, "1", "stop where a step changes the map by less than this share", minimum=0.0)
    margin: int = setting(8, "voxel", "least padding around the mask", minimum=4, maximum=128)


def model_resolution(
    local_field: Tensor, mask: Tensor, grid: Grid, settings: MrTkdSettings, on_iteration: OnIteration | None = None
) -> Tensor:
    """Minimise ½‖R χ − χ_TKD‖² + λ Σ |∇χ|, where R is what truncated division makes of a true map.

    Truncated division returns R χ with R = D / D_t known exactly: 1 where the kernel exceeds the threshold, |D| over
    the threshold elsewhere. Unlike the field, this problem is well scaled; its noise is that of the TKD map.

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

    Source: Mathew 2023, doi:10.1002/nbm.5055; the prior and its solver are those of Bilgic 2014,
    doi:10.1002/mrm.25029.
    """
    if local_field.shape != mask.shape:
        raise UnusableInput(f"The field has shape {tuple(local_field.shape)} but the mask {tuple(mask.shape)}.")
    frame = frame_around(mask, grid, settings.margin)
    kernel = dipole_kernel(frame.grid, dtype=local_field.dtype, device=local_field.device)
    truncated = kernel.abs().clamp_min_(settings.threshold).copysign_(kernel)
    field = forward_transform(frame.embed(torch.where(mask, local_field, 0.0)))
    scale_spectrum(field, 1 / truncated)
    resolution = kernel.div_(truncated)
    del truncated
    data = ClosedData(resolution, inverse_transform(field, frame.grid.shape))
    del field
    thresholds = local_field.new_full((1, 1, 1), 1 / settings.edge_penalty).expand(frame.grid.shape)
    gradient = SplitGradient(frame.grid, thresholds, _RELAXATION)
    penalty = settings.regularisation * settings.edge_penalty
    alternation = AlternatingDirections(frame.grid, resolution, data, gradient, penalty)
    told = None if on_iteration is None else (lambda step: on_iteration(step / settings.iterations))
    susceptibility = alternation.advance(settings.iterations, settings.tolerance, told)
    del alternation, data, gradient, resolution
    return frame.restore(susceptibility).masked_fill_(~mask, 0.0)


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: MrTkdSettings) -> dict[str, Tensor]:
    susceptibility = model_resolution(
        artefacts["local_field"], artefacts["mask"], context.grid, settings, context.on_iteration
    )
    return {"susceptibility": susceptibility}


MR_TKD = Method(
    name="mr_tkd",
    citation="Mathew 2023, doi:10.1002/nbm.5055",
    run=_run,
    settings=MrTkdSettings,
    inputs=("local_field", "mask"),
    outputs=("susceptibility",),
    memory_volumes=6.5,
)
