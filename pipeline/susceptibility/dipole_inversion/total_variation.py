"""Dipole inversion with total variation: noise-weighted data, sharp edges, solved by alternating directions."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.dipole import AXES, dipole_kernel
from pipeline.operators.padding import Frame, frame_around

_LARGEST_WEIGHT = 2.0


@dataclass(frozen=True)
class TotalVariationSettings:
    """Settings of the inversion."""

    regularisation: float = setting(
        2e-4, "ppm·mm", "weight of the total variation against the squared field error", minimum=1e-8
    )
    edge_penalty: float = setting(100.0, "1/(ppm·mm)", "penalty of the split gradient, per regularisation", minimum=1.0)
    iterations: int = setting(50, "1", "alternating steps at most", minimum=1, maximum=1000)
    tolerance: float = setting(5e-3, "1", "stop where a step changes the map by less than this share", minimum=0.0)
    margin: int = setting(16, "voxel", "least padding around the mask", minimum=4, maximum=128)


def total_variation(
    local_field: Tensor,
    mask: Tensor,
    grid: Grid,
    settings: TotalVariationSettings,
    field_noise: Tensor | None = None,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Minimise ½‖W(D χ − f)‖² + λ Σ |∇χ| by the alternating direction method of multipliers.

    Parameters
    ----------
    local_field
        Field without background `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`; outside, nothing is known of the field, and the result is zero.
    grid
        The grid with the direction of B0.
    settings
        Weight, penalty and stopping rule.
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

    Source: Bilgic 2014, doi:10.1002/mrm.25029; weighted data: Milovic 2018, doi:10.1002/mrm.27073.
    """
    if local_field.shape != mask.shape:
        raise UnusableInput(f"The field has shape {tuple(local_field.shape)} but the mask {tuple(mask.shape)}.")
    frame = frame_around(mask, grid, settings.margin)
    field = frame.embed(torch.where(mask, local_field, 0.0))
    precision = frame.embed(_weights(mask, field_noise, local_field).square_())
    susceptibility = _alternate(field, precision, frame, settings, on_iteration)
    return frame.restore(susceptibility) * mask


def _weights(mask: Tensor, noise: Tensor | None, like: Tensor) -> Tensor:
    if noise is None:
        return mask.to(like.dtype)
    reference = noise[mask].median()
    return torch.where(mask, (reference / noise.clamp_min(1e-9)).clamp_max(_LARGEST_WEIGHT), 0.0)


def _alternate(
    field: Tensor, precision: Tensor, frame: Frame, settings: TotalVariationSettings, told: OnIteration | None
) -> Tensor:
    """Alternate between the map (one division in k-space), its shrunken gradient and its weighted field."""
    grid, shape = frame.grid, frame.grid.shape
    penalty = settings.regularisation * settings.edge_penalty
    kernel = dipole_kernel(grid, dtype=field.dtype, device=field.device)
    divisor = penalty * _laplacian_spectrum(grid, field) + kernel.square()
    divisor[0, 0, 0] = 1.0
    edges = field.new_zeros(3, *shape)
    edge_dual, field_dual = torch.zeros_like(edges), torch.zeros_like(field)
    weighted, seen = precision * field, precision * field / (precision + 1)
    susceptibility = torch.zeros_like(field)
    for number in range(settings.iterations):
        spectrum = torch.fft.rfftn(_divergence(edges - edge_dual, grid), dim=AXES).mul_(penalty)
        spectrum += torch.fft.rfftn(seen - field_dual, dim=AXES).mul_(kernel)
        spectrum /= divisor
        spectrum[0, 0, 0] = 0.0
        previous, susceptibility = susceptibility, torch.fft.irfftn(spectrum, s=shape, dim=AXES)
        shifted = _gradient(susceptibility, grid).add_(edge_dual)
        edges = _shrink(shifted, 1 / settings.edge_penalty)
        edge_dual = shifted - edges
        shifted = torch.fft.irfftn(spectrum.mul_(kernel), s=shape, dim=AXES).add_(field_dual)
        seen = (weighted + shifted) / (precision + 1)
        field_dual = shifted - seen
        if told is not None:
            told((number + 1) / settings.iterations)
        change, size = float((susceptibility - previous).norm()), float(susceptibility.norm())
        if change <= settings.tolerance * size:
            break
    return susceptibility


def _gradient(volume: Tensor, grid: Grid) -> Tensor:
    """Return periodic forward differences per mm, `(axis, z, y, x)`; the rim of the frame is empty anyway."""
    return torch.stack([(volume.roll(-1, axis) - volume) / step for axis, step in enumerate(grid.voxel_size_mm)])


def _divergence(edges: Tensor, grid: Grid) -> Tensor:
    """Apply the adjoint of `_gradient`."""
    total = torch.zeros_like(edges[0])
    for axis, step in enumerate(grid.voxel_size_mm):
        total += (edges[axis].roll(1, axis) - edges[axis]) / step
    return total


def _laplacian_spectrum(grid: Grid, like: Tensor) -> Tensor:
    """Return the eigenvalues of the adjoint of `_gradient` times `_gradient` on the half spectrum."""
    total = like.new_zeros(grid.shape[0], grid.shape[1], grid.shape[2] // 2 + 1)
    for axis, (size, step) in enumerate(zip(grid.shape, grid.voxel_size_mm, strict=True)):
        count = size // 2 + 1 if axis == 2 else size
        waves = (2 * torch.sin(torch.pi * torch.arange(count, dtype=torch.float64) / size) / step).square()
        shape = [1, 1, 1]
        shape[axis] = -1
        total += waves.reshape(shape).to(dtype=like.dtype, device=like.device)
    return total


def _shrink(vectors: Tensor, amount: float) -> Tensor:
    """Shorten every gradient by an amount, to zero at most."""
    length = vectors.norm(dim=0)
    return vectors * (1 - amount / length.clamp_min(amount))


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: TotalVariationSettings) -> dict[str, Tensor]:
    susceptibility = total_variation(
        artefacts["local_field"],
        artefacts["mask"],
        context.grid,
        settings,
        artefacts.get("field_noise"),
        context.on_iteration,
    )
    return {"susceptibility": susceptibility}


TOTAL_VARIATION = Method(
    name="total_variation",
    citation="Bilgic 2014, doi:10.1002/mrm.25029; Milovic 2018, doi:10.1002/mrm.27073",
    run=_run,
    settings=TotalVariationSettings,
    inputs=("local_field", "mask"),
    outputs=("susceptibility",),
    optional_inputs=("field_noise",),
)
