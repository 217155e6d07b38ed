"""Dipole inversion with smooth gradients (L2): divisions in k-space, with the field around the mask filled in."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.dipole import AXES, dipole_kernel
from pipeline.operators.fourier import scale_spectrum
from pipeline.operators.gradient import laplacian_spectrum
from pipeline.operators.padding import frame_around


@dataclass(frozen=True)
class L2Settings:
    """Settings of the smooth inversion."""

    regularisation: float = setting(
        5e-3, "mm²", "weight of the squared gradient against the squared field error", minimum=1e-8
    )
    rounds: int = setting(
        3, "1", "divisions; from the second on, the field outside the mask is that of the last map", minimum=1
    )
    margin: int = setting(8, "voxel", "least padding around the mask", minimum=4, maximum=128)


def smooth_division(
    local_field: Tensor, mask: Tensor, grid: Grid, settings: L2Settings, on_iteration: OnIteration | None = None
) -> Tensor:
    """Minimise ½‖D χ − f‖² + ½ λ ‖∇χ‖², a few times, each time with a better guess of the field outside the mask.

    One division takes the field outside the mask as zero, which it is not; every further round puts there the field
    of the map found so far, and so comes nearer to the minimum over the mask alone. The result is linear in the field.

    Parameters
    ----------
    local_field
        Field without background `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`; the result is zero outside.
    grid
        The grid with the direction of B0.
    settings
        Weight and number of divisions.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Susceptibility `(z, y, x)` [ppm], up to a constant.

    Raises
    ------
    UnusableInput
        Shapes disagree or the mask is empty.

    Source: Bilgic 2014, doi:10.1002/jmri.24365; filling in as in Dempster 1977,
    doi:10.1111/j.2517-6161.1977.tb01600.x.
    """
    if local_field.shape != mask.shape:
        raise UnusableInput(f"The field has shape {tuple(local_field.shape)} but the mask {tuple(mask.shape)}.")
    frame = frame_around(mask, grid, settings.margin)
    kernel = dipole_kernel(frame.grid, dtype=local_field.dtype, device=local_field.device)
    divisor = laplacian_spectrum(frame.grid, kernel).mul_(settings.regularisation).addcmul_(kernel, kernel)
    divisor[0, 0, 0] = 1.0
    inverse = kernel / divisor
    kernel.mul_(inverse)
    known, measured = frame.embed(mask), frame.embed(torch.where(mask, local_field, 0.0))
    field = measured
    for number in range(settings.rounds):
        spectrum = torch.fft.rfftn(field, dim=AXES)
        is_last = number + 1 == settings.rounds
        scale_spectrum(spectrum, inverse if is_last else kernel)
        field = torch.fft.irfftn(spectrum, s=frame.grid.shape, dim=AXES)
        if not is_last:
            field = torch.where(known, measured, field)
        if on_iteration is not None:
            on_iteration((number + 1) / settings.rounds)
    return frame.restore(field).mul_(mask)


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: L2Settings) -> dict[str, Tensor]:
    susceptibility = smooth_division(
        artefacts["local_field"], artefacts["mask"], context.grid, settings, context.on_iteration
    )
    return {"susceptibility": susceptibility}


L2 = Method(
    name="l2",
    citation="Bilgic 2014, doi:10.1002/jmri.24365",
    run=_run,
    settings=L2Settings,
    inputs=("local_field", "mask"),
    outputs=("susceptibility",),
    memory_volumes=6.0,
)
