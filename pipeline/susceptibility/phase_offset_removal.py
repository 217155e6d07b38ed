"""Remove the transceive phase offset that all echoes share (MCPC-3D-S for combined channels)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import SingleEcho, UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, NoSettings, StepContext, setting
from pipeline.susceptibility.phase_unwrapping import romeo
from pipeline.susceptibility.phase_unwrapping.turns import wrap
from pipeline.susceptibility.smoothing import gaussian


@dataclass(frozen=True)
class Mcpc3dsSettings:
    """Choices of MCPC-3D-S."""

    smoothing_mm: float = setting(
        6.0, "mm", "standard deviation of the Gaussian that smooths the offset", minimum=0.0, maximum=50.0
    )
    signal_fraction: float = setting(
        0.05, "1", "voxels below this part of the bright signal do not shape the offset", minimum=0.0, maximum=0.9
    )


def mcpc_3d_s(
    phase: Tensor,
    magnitude: Tensor,
    echo_times_s: Sequence[float],
    grid: Grid,
    settings: Mcpc3dsSettings | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Estimate the phase at echo time zero from the first two echoes and take it from every echo.

    Parameters
    ----------
    phase
        Wrapped phase [rad], `(echo, z, y, x)`.
    magnitude
        Magnitude [arbitrary], `(echo, z, y, x)`.
    echo_times_s
        Echo times [s], at least two.
    grid
        The grid of the images.
    settings
        Smoothing of the offset.
    mask
        Voxels that shape the offset, bool `(z, y, x)`; from the magnitude where None.

    Returns
    -------
        Wrapped phase without offset [rad] `(echo, z, y, x)`, and the smooth offset [rad] `(z, y, x)`.

    Raises
    ------
    SingleEcho
        Where there is one echo only.
    UnusableInput
        Where shapes disagree or no voxel has signal.

    Notes
    -----
    A field of a whole turn per echo spacing cannot be told from a constant offset; the turn nearest to zero is taken.
    That constant is harmonic and does not reach the susceptibility.

    References
    ----------
    Eckstein 2018, doi:10.1002/mrm.26963 (section "MCPC-3D-S").
    """
    settings = settings or Mcpc3dsSettings()
    if len(echo_times_s) < 2:
        raise SingleEcho("MCPC-3D-S needs two echoes or more; choose phase offset removal `none` for one echo.")
    if phase.shape != magnitude.shape or tuple(phase.shape) != (len(echo_times_s), *grid.shape):
        raise UnusableInput(
            f"Phase {tuple(phase.shape)} and magnitude {tuple(magnitude.shape)} must both be "
            f"{(len(echo_times_s), *grid.shape)}."
        )
    product = magnitude[0] * magnitude[1]
    if mask is None:
        mask = signal_mask(product.sqrt(), settings.signal_fraction)
    difference = wrap(phase[1] - phase[0])
    unwrapped = romeo.unwrap(difference[None], product.sqrt()[None], mask, (1.0,))[0]
    growth = echo_times_s[0] / (echo_times_s[1] - echo_times_s[0])
    weighted = torch.polar(product * mask, phase[0] - growth * unwrapped)
    smooth = torch.complex(
        gaussian(weighted.real, settings.smoothing_mm, grid), gaussian(weighted.imag, settings.smoothing_mm, grid)
    )
    offset = torch.angle(smooth)
    return wrap(phase - offset), offset


def signal_mask(magnitude: Tensor, fraction: float) -> Tensor:
    """Return where the magnitude exceeds a part of its bright (98th percentile) value.

    Parameters
    ----------
    magnitude
        Magnitude [arbitrary], `(z, y, x)`.
    fraction
        The part [1].

    Returns
    -------
        Bool `(z, y, x)`.

    Raises
    ------
    UnusableInput
        Where the magnitude is zero everywhere.
    """
    present = magnitude[magnitude > 0]
    if present.numel() == 0:
        raise UnusableInput("The magnitude is zero everywhere; there is no signal to map.")
    # quantile() refuses more than 2^24 values, which a whole-head series exceeds.
    bright = present.kthvalue(max(1, int(0.98 * present.numel()))).values
    return magnitude > fraction * bright


def run_mcpc_3d_s(inputs: Mapping[str, Tensor], context: StepContext, settings: Mcpc3dsSettings) -> dict[str, Tensor]:
    """Remove the offset from the step's phase; see `mcpc_3d_s`."""
    corrected, _ = mcpc_3d_s(
        inputs["phase"], inputs["magnitude"], context.echo_times_s, context.grid, settings, inputs.get("mask")
    )
    return {"phase": corrected}


def run_none(inputs: Mapping[str, Tensor], context: StepContext, settings: NoSettings) -> dict[str, Tensor]:
    """Return the step's phase as it is: one echo holds no knowledge of its offset."""
    return {"phase": inputs["phase"]}


MCPC_3D_S = Method(
    name="mcpc_3d_s",
    citation="Eckstein 2018, doi:10.1002/mrm.26963",
    run=run_mcpc_3d_s,
    settings=Mcpc3dsSettings,
    inputs=("phase", "magnitude"),
    optional_inputs=("mask",),
    outputs=("phase",),
)

NONE = Method(
    name="none",
    citation="the phase as it is; for one echo, whose offset cannot be known",
    run=run_none,
    settings=NoSettings,
    inputs=("phase",),
    outputs=("phase",),
)
