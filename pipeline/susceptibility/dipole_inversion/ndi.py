"""NDI: nonlinear dipole inversion by descent from zero, regularised by stopping before the streaks grow."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import NotConverged, UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.dipole import AXES
from pipeline.operators.padding import frame_around
from pipeline.susceptibility.dipole_inversion.spectral_least_squares import SpectralDipole

# Bands of the kernel and of the spatial frequency (as a share of the highest along the coarsest axis) whose mean
# amplitudes are compared: streaks fill the first, true structure the second.
_STREAK_BAND = (0.0, 0.085)
_STRUCTURE_BAND = (0.15, 0.30)
_FREQUENCY_BAND = (0.65, 0.95)
_LEAST_ITERATIONS = 3


@dataclass(frozen=True)
class NdiSettings:
    """Settings of NDI."""

    step: float = setting(2.0, "1", "length of a step down the gradient", minimum=0.01, maximum=4.0)
    ridge: float = setting(1e-6, "1", "share of the map that every step takes away", minimum=0.0, maximum=0.1)
    is_accelerated: bool = setting(True, "-", "carry momentum from step to step (Nesterov); plain descent without")
    radians_per_ppm: float = setting(
        6.4, "rad/ppm", "phase of one ppm in the nonlinear data term; 6.4 is 8 ms at 3 T", minimum=0.01, maximum=100.0
    )
    iterations: int = setting(60, "1", "steps at most", minimum=1, maximum=10000)
    streak_limit: float = setting(
        0.6, "1", "stop where the zero cone's amplitude exceeds this multiple of its surroundings'", minimum=0.0
    )
    tolerance: float = setting(2e-3, "1", "stop where a step changes the map by less than this share", minimum=0.0)
    margin: int = setting(8, "voxel", "least padding around the mask", minimum=4, maximum=128)


def nonlinear_descent(
    local_field: Tensor,
    mask: Tensor,
    grid: Grid,
    settings: NdiSettings,
    field_noise: Tensor | None = None,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Descend along ‖W(exp(i s D χ) − exp(i s f))‖² from a map of zeros, and stop early.

    The map lives in k-space, so a step takes one pair of FFTs.

    Parameters
    ----------
    local_field
        Field without background `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`; the result is zero outside.
    grid
        The grid with the direction of B0.
    settings
        Step and stopping rules.
    field_noise
        Standard deviation of the field `(z, y, x)` [ppm]; None trusts every voxel of the mask alike.
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
        The descent diverged: the step is too long.

    Source: Polak 2020, doi:10.1002/nbm.4271; stop by k-space bands: after Milovic 2021, doi:10.1002/mrm.28435;
    momentum: Beck & Teboulle 2009, doi:10.1137/080716542.
    """
    if local_field.shape != mask.shape:
        raise UnusableInput(f"The field has shape {tuple(local_field.shape)} but the mask {tuple(mask.shape)}.")
    frame = frame_around(mask, grid, settings.margin)
    field = frame.embed(torch.where(mask, local_field, 0.0))
    precision = frame.embed(_precision(mask, field_noise, local_field))
    dipole = SpectralDipole.on(frame.grid, field)
    spectrum = _descend(dipole, field, precision, settings, on_iteration)
    return frame.restore(dipole.image(spectrum)) * mask


def _descend(
    dipole: SpectralDipole, field: Tensor, precision: Tensor, settings: NdiSettings, told: OnIteration | None
) -> Tensor:
    """Return the half spectrum of the map where the first stopping rule held."""
    streaks, structure = _band(dipole, _STREAK_BAND), _band(dipole, _STRUCTURE_BAND)
    scale = settings.radians_per_ppm
    precision = precision.div_(scale)
    spectrum = torch.zeros_like(dipole.kernel, dtype=torch.promote_types(field.dtype, torch.complex64))
    ahead, momentum = spectrum.clone(), 1.0
    for number in range(settings.iterations):
        residual = dipole.image(ahead * dipole.kernel).sub_(field).mul_(scale).sin_().mul_(precision)
        slope = torch.fft.rfftn(residual, dim=AXES).mul_(dipole.kernel)
        del residual
        improved = ahead.mul_(1 - settings.step * settings.ridge).sub_(slope, alpha=settings.step)
        del slope
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2 if settings.is_accelerated else 1.0
        change = spectrum.sub_(improved).neg_()
        moved, size = float(torch.view_as_real(change).norm()), float(torch.view_as_real(improved).norm())
        ahead = change.mul_((momentum - 1) / following).add_(improved)
        spectrum, momentum = improved, following
        del change, improved
        if not size < float("inf"):
            raise NotConverged("NDI diverged; choose a shorter step, and check the field and the mask.")
        if told is not None:
            told((number + 1) / settings.iterations)
        if number + 1 >= _LEAST_ITERATIONS and (
            moved <= settings.tolerance * size
            or _amplitude(spectrum, streaks) > settings.streak_limit * _amplitude(spectrum, structure)
        ):
            break
    if told is not None:
        told(1.0)
    return spectrum


def _band(dipole: SpectralDipole, limits: tuple[float, float]) -> Tensor:
    """Return the flat places of the half spectrum in one band of the kernel at high spatial frequency."""
    axes = [
        (torch.fft.rfftfreq if axis == 2 else torch.fft.fftfreq)(size, step, dtype=torch.float64)
        for axis, (size, step) in enumerate(zip(dipole.grid.shape, dipole.grid.voxel_size_mm, strict=True))
    ]
    z, y, x = (axis.square().to(dipole.kernel.device) for axis in axes)
    # The squares of the limits, in the unit of the squared frequency; single planes keep the volume out of memory.
    low, high = ((share / (2 * max(dipole.grid.voxel_size_mm))) ** 2 for share in _FREQUENCY_BAND)
    size = dipole.kernel.abs()
    inside = (size >= limits[0]).logical_and_(size < limits[1])
    for plane, height in zip(inside, z, strict=True):
        squared = height + y[:, None] + x
        plane.logical_and_((squared >= low) & (squared <= high))
    return torch.nonzero(inside.flatten()).flatten()


def _amplitude(spectrum: Tensor, places: Tensor) -> float:
    if places.numel() == 0:
        return 0.0
    return float(spectrum.flatten()[places].abs().mean())


def _precision(mask: Tensor, noise: Tensor | None, like: Tensor) -> Tensor:
    """Return squared weights between 0 and 1, on which the longest stable step rests."""
    if noise is None:
        return mask.to(like.dtype)
    reference = noise[mask].median()
    return torch.where(mask, (reference / noise.clamp_min(1e-9)).clamp_max(1.0), 0.0).square_()


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: NdiSettings) -> dict[str, Tensor]:
    susceptibility = nonlinear_descent(
        artefacts["local_field"],
        artefacts["mask"],
        context.grid,
        settings,
        artefacts.get("field_noise"),
        context.on_iteration,
    )
    return {"susceptibility": susceptibility}


NDI = Method(
    name="ndi",
    citation="Polak 2020, doi:10.1002/nbm.4271",
    run=_run,
    settings=NdiSettings,
    inputs=("local_field", "mask"),
    outputs=("susceptibility",),
    optional_inputs=("field_noise",),
    memory_volumes=8.0,
)
