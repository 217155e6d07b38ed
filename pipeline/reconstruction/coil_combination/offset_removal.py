"""Combine coils after each coil's own phase offset was removed (MCPC-3D-S and ASPIRE)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.reconstruction.coil_combination.coils import (
    CommonPhase,
    SmoothSensitivity,
    combine,
    refuse_unusable,
    sensitivity_grid,
    tell_nobody,
)
from pipeline.susceptibility.coarse_grid import CoarseGrid
from pipeline.susceptibility.phase_offset_removal import (
    EchoPair,
    block_size,
    collect_signal,
    first_echo_pair,
    phase_until_first_echo,
    signal_mask,
    whole_echo_pair,
)

# The share of the work that is done when the echoes' common product is known.
_PRODUCT_SHARE = 0.3


@dataclass(frozen=True)
class CoilOffsetSettings:
    """Choices of the offset removal of each coil."""

    smoothing_mm: float = setting(
        6.0, "mm", "standard deviation of the Gaussian that smooths each coil's sensitivity", minimum=1.0, maximum=50.0
    )
    signal_fraction: float = setting(
        0.05, "1", "voxels below this part of the bright signal do not shape the sensitivity", minimum=0.0, maximum=0.9
    )


def mcpc_3d_s(
    coil_phase: Tensor,
    coil_magnitude: Tensor,
    echo_times_s: Sequence[float],
    grid: Grid,
    settings: CoilOffsetSettings | None = None,
    on_iteration: OnIteration | None = None,
) -> tuple[Tensor, Tensor]:
    """Take from every coil its phase at echo time zero, found with the unwrapped growth between two echoes, and sum.

    Parameters
    ----------
    coil_phase, coil_magnitude
        Wrapped phase [rad] and magnitude [arbitrary], `(echo, coil, z, y, x)`.
    echo_times_s
        Echo times [s], at least two.
    grid
        The grid of the images.
    settings
        Smoothing of the sensitivities.
    on_iteration
        Told the fraction done.

    Returns
    -------
        Wrapped phase [rad] without offset and magnitude [arbitrary], both `(echo, z, y, x)`.

    Raises
    ------
    SingleEcho
        Where there is one echo only.
    UnusableInput
        Where shapes disagree or there is no signal.

    Notes
    -----
    The growth of phase is the same for all coils, so it comes from the sum over the coils of one echo times the
    conjugate of the other, and is unwrapped once. What is left of a coil's first echo is its complex sensitivity,
    smoothed, whose phase is the offset and whose size is the coil's weight.

    References
    ----------
    Eckstein 2018, doi:10.1002/mrm.26963.
    """
    pair = first_echo_pair(echo_times_s)
    refuse_unusable(coil_phase, coil_magnitude, len(echo_times_s), grid)
    return _combine(coil_phase, coil_magnitude, pair, grid, settings or CoilOffsetSettings(), on_iteration)


def aspire(
    coil_phase: Tensor,
    coil_magnitude: Tensor,
    echo_times_s: Sequence[float],
    grid: Grid,
    settings: CoilOffsetSettings | None = None,
    on_iteration: OnIteration | None = None,
) -> tuple[Tensor, Tensor]:
    """Take from every coil its phase at echo time zero, found without unwrapping from two matching echoes, and sum.

    Parameters and results are those of `mcpc_3d_s`.

    Raises
    ------
    SingleEcho
        Where there is one echo only.
    UnusableInput
        Where no two echoes have m·TE(j) = (m+1)·TE(i), shapes disagree or there is no signal.

    References
    ----------
    Eckstein 2018, doi:10.1002/mrm.26963.
    """
    pair = whole_echo_pair(echo_times_s)
    refuse_unusable(coil_phase, coil_magnitude, len(echo_times_s), grid)
    return _combine(coil_phase, coil_magnitude, pair, grid, settings or CoilOffsetSettings(), on_iteration)


def _combine(
    coil_phase: Tensor,
    coil_magnitude: Tensor,
    pair: EchoPair,
    grid: Grid,
    settings: CoilOffsetSettings,
    on_iteration: OnIteration | None,
) -> tuple[Tensor, Tensor]:
    tell = on_iteration or tell_nobody
    common = _phase_at_first_echo(coil_phase, coil_magnitude, pair, grid, settings, tell)
    blocks = sensitivity_grid(grid, settings.smoothing_mm)

    def of_coil(coil: int) -> tuple[Tensor, Tensor]:
        return common.collect(blocks, coil_phase[pair.first, coil], coil_magnitude[pair.first, coil])

    sensitivity = SmoothSensitivity(blocks, settings.smoothing_mm, of_coil)
    return combine(
        coil_phase, coil_magnitude, sensitivity, lambda share: tell(_PRODUCT_SHARE + (1 - _PRODUCT_SHARE) * share)
    )


def _phase_at_first_echo(
    coil_phase: Tensor,
    coil_magnitude: Tensor,
    pair: EchoPair,
    grid: Grid,
    settings: CoilOffsetSettings,
    tell: OnIteration,
) -> CommonPhase:
    """Return what the field, the same for all coils, has built up until the pair's first echo."""
    coarse = CoarseGrid.of(grid, block_size(settings.smoothing_mm))
    product = _common_product(coil_phase, coil_magnitude, pair, coarse, tell)
    inside = signal_mask(torch.hypot(*product).sqrt_(), settings.signal_fraction)
    growth = phase_until_first_echo(product, inside, pair)
    del product
    return CommonPhase.of(coarse.repeat(growth), coarse.repeat(inside))


