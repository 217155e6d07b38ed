"""Random fields on a grid: smooth, of one wavelength, rough at every scale, and sparse; all of unit variance."""

import math

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.operators.dipole import AXES
from pipeline.training.datasets.chance import Chance

_SPLINE_VARIANCE = 151 / 315
"""Mean of the summed squares of the cubic B-spline's weights at a point."""


def axis_positions_mm(grid: Grid, device: torch.device) -> list[Tensor]:
    """Return the positions along each axis [mm], from the middle of the grid."""
    return [
        (torch.arange(size, device=device, dtype=torch.float32) - (size - 1) / 2) * step
        for size, step in zip(grid.shape, grid.voxel_size_mm, strict=True)
    ]


def smooth_field(grid: Grid, spacing_mm: float, chance: Chance) -> Tensor:
    """Return a cubic spline through random knots.

    Parameters
    ----------
    grid
        Where the field is wanted.
    spacing_mm
        Distance of the knots [mm].
    chance
        What draws the knots.

    Returns
    -------
    Shape `(z, y, x)`, unit variance over many draws.
    """
    weights = [_spline_weights(positions, spacing_mm, chance) for positions in axis_positions_mm(grid, chance.device)]
    knots = chance.noise(*(matrix.shape[1] for matrix in weights))
    return _spread(knots, weights).div_(_SPLINE_VARIANCE**1.5)


def sparse_field(grid: Grid, spacing_mm: float, share: float, chance: Chance) -> Tensor:
    """Return scattered soft blobs: a spline of which only a share of the knots is not zero."""
    weights = [_spline_weights(positions, spacing_mm, chance) for positions in axis_positions_mm(grid, chance.device)]
    shape = [matrix.shape[1] for matrix in weights]
    is_set = chance.noise(*shape).abs() < math.sqrt(2) * float(torch.erfinv(torch.tensor(share)))
    knots = torch.where(is_set, chance.noise(*shape), 0.0) / math.sqrt(share)
    return _spread(knots, weights).div_(_SPLINE_VARIANCE**1.5)


def wave_field(grid: Grid, wavelength_mm: float, chance: Chance, n_waves: int = 40) -> Tensor:
    """Return the sum of plane waves of one wavelength and random directions and phases.

    Its zero levels are winding sheets about half a wavelength apart, as the folds of a cortex are.
    """
    directions = torch.tensor([chance.direction() for _ in range(n_waves)], device=chance.device)
    phases = torch.tensor([chance.uniform(0.0, 2 * math.pi) for _ in range(n_waves)], device=chance.device)
    wave_numbers = directions * (2 * math.pi / wavelength_mm)
    z, y, x = (
        torch.outer(positions, wave_numbers[:, axis])
        for axis, positions in enumerate(axis_positions_mm(grid, chance.device))
    )
    plane = (z[:, None, :] + y[None, :, :] + phases).reshape(-1, n_waves)
    # cos(a + b) = cos a cos b − sin a sin b makes one matrix product of all waves.
    field = torch.cat((plane.cos(), -plane.sin()), 1) @ torch.cat((x.cos(), x.sin()), 1).T
    return field.reshape(grid.shape).mul_(math.sqrt(2 / n_waves))


def rough_field(grid: Grid, exponent: float, chance: Chance, coarsest_mm: float = 80.0) -> Tensor:
    """Return noise whose power falls with spatial frequency as 1/f to an exponent; it repeats itself beyond the grid.

    Below the frequency of `coarsest_mm` the power stays even, so that no draw is one slope from end to end.
    """
    spectrum = torch.fft.rfftn(chance.noise(*grid.shape), dim=AXES)
    squared = None
    for axis, (size, step) in enumerate(zip(grid.shape, grid.voxel_size_mm, strict=True)):
        frequencies = (torch.fft.rfftfreq if axis == 2 else torch.fft.fftfreq)(size, step, device=chance.device)
        part = frequencies.square().reshape([-1 if other == axis else 1 for other in range(3)])
        squared = part if squared is None else squared + part
    assert squared is not None
    spectrum *= (squared + coarsest_mm**-2).pow_(-exponent / 4)
    spectrum[0, 0, 0] = 0.0
    field = torch.fft.irfftn(spectrum, s=grid.shape, dim=AXES)
    return field.div_(field.std().clamp_min(1e-12))


def enlarged(coarse: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Return volumes `(channel, z, y, x)` interpolated linearly to another shape, corner on corner."""
    weights = []
    for size, larger in zip(coarse.shape[1:], shape, strict=True):
        at = torch.linspace(0.0, size - 1.0, larger, device=coarse.device)
        knots = torch.arange(size, device=coarse.device)
        weights.append((1 - (at[:, None] - knots).abs()).clamp_min_(0))
    n_channels, _, height, width = coarse.shape
    fine = (weights[0] @ coarse.flatten(2)).reshape(n_channels, shape[0], height, width)
    fine = weights[1] @ fine
    return (fine.reshape(-1, width) @ weights[2].T).reshape(n_channels, *shape)


def _spline_weights(positions: Tensor, spacing: float, chance: Chance) -> Tensor:
    """Return the weights `(position, knot)` of cubic B-splines whose knots begin at a random phase."""
    scaled = (positions - positions[0]) / spacing + 1 + chance.uniform(0.0, 1.0)
    knots = torch.arange(int(scaled[-1]) + 3, device=positions.device)
    distance = (scaled[:, None] - knots).abs()
    return torch.where(distance < 1, 2 / 3 - distance**2 + distance**3 / 2, (2 - distance).clamp_min(0) ** 3 / 6)


def _spread(knots: Tensor, weights: list[Tensor]) -> Tensor:
    """Return the separable product of knots `(z, y, x)` with one matrix for each axis."""
    depth, height, width = (matrix.shape[0] for matrix in weights)
    field = (weights[0] @ knots.flatten(1)).reshape(depth, knots.shape[1], knots.shape[2])
    field = weights[1] @ field
    return (field.reshape(depth * height, -1) @ weights[2].T).reshape(depth, height, width)
