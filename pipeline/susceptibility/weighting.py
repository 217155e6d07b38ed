"""Susceptibility-weighted images: a magnitude darkened where phase or susceptibility betrays iron, blood or calcium."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, StepContext, setting
from pipeline.susceptibility.phase_unwrapping.turns import bounding_box, refuse_unusable
from pipeline.susceptibility.smoothing import gaussian, weighted_gaussian

_PROJECTION_HELP = "thickness of the slab along z whose least value each slice of the projection shows"
_SOURCES = ("paramagnetic", "diamagnetic")


@dataclass(frozen=True)
class SwiSettings:
    """Choices of susceptibility-weighted imaging."""

    darken: str = setting(
        "paramagnetic",
        "-",
        "sources to darken: paramagnetic ones have positive phase in veins along B0, diamagnetic ones negative",
        choices=_SOURCES,
    )
    multiplications: int = setting(
        4, "1", "times that the magnitude is multiplied with the phase mask", minimum=1, maximum=16
    )
    high_pass_mm: float = setting(4.0, "mm", "standard deviation of the smooth phase that is taken off", minimum=0.1)
    reference_echo_time: float = setting(
        0.0, "s", "echo time to which the phase of all echoes is brought; 0 takes the last echo's", minimum=0.0
    )
    projection_mm: float = setting(8.0, "mm", _PROJECTION_HELP, minimum=0.0)


@dataclass(frozen=True)
class SmwiSettings:
    """Choices of susceptibility map-weighted imaging."""

    darken: str = setting("paramagnetic", "-", "sources to darken", choices=_SOURCES)
    threshold: float = setting(1.0, "ppm", "susceptibility at which the image is black", minimum=1e-3)
    multiplications: int = setting(
        4, "1", "times that the magnitude is multiplied with the mask", minimum=1, maximum=16
    )
    projection_mm: float = setting(8.0, "mm", _PROJECTION_HELP, minimum=0.0)


@dataclass(frozen=True)
class TrueSwiSettings:
    """Choices of true susceptibility-weighted imaging."""

    lower_threshold: float = setting(0.0, "ppm", "susceptibility up to which nothing is darkened")
    upper_threshold: float = setting(0.45, "ppm", "susceptibility from which on the image is black")
    multiplications: int = setting(
        2, "1", "times that the magnitude is multiplied with the mask", minimum=1, maximum=16
    )
    projection_mm: float = setting(8.0, "mm", _PROJECTION_HELP, minimum=0.0)


def high_pass_phase(phase: Tensor, magnitude: Tensor, mask: Tensor, grid: Grid, sigma_mm: float) -> Tensor:
    """Take the smooth part off a phase, wrapped or not.

    Parameters
    ----------
    phase
        Phase [rad], `(z, y, x)`, of which whole turns do not matter.
    magnitude
        Magnitude [arbitrary], `(z, y, x)`.
    mask
        Bool `(z, y, x)`; voxels outside it take no part.
    grid
        Gives the voxel size.
    sigma_mm
        Standard deviation of the smooth part [mm].

    Returns
    -------
        Phase [rad] within ±π, `(z, y, x)`: the angle between the signal and its Gaussian average.

    Source: Haacke 2004, doi:10.1002/mrm.20198 (there with a central window of k-space).
    """
    weight = magnitude * mask
    real, imaginary = weight * phase.cos(), weight * phase.sin()
    smooth_real, smooth_imaginary = gaussian(real, sigma_mm, grid), gaussian(imaginary, sigma_mm, grid)
    across = imaginary * smooth_real - real * smooth_imaginary
    along = real * smooth_real + imaginary * smooth_imaginary
    return torch.atan2(across, along)


def swi(
    phase: Tensor,
    magnitude: Tensor,
    mask: Tensor,
    echo_times_s: Sequence[float],
    grid: Grid,
    settings: SwiSettings | None = None,
    *,
    is_unwrapped: bool = False,
) -> Tensor:
    """Multiply the mean magnitude several times with a mask made of the high-pass filtered phase.

    Parameters
    ----------
    phase
        Phase [rad], `(echo, z, y, x)`, positive where the field is higher.
    magnitude
        Magnitude [arbitrary], `(echo, z, y, x)`.
    mask
        Bool `(z, y, x)`; the result is zero outside.
    echo_times_s
        Echo times [s].
    grid
        Gives the voxel size.
    settings
        Filter and mask.
    is_unwrapped
        The phase is free of wraps, so that steep fields beside air can be smoothed without loss of signal.

    Returns
    -------
        Weighted image in the unit of the magnitude, `(z, y, x)`.

    Raises
    ------
    UnusableInput
        Shapes or counts disagree or the mask is empty.

    Source: Haacke 2004, doi:10.1002/mrm.20198.
    """
    settings = settings or SwiSettings()
    refuse_unusable(phase, magnitude, mask, echo_times_s)
    box = bounding_box(mask)
    inside = mask[box]
    reference = settings.reference_echo_time or echo_times_s[-1]
    slope, total = torch.zeros_like(phase[0][box]), torch.zeros_like(phase[0][box])
    for angle, strength, time in zip(phase, magnitude, echo_times_s, strict=True):
        high_pass = _high_pass_unwrapped if is_unwrapped else high_pass_phase
        fine = high_pass(angle[box], strength[box], inside, grid, settings.high_pass_mm)
        # The phase of an echo, brought to another time, is as precise as magnitude times echo time.
        weight = (strength[box] * time).square_()
        slope.addcmul_(weight, fine, value=reference / time)
        total += weight
    angle = slope.div_(total.clamp_min_(torch.finfo(total.dtype).tiny))
    sign = 1.0 if settings.darken == "paramagnetic" else -1.0
    darkness = torch.zeros_like(phase[0])
    darkness[box] = angle.mul_(sign / math.pi).clamp_(0, 1)
    return _darkened(magnitude, mask, darkness, settings.multiplications)


def map_weighted(
    magnitude: Tensor, susceptibility: Tensor, mask: Tensor, lower: float, upper: float, multiplications: int
) -> Tensor:
    """Multiply the mean magnitude several times with a mask that falls from 1 to 0 between two susceptibilities.

    Parameters
    ----------
    magnitude
        Magnitude [arbitrary], `(echo, z, y, x)` or `(z, y, x)`.
    susceptibility
        Susceptibility [ppm], `(z, y, x)`.
    mask
        Bool `(z, y, x)`; the result is zero outside.
    lower
        Susceptibility [ppm] where the mask is 1.
    upper
        Susceptibility [ppm] where the mask is 0; below `lower` it darkens what is more negative.
    multiplications
        How many times.

    Returns
    -------
        Weighted image in the unit of the magnitude, `(z, y, x)`.

    Raises
    ------
    UnusableInput
        Shapes disagree or the thresholds are equal.

    Source: Gho 2014, doi:10.1002/mrm.24920; Liu 2014, J Magn Reson Imaging 40:698.
    """
    if magnitude.shape[-3:] != mask.shape or susceptibility.shape != mask.shape:
        raise UnusableInput(
            f"Magnitude {tuple(magnitude.shape)}, susceptibility {tuple(susceptibility.shape)} and mask "
            f"{tuple(mask.shape)} must lie on one grid."
        )
    if lower == upper:
        raise UnusableInput(f"The two thresholds are both {lower} ppm; set the upper one higher.")
    darkness = ((susceptibility - lower) / (upper - lower)).clamp_(0, 1)
    return _darkened(magnitude, mask, darkness, multiplications)


def minimum_intensity_projection(image: Tensor, mask: Tensor, grid: Grid, thickness_mm: float) -> Tensor:
    """Show in each slice the least value of a slab around it, so that veins appear in one piece.

    Parameters
    ----------
    image
        Any image, `(z, y, x)`.
    mask
        Bool `(z, y, x)`; voxels outside it are passed over, and the result is zero there.
    grid
        Gives the distance of the slices.
    thickness_mm
        Thickness of the slab along z [mm], rounded to an odd number of slices.

    Returns
    -------
        Projection in the unit of the image, `(z, y, x)`.

    Source: Haacke 2004, doi:10.1002/mrm.20198.
    """
    half = round((thickness_mm / grid.voxel_size_mm[0] - 1) / 2) if thickness_mm > 0 else 0
    half = min(max(half, 0), image.shape[0] - 1)
    brightness = torch.where(mask, -image, -torch.inf)
    projected = brightness.clone()
    for step in range(1, half + 1):
        torch.maximum(projected[step:], brightness[:-step], out=projected[step:])
        torch.maximum(projected[:-step], brightness[step:], out=projected[:-step])
    return torch.where(mask, -projected, 0)


def _high_pass_unwrapped(phase: Tensor, magnitude: Tensor, mask: Tensor, grid: Grid, sigma_mm: float) -> Tensor:
    """Take the smooth part off an unwrapped phase `(z, y, x)`, in two rounds.

    At the rim of the mask the average of a slope is taken from one side only; the second round takes off most of that.
    """
    fine, weight = torch.where(mask, phase, 0), magnitude * mask
    for _ in range(2):
        fine = torch.where(mask, fine - weighted_gaussian(fine, weight, sigma_mm, grid), 0)
    return fine


def _darkened(magnitude: Tensor, mask: Tensor, darkness: Tensor, multiplications: int) -> Tensor:
    mean = magnitude.mean(0) if magnitude.ndim == 4 else magnitude
    return torch.where(mask, mean * (1 - darkness).pow_(multiplications), 0)


def _with_projection(image: Tensor, mask: Tensor, grid: Grid, thickness_mm: float) -> dict[str, Tensor]:
    projection = minimum_intensity_projection(image, mask, grid, thickness_mm)
    return {"weighted_image": image, "minimum_intensity_projection": projection}


def _run_swi(artefacts: Mapping[str, Tensor], context: StepContext, settings: SwiSettings) -> dict[str, Tensor]:
    mask = artefacts["mask"]
    unwrapped = artefacts.get("unwrapped_phase")
    phase = artefacts["phase"] if unwrapped is None else unwrapped
    image = swi(
        phase,
        artefacts["magnitude"],
        mask,
        context.echo_times_s,
        context.grid,
        settings,
        is_unwrapped=unwrapped is not None,
    )
    return _with_projection(image, mask, context.grid, settings.projection_mm)


def _run_smwi(artefacts: Mapping[str, Tensor], context: StepContext, settings: SmwiSettings) -> dict[str, Tensor]:
    mask = artefacts["mask"]
    black = settings.threshold if settings.darken == "paramagnetic" else -settings.threshold
    image = map_weighted(
        artefacts["magnitude"], artefacts["susceptibility"], mask, 0.0, black, settings.multiplications
    )
    return _with_projection(image, mask, context.grid, settings.projection_mm)


def _run_true_swi(
    artefacts: Mapping[str, Tensor], context: StepContext, settings: TrueSwiSettings
) -> dict[str, Tensor]:
    mask = artefacts["mask"]
    image = map_weighted(
        artefacts["magnitude"],
        artefacts["susceptibility"],
        mask,
        settings.lower_threshold,
        settings.upper_threshold,
        settings.multiplications,
    )
    return _with_projection(image, mask, context.grid, settings.projection_mm)


_OUTPUTS = ("weighted_image", "minimum_intensity_projection")

SWI = Method(
    name="swi",
    citation="Haacke 2004, doi:10.1002/mrm.20198",
    run=_run_swi,
    settings=SwiSettings,
    inputs=("phase", "magnitude", "mask"),
    outputs=_OUTPUTS,
    optional_inputs=("unwrapped_phase",),
    memory_volumes=5.5,
)

SMWI = Method(
    name="smwi",
    citation="Gho 2014, doi:10.1002/mrm.24920",
    run=_run_smwi,
    settings=SmwiSettings,
    inputs=("magnitude", "mask", "susceptibility"),
    outputs=_OUTPUTS,
    memory_volumes=3.5,
)

TRUE_SWI = Method(
    name="true_swi",
    citation="Liu 2014, J Magn Reson Imaging 40:698",
    run=_run_true_swi,
    settings=TrueSwiSettings,
    inputs=("magnitude", "mask", "susceptibility"),
    outputs=_OUTPUTS,
    memory_volumes=3.5,
)
