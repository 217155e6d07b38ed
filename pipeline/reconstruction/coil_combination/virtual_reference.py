"""Combine coils relative to a virtual reference coil, the sum of all brought to one phase at the centre."""

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

_REFERENCE_SHARE = 0.3


@dataclass(frozen=True)
class VirtualReferenceSettings:
    """Choices of the virtual reference coil."""

    smoothing_mm: float = setting(
        6.0, "mm", "standard deviation of the Gaussian that smooths each coil's sensitivity", minimum=1.0, maximum=50.0
    )
    reference_mm: float = setting(
        15.0, "mm", "the coils are brought to one phase within this distance of the centre", minimum=1.0, maximum=100.0
    )


def virtual_reference(
    coil_phase: Tensor,
    coil_magnitude: Tensor,
    echo_times_s: Sequence[float],
    grid: Grid,
    settings: VirtualReferenceSettings | None = None,
    on_iteration: OnIteration | None = None,
) -> tuple[Tensor, Tensor]:
    """Bring the coils to one phase at the centre, take their sum as reference, and sum them relative to it.

    Parameters
    ----------
    coil_phase, coil_magnitude
        Wrapped phase [rad] and magnitude [arbitrary], `(echo, coil, z, y, x)`; one echo is enough.
    echo_times_s
        Echo times [s].
    grid
        The grid of the images.
    settings
        Place of the reference and smoothing of the sensitivities.
    on_iteration
        Told the fraction done.

    Returns
    -------
        Wrapped phase [rad] and magnitude [arbitrary], both `(echo, z, y, x)`. The phase still holds the smooth offset
        of the virtual coil, the same in all echoes.

    Raises
    ------
    UnusableInput
        Where shapes disagree or there is no signal.

    Notes
    -----
    The phases at the centre come from the strongest pattern that the coils share there (the first eigenvector of
    their correlation), which is less noisy than those of a single voxel.

    References
    ----------
    Parker 2014, doi:10.1002/mrm.24932.
    """
    settings = settings or VirtualReferenceSettings()
    refuse_unusable(coil_phase, coil_magnitude, len(echo_times_s), grid)
    tell = on_iteration or tell_nobody
    shift = _centre_phases(coil_phase[0], coil_magnitude[0], grid, settings.reference_mm)
    reference = CommonPhase.of(_reference(coil_phase[0], coil_magnitude[0], shift, tell))
    blocks = sensitivity_grid(grid, settings.smoothing_mm)

    def of_coil(coil: int) -> tuple[Tensor, Tensor]:
        return reference.collect(blocks, coil_phase[0, coil], coil_magnitude[0, coil])

    sensitivity = SmoothSensitivity(blocks, settings.smoothing_mm, of_coil)
    return combine(
        coil_phase, coil_magnitude, sensitivity, lambda share: tell(_REFERENCE_SHARE + (1 - _REFERENCE_SHARE) * share)
    )


def _reference(phase: Tensor, magnitude: Tensor, shift: Tensor, tell: OnIteration) -> Tensor:
    """Return the phase [rad] of the sum of the coils `(coil, z, y, x)` less their phases at the centre, `(z, y, x)`."""
    real, imaginary = torch.zeros_like(phase[0]), torch.zeros_like(phase[0])
    for coil in range(phase.shape[0]):
        angle = phase[coil] - shift[coil]
        real.addcmul_(torch.cos(angle), magnitude[coil])
        imaginary.addcmul_(angle.sin_(), magnitude[coil])
        tell(0.5 * _REFERENCE_SHARE * (coil + 1) / phase.shape[0])
    return torch.atan2(imaginary, real, out=real)


def _centre_phases(phase: Tensor, magnitude: Tensor, grid: Grid, radius_mm: float) -> Tensor:
    """Return the phase [rad] of each coil around the centre of the signal, `(coil,)`."""
    total = torch.zeros_like(magnitude[0])
    for image in magnitude:
        total.addcmul_(image, image)
    distance2 = torch.zeros_like(total)
    for axis, (length, size) in enumerate(zip(grid.shape, grid.voxel_size_mm, strict=True)):
        shape = [1, 1, 1]
        shape[axis] = -1
        place = (torch.arange(length, dtype=total.dtype, device=total.device) * size).reshape(shape)
        distance2 += (place - (total * place).sum() / total.sum()).square()
    # A hollow object has no signal at its centre; the nearest signal serves then.
    nearest = float(distance2[total > 0.01 * total.amax()].amin().sqrt())
    near = distance2 <= (radius_mm + nearest) ** 2
    images = torch.polar(magnitude[:, near], phase[:, near])
    vectors = torch.linalg.eigh(images @ images.conj().T).eigenvectors
    return vectors[:, -1].angle()


def run(inputs: Mapping[str, Tensor], context: StepContext, settings: VirtualReferenceSettings) -> dict[str, Tensor]:
    """Combine the step's coils; see `virtual_reference`."""
    phase, magnitude = virtual_reference(
        inputs["coil_phase"],
        inputs["coil_magnitude"],
        context.echo_times_s,
        context.grid,
        settings,
        context.on_iteration,
    )
    return {"phase": phase, "magnitude": magnitude}


VIRTUAL_REFERENCE = Method(
    name="virtual_reference",
    citation="Parker 2014, doi:10.1002/mrm.24932",
    run=run,
    settings=VirtualReferenceSettings,
    inputs=("coil_phase", "coil_magnitude"),
    outputs=("phase", "magnitude"),
    memory_volumes=3.0,
)