def _common_product(
    coil_phase: Tensor, coil_magnitude: Tensor, pair: EchoPair, coarse: CoarseGrid, tell: OnIteration
) -> tuple[Tensor, Tensor]:
    """Sum the second echo times the conjugate of the first over coils and blocks; real and imaginary part."""
    n_coils = coil_phase.shape[1]
    real, imaginary = (coil_phase.new_zeros(coarse.grid.shape) for _ in range(2))
    for coil in range(n_coils):
        amplitude = coil_magnitude[pair.first, coil] * coil_magnitude[pair.second, coil]
        difference = coil_phase[pair.second, coil] - coil_phase[pair.first, coil]
        part_real, part_imaginary = collect_signal(coarse, amplitude, difference)
        real.add_(part_real)
        imaginary.add_(part_imaginary)
        tell(0.5 * _PRODUCT_SHARE * (coil + 1) / n_coils)
    return real, imaginary


def run_mcpc_3d_s(
    inputs: Mapping[str, Tensor], context: StepContext, settings: CoilOffsetSettings
) -> dict[str, Tensor]:
    """Combine the step's coils; see `mcpc_3d_s`."""
    phase, magnitude = mcpc_3d_s(
        inputs["coil_phase"],
        inputs["coil_magnitude"],
        context.echo_times_s,
        context.grid,
        settings,
        context.on_iteration,
    )
    return {"phase": phase, "magnitude": magnitude}


def run_aspire(inputs: Mapping[str, Tensor], context: StepContext, settings: CoilOffsetSettings) -> dict[str, Tensor]:
    """Combine the step's coils; see `aspire`."""
    phase, magnitude = aspire(
        inputs["coil_phase"],
        inputs["coil_magnitude"],
        context.echo_times_s,
        context.grid,
        settings,
        context.on_iteration,
    )
    return {"phase": phase, "magnitude": magnitude}


MCPC_3D_S = Method(
    name="mcpc_3d_s",
    citation="Eckstein 2018, doi:10.1002/mrm.26963",
    run=run_mcpc_3d_s,
    settings=CoilOffsetSettings,
    inputs=("coil_phase", "coil_magnitude"),
    outputs=("phase", "magnitude"),
    memory_volumes=3.5,
)

ASPIRE = Method(
    name="aspire",
    citation="Eckstein 2018, doi:10.1002/mrm.26963",
    run=run_aspire,
    settings=CoilOffsetSettings,
    inputs=("coil_phase", "coil_magnitude"),
    outputs=("phase", "magnitude"),
    memory_volumes=3.0,
)
