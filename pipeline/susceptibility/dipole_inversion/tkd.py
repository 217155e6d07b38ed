"""Truncated k-space division: the fastest dipole inversion, one pair of FFTs."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, StepContext, setting
from pipeline.operators.dipole import AXES, dipole_kernel
from pipeline.operators.fourier import scale_spectrum
from pipeline.operators.padding import frame_around


@dataclass(frozen=True)
class TkdSettings:
    """Settings of the truncated division."""

    threshold: float = setting(
        0.15, "1", "least absolute value of the dipole kernel that is divided by", minimum=0.01, maximum=0.6
    )
    correct_underestimation: bool = setting(
        True, "-", "divide by the mean of the point spread function, which the truncation makes smaller than one"
    )
    margin: int = setting(8, "voxel", "least padding around the mask", minimum=4, maximum=128)


def truncated_division(local_field: Tensor, mask: Tensor, grid: Grid, settings: TkdSettings) -> Tensor:
    """Invert a local field by division in k-space, with small kernel values replaced by ± threshold.

    Parameters
    ----------
    local_field
        Field without background `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`; the result is zero outside.
    grid
        The grid with the direction of B0.
    settings
        Threshold and padding.

    Returns
    -------
    Susceptibility `(z, y, x)` [ppm], up to a constant.

    Raises
    ------
    UnusableInput
        Shapes disagree or the mask is empty.

    Source: Shmueli 2009, doi:10.1002/mrm.22135; correction: Schweser 2013, doi:10.1002/mrm.24405.
    """
    if local_field.shape != mask.shape:
        raise UnusableInput(f"The field has shape {tuple(local_field.shape)} but the mask {tuple(mask.shape)}.")
    frame = frame_around(mask, grid, settings.margin)
    kernel = dipole_kernel(frame.grid, dtype=local_field.dtype, device=local_field.device)
    # The zero cone counts as positive: a sign of zero would delete it.
    inverse = kernel.abs().clamp_min_(settings.threshold).reciprocal_().copysign_(kernel)
    inverse[0, 0, 0] = 0.0
    if settings.correct_underestimation:
        inverse /= _mean_over_full_spectrum(kernel.mul_(inverse), frame.grid.shape[2])
    spectrum = torch.fft.rfftn(frame.embed(torch.where(mask, local_field, 0.0)), dim=AXES)
    scale_spectrum(spectrum, inverse)
    return frame.restore(torch.fft.irfftn(spectrum, s=frame.grid.shape, dim=AXES)).mul_(mask)


def _mean_over_full_spectrum(half: Tensor, width: int) -> Tensor:
    """Return the mean of an even spectrum of which a real FFT keeps one half; inner columns count twice."""
    columns = half.sum(dim=(0, 1)).double()
    counts = torch.full_like(columns, 2.0)
    counts[0] = 1.0
    if width % 2 == 0:
        counts[-1] = 1.0
    return ((columns * counts).sum() / (counts.sum() * half.shape[0] * half.shape[1])).to(half.dtype)


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: TkdSettings) -> dict[str, Tensor]:
    susceptibility = truncated_division(artefacts["local_field"], artefacts["mask"], context.grid, settings)
    return {"susceptibility": susceptibility}


TKD = Method(
    name="tkd",
    citation="Shmueli 2009, doi:10.1002/mrm.22135",
    run=_run,
    settings=TkdSettings,
    inputs=("local_field", "mask"),
    outputs=("susceptibility",),
    memory_volumes=3.5,
)
