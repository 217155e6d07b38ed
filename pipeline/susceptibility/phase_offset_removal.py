"""Remove the transceive phase offset that all echoes share (MCPC-3D-S and ASPIRE for combined channels)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import SingleEcho, UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, NoSettings, StepContext, setting
from pipeline.susceptibility.coarse_grid import CoarseGrid
from pipeline.susceptibility.phase_unwrapping import romeo
from pipeline.susceptibility.phase_unwrapping.turns import TURN

# Blocks of this size still hold less than half a turn between them beside the sinuses.
_LARGEST_BLOCK_MM = 2.0
_WHOLE_WITHIN = 0.02


@dataclass(frozen=True)
class OffsetSettings:
    """Choices of the offset removal."""

    smoothing_mm: float = setting(
        6.0, "mm", "standard deviation of the Gaussian that smooths the offset", minimum=0.0, maximum=50.0
    )
    signal_fraction: float = setting(
        0.05, "1", "voxels below this part of the bright signal do not shape the offset", minimum=0.0, maximum=0.9
    )


@dataclass(frozen=True)
class EchoPair:
    """Two echoes and the factor by which their phase difference is taken back to reach echo time zero."""

    first: int
    second: int
    growth: float

    @property
    def needs_unwrapping(self) -> bool:
        """Say whether whole turns of the difference would not stay whole turns."""
        return self.growth != round(self.growth)


def first_echo_pair(echo_times_s: Sequence[float]) -> EchoPair:
    """Return the first two echoes, as MCPC-3D-S takes them.

    Raises
    ------
    SingleEcho
        Where there is one echo only.
    """
    if len(echo_times_s) < 2:
        raise SingleEcho("MCPC-3D-S needs two echoes or more; choose phase offset removal `none` for one echo.")
    return EchoPair(0, 1, echo_times_s[0] / (echo_times_s[1] - echo_times_s[0]))


def whole_echo_pair(echo_times_s: Sequence[float]) -> EchoPair:
    """Return the echoes i and j with TEᵢ = m (TEⱼ − TEᵢ) for the smallest whole m, as ASPIRE needs them.

    Raises
    ------
    SingleEcho
        Where there is one echo only.
    UnusableInput
        Where no two echoes fulfil it.
    """
    if len(echo_times_s) < 2:
        raise SingleEcho("ASPIRE needs two echoes or more; choose phase offset removal `none` for one echo.")
    found = []
    for second in range(1, len(echo_times_s)):
        for first in range(second):
            growth = echo_times_s[first] / (echo_times_s[second] - echo_times_s[first])
            if round(growth) >= 1 and abs(growth - round(growth)) < _WHOLE_WITHIN:
                found.append(EchoPair(first, second, float(round(growth))))
    if not found:
        times = ", ".join(f"{1e3 * time:g}" for time in echo_times_s)
        raise UnusableInput(
            f"ASPIRE needs two echoes with m·TE(j) = (m+1)·TE(i), like 5 and 10 ms; the echo times {times} ms hold no "
            "such pair. Choose mcpc_3d_s, which takes any echo times."
        )
    return min(found, key=lambda pair: (pair.growth, pair.first))


def mcpc_3d_s(
    phase: Tensor,
    magnitude: Tensor,
    echo_times_s: Sequence[float],
    grid: Grid,
    settings: OffsetSettings | None = None,
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
    That constant is harmonic and does not reach the susceptibility. The offset is smooth, so it is found on blocks of
    voxels up to 2 mm, whose signals are averaged before their phase is taken.

    References
    ----------
    Eckstein 2018, doi:10.1002/mrm.26963 (section "MCPC-3D-S").
    """
    _refuse_other_shapes(phase, magnitude, len(echo_times_s), grid)
    offset = _offset(phase, magnitude, first_echo_pair(echo_times_s), grid, settings or OffsetSettings(), mask)
    return subtract_phase(phase, offset), offset


