"""COSMOS: susceptibility from several orientations of the head, which see each other's blind cones."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.dipole import dipole_kernel
from pipeline.operators.fourier import forward_transform, scale_spectrum, transform_over
from pipeline.operators.padding import frame_around
from pipeline.susceptibility.dipole_inversion.spectral_least_squares import SpectralDipole, solve_spectrum

_LEAST_ORIENTATIONS = 3
# Two directions nearer than this are one for the purpose of filling each other's cones.
_LEAST_ANGLE_DEG = 2.0


@dataclass(frozen=True)
class CosmosSettings:
    """Settings of COSMOS."""

    least_sensitivity: float = setting(
        1e-3, "1", "spatial frequencies whose mean squared kernel is below this are left out", minimum=0.0, maximum=0.1
    )
    iterations: int = setting(
        5, "1", "steps that account for the field being known inside the mask only; 0 divides once", minimum=0
    )
    tolerance: float = setting(1e-2, "1", "stop where the residual has fallen to this share", minimum=0.0)
    margin: int = setting(8, "voxel", "least padding around the mask", minimum=4, maximum=128)


def multi_orientation_inversion(
    local_fields: Tensor,
    mask: Tensor,
    directions: Sequence[tuple[float, float, float]],
    grid: Grid,
    settings: CosmosSettings,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Minimise Σ ‖M(D_i χ − f_i)‖² over the orientations i, starting from Σ D_i F_i / Σ D_i² in k-space.

    Parameters
    ----------
    local_fields
        Fields without background, all brought to one grid `(orientation, z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`; the result is zero outside.
    directions
        Unit vector of B0 along `(z, y, x)` for each orientation.
    grid
        The grid; its own direction of B0 is not used.
    settings
        Truncation and number of steps.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Susceptibility `(z, y, x)` [ppm], up to a constant.

    Raises
    ------
    UnusableInput
        Shapes disagree, fewer than three orientations, or directions that are nearly the same.

    Source: Liu 2009, doi:10.1002/mrm.21828.
    """
    if local_fields.dim() != 4 or local_fields.shape[1:] != mask.shape:
        raise UnusableInput(
            f"The local fields have shape {tuple(local_fields.shape)} but the mask {tuple(mask.shape)}; "
            "stack the orientations in front."
        )
    _refuse_poor_directions(directions, local_fields.shape[0])
    frame = frame_around(mask, grid, settings.margin)
    inside = frame.embed(mask)
    grids = [replace(frame.grid, b0_direction=direction) for direction in directions]
    dipole = SpectralDipole.on(grids[0], local_fields)
    kernels = [dipole_kernel(each, dtype=local_fields.dtype, device=local_fields.device) for each in grids[1:]]
    kernels.insert(0, dipole.kernel)
    right_side = torch.zeros_like(kernels[0], dtype=torch.promote_types(local_fields.dtype, torch.complex64))
    for field, kernel in zip(local_fields, kernels, strict=True):
        right_side += scale_spectrum(forward_transform(frame.embed(torch.where(mask, field, 0.0))), kernel)
    spectrum = _solved(dipole, kernels, right_side, inside, settings, on_iteration)
    susceptibility = dipole.image(spectrum)
    return frame.restore(susceptibility) * mask


def _solved(
    dipole: SpectralDipole,
    kernels: list[Tensor],
    right_side: Tensor,
    inside: Tensor,
    settings: CosmosSettings,
    told: OnIteration | None,
) -> Tensor:
    """Return the half spectrum of the map: one division, then conjugate gradients that know the mask."""
    squared = sum((kernel.square() for kernel in kernels[1:]), kernels[0].square())
    seen = squared > settings.least_sensitivity * len(kernels)
    seen[0, 0, 0] = False
    inverse = torch.where(seen, 1 / squared.clamp_min(1e-12), 0.0)
    start = scale_spectrum(right_side.clone(), inverse)
    del squared, seen
    if settings.iterations == 0:
        if told is not None:
            told(1.0)
        return start

    def operator(spectrum: Tensor) -> Tensor:
        total = torch.zeros_like(spectrum)
        for kernel in kernels:
            field = dipole.image(scale_spectrum(spectrum.clone(), kernel)).mul_(inside)
            total += scale_spectrum(transform_over(field), kernel)
            del field
        return total

    solution = solve_spectrum(
        dipole.column, operator, right_side, start, inverse, settings.iterations, settings.tolerance, told
    )
    if told is not None:
        told(1.0)
    return solution


def _refuse_poor_directions(directions: Sequence[tuple[float, float, float]], count: int) -> None:
    if len(directions) != count or count < _LEAST_ORIENTATIONS:
        raise UnusableInput(
            f"COSMOS needs {_LEAST_ORIENTATIONS} orientations or more, each with the direction of B0; it was given "
            f"{count} fields and {len(directions)} directions."
        )
    for number, first in enumerate(directions):
        if not math.isclose(math.hypot(*first), 1.0, abs_tol=1e-3):
            raise UnusableInput(f"The B0 direction {tuple(first)} is not a unit vector; divide it by its length.")
        for second in directions[:number]:
            cosine = abs(sum(a * b for a, b in zip(first, second, strict=True)))
            if math.degrees(math.acos(min(1.0, cosine))) < _LEAST_ANGLE_DEG:
                raise UnusableInput(
                    f"Two orientations have nearly the same B0 direction ({tuple(first)} and {tuple(second)}); "
                    "turn the head by some degrees between scans."
                )


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: CosmosSettings) -> dict[str, Tensor]:
    susceptibility = multi_orientation_inversion(
        artefacts["local_fields"],
        artefacts["mask"],
        context.b0_directions,
        context.grid,
        settings,
        context.on_iteration,
    )
    return {"susceptibility": susceptibility}


COSMOS = Method(
    name="cosmos",
    citation="Liu 2009, doi:10.1002/mrm.21828",
    run=_run,
    settings=CosmosSettings,
    inputs=("local_fields", "mask"),
    outputs=("susceptibility",),
    memory_volumes=10.0,
)