def aspire(
    phase: Tensor,
    magnitude: Tensor,
    echo_times_s: Sequence[float],
    grid: Grid,
    settings: OffsetSettings | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Estimate the phase at echo time zero without unwrapping and take it from every echo.

    Two echoes with TEᵢ = m (TEⱼ − TEᵢ) for a whole m give the offset φᵢ − m (φⱼ − φᵢ), in which turns stay whole.
    Parameters and results are those of `mcpc_3d_s`.

    Raises
    ------
    SingleEcho
        Where there is one echo only.
    UnusableInput
        Where no two echoes fulfil the condition, shapes disagree or no voxel has signal.

    References
    ----------
    Eckstein 2018, doi:10.1002/mrm.26963.
    """
    _refuse_other_shapes(phase, magnitude, len(echo_times_s), grid)
    offset = _offset(phase, magnitude, whole_echo_pair(echo_times_s), grid, settings or OffsetSettings(), mask)
    return subtract_phase(phase, offset), offset


def block_size(smoothing_mm: float) -> float:
    """Return the largest block [mm] on which an offset may be found that is smoothed over a distance [mm] later."""
    return min(_LARGEST_BLOCK_MM, smoothing_mm / 2)


def collect_signal(coarse: CoarseGrid, amplitude: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Sum the complex signal of amplitude and angle [rad], both `(z, y, x)`, over blocks; real and imaginary part."""
    # Real arithmetic: torch's complex polar() costs ten times as much as sine and cosine on a CPU.
    return coarse.collect(torch.cos(angle).mul_(amplitude)), coarse.collect(torch.sin(angle).mul_(amplitude))


def phase_until_first_echo(product: tuple[Tensor, Tensor], inside: Tensor, pair: EchoPair) -> Tensor:
    """Return the phase [rad] that the field builds up until the pair's first echo.

    Parameters
    ----------
    product
        Real and imaginary part of the second echo times the conjugate of the first, `(z, y, x)` each.
    inside
        Where there is signal, bool `(z, y, x)`; elsewhere the result may be anything.
    pair
        The echoes.
    """
    difference = torch.atan2(product[1], product[0])
    if pair.needs_unwrapping:
        strength = torch.hypot(*product).sqrt_()
        difference = romeo.unwrap(difference[None], strength[None], inside, (1.0,))[0]
    return difference.mul_(pair.growth)


def subtract_phase(phase: Tensor, offset: Tensor) -> Tensor:
    """Return phase [rad] `(echo, z, y, x)` less an offset [rad] `(z, y, x)`, brought into −π … π."""
    corrected = torch.empty_like(phase)
    for given, result in zip(phase, corrected, strict=True):
        torch.sub(given, offset, out=result)
        result.sub_((result / TURN).round_(), alpha=TURN)
    return corrected


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
    n_present = int(torch.count_nonzero(magnitude > 0))
    if n_present == 0:
        raise UnusableInput("The magnitude is zero everywhere; there is no signal to map.")
    place = magnitude.numel() - n_present + max(1, int(0.98 * n_present)) - 1
    return magnitude > fraction * _in_order(magnitude, place)


def _in_order(values: Tensor, place: int) -> float:
    """Return what stands at a place, from 0, once all values are sorted."""
    # quantile() refuses more than 2^24 values, and kthvalue() keeps three copies of them.
    if values.is_cuda:
        return float(values.flatten().kthvalue(place + 1).values)
    ordered = values.detach().flatten().numpy().copy()
    ordered.partition(place)
    return float(ordered[place])


def _refuse_other_shapes(phase: Tensor, magnitude: Tensor, n_echoes: int, grid: Grid) -> None:
    if phase.shape != magnitude.shape or tuple(phase.shape) != (n_echoes, *grid.shape):
        raise UnusableInput(
            f"Phase {tuple(phase.shape)} and magnitude {tuple(magnitude.shape)} must both be {(n_echoes, *grid.shape)}."
        )


def _offset(
    phase: Tensor, magnitude: Tensor, pair: EchoPair, grid: Grid, settings: OffsetSettings, mask: Tensor | None
) -> Tensor:
    """Return the smooth phase [rad] at echo time zero, `(z, y, x)`."""
    coarse = CoarseGrid.of(grid, block_size(settings.smoothing_mm))
    first, second = pair.first, pair.second
    amplitude = magnitude[first] if mask is None else magnitude[first] * mask
    early = collect_signal(coarse, amplitude, phase[first])
    product = collect_signal(coarse, amplitude * magnitude[second], phase[second] - phase[first])
    strength = torch.hypot(*product)
    inside = signal_mask(strength.sqrt(), settings.signal_fraction) if mask is None else strength > 0
    if not bool(inside.any()):
        raise UnusableInput("The magnitude is zero everywhere in the mask; there is no signal to map.")
    at_zero = torch.atan2(early[1], early[0]).sub_(phase_until_first_echo(product, inside, pair))
    strength.mul_(inside)
    imaginary = coarse.smooth(torch.sin(at_zero).mul_(strength), settings.smoothing_mm)
    return torch.atan2(imaginary, coarse.smooth(at_zero.cos_().mul_(strength), settings.smoothing_mm))


def run_mcpc_3d_s(inputs: Mapping[str, Tensor], context: StepContext, settings: OffsetSettings) -> dict[str, Tensor]:
    """Remove the offset from the step's phase; see `mcpc_3d_s`."""
    corrected, _ = mcpc_3d_s(
        inputs["phase"], inputs["magnitude"], context.echo_times_s, context.grid, settings, inputs.get("mask")
    )
    return {"phase": corrected}


def run_aspire(inputs: Mapping[str, Tensor], context: StepContext, settings: OffsetSettings) -> dict[str, Tensor]:
    """Remove the offset from the step's phase; see `aspire`."""
    corrected, _ = aspire(
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
    settings=OffsetSettings,
    inputs=("phase", "magnitude"),
    optional_inputs=("mask",),
    outputs=("phase",),
    memory_volumes=6.0,
)

ASPIRE = Method(
    name="aspire",
    citation="Eckstein 2018, doi:10.1002/mrm.26963",
    run=run_aspire,
    settings=OffsetSettings,
    inputs=("phase", "magnitude"),
    optional_inputs=("mask",),
    outputs=("phase",),
    memory_volumes=6.0,
)

NONE = Method(
    name="none",
    citation="the phase as it is; for one echo, whose offset cannot be known",
    run=run_none,
    settings=NoSettings,
    inputs=("phase",),
    outputs=("phase",),
    memory_volumes=0.5,
)
