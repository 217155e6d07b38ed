"""What goes wrong between truth and measured field: the mask, the noise, lost signal and left-over background."""

import math

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.training.datasets.canvas import Scene
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.fields import axis_positions_mm, smooth_field
from pipeline.training.datasets.recipe import DataRecipe

_RADIANS_PER_PPM_AND_SECOND = 2 * math.pi * 42.577 * 3.0
"""Phase that a field of 1 ppm makes in a second at 3 T."""
_DECAY_PER_PPM_AND_SECOND = 300.0
"""Dephasing that 1 ppm of susceptibility causes at 3 T [1/s]."""
_FAINTEST = 0.03
"""Least signal, as a share of the median: below this an image holds only noise."""
_LARGEST_NOISE_PPM = 0.12
"""A phase that is pure noise between −π and π, as a field at a late echo."""
_LEAST_MASK_SHARE = 0.05


def support_and_mask(level: Tensor, grid: Grid, recipe: DataRecipe, chance: Chance) -> tuple[Tensor, Tensor]:
    """Return where the object is and where a masking step says that it is, each bool `(z, y, x)`.

    The two surfaces are up to `mask_error_voxels` apart; the error varies slowly along the surface.
    """
    support = level < 0
    if float(support.float().mean()) < _LEAST_MASK_SHARE:
        support = torch.ones_like(support)
        return support, support
    if not chance.happens(recipe.mask_error_share) or bool(support.all()):
        return support, support
    edge = math.prod(grid.voxel_size_mm) ** (1 / 3)
    extent = min(size * step for size, step in zip(grid.shape, grid.voxel_size_mm, strict=True))
    offset = smooth_field(grid, extent / 4, chance).add_(chance.uniform(-1.0, 1.0))
    largest = recipe.mask_error_voxels * edge
    mask = level < offset.mul_(largest / 2).clamp_(-largest, largest)
    too_little = float(mask.float().mean()) < _LEAST_MASK_SHARE
    return support, support if too_little else mask


def magnitude_and_noise(
    scene: Scene, support: Tensor, mask: Tensor, grid: Grid, recipe: DataRecipe, chance: Chance
) -> tuple[Tensor, Tensor]:
    """Return one magnitude image [1] and the noise of the field that follows from it [ppm], zero outside the mask."""
    echo_time_s = chance.uniform(0.010, 0.030)
    decay = scene.susceptibility.abs().mul_(-_DECAY_PER_PPM_AND_SECOND * echo_time_s).exp_()
    extent = min(size * step for size, step in zip(grid.shape, grid.voxel_size_mm, strict=True))
    shading = smooth_field(grid, extent, chance).mul_(chance.uniform(0.0, 0.35)).exp_()
    magnitude = decay.mul_(scene.signal).mul_(shading)
    magnitude = torch.where(support, magnitude, chance.uniform(0.05, 0.4) * magnitude)
    magnitude /= _thinned_median(magnitude, mask).clamp_min(1e-6)
    magnitude.clamp_min_(_FAINTEST)
    median_noise = 1e-3 * chance.log_uniform(*recipe.noise_ppb)
    field_noise = (median_noise / magnitude).clamp_max_(_LARGEST_NOISE_PPM).mul_(mask)
    # One echo's phase noise is 1/SNR; the same SNR is seen in the image.
    image_noise = median_noise * _RADIANS_PER_PPM_AND_SECOND * echo_time_s
    magnitude.add_(chance.noise(*grid.shape), alpha=image_noise).abs_().add_(1e-6)
    return magnitude, field_noise


def outliers(field_noise: Tensor, mask: Tensor, chance: Chance) -> Tensor:
    """Return field errors [ppm] of one turn of the phase in some of the voxels that hold almost no signal."""
    median = _thinned_median(field_noise, mask)
    is_faint = (field_noise > 5 * median) & mask
    turn_ppm = 2 * math.pi / (_RADIANS_PER_PPM_AND_SECOND * chance.uniform(0.010, 0.030))
    hit = chance.noise(*mask.shape)
    rarest = chance.uniform(1.0, 2.5)
    return torch.where(is_faint & (hit.abs() > rarest), hit.sign() * turn_ppm, 0.0)


def residual_background(mask: Tensor, grid: Grid, rms_ppm: float, chance: Chance) -> Tensor:
    """Return a field that is harmonic inside the mask: dipoles just beyond its surface, a slope and solid harmonics.

    In a third of the draws there are dipoles and a slope alone, in a third solid harmonics up to the fourth order as
    well, in a third these only, as a field map holds them where distant sources were not removed.

    Parameters
    ----------
    mask
        Bool `(z, y, x)`, not empty.
    grid
        The grid; its B0 is the axis of the dipoles.
    rms_ppm
        Root mean square inside the mask [ppm].
    chance
        Draws places and strengths.

    Returns
    -------
    Shape `(z, y, x)` [ppm], zero outside the mask.
    """
    positions = axis_positions_mm(grid, mask.device)
    share = mask / mask.sum()
    field = torch.zeros(grid.shape, device=mask.device)
    kind = chance.choice(("near", "far", "both"))
    if kind != "near":
        field += _solid_harmonics(positions, chance)
        field -= torch.dot(field.flatten(), share.flatten())
        field *= chance.log_uniform(0.3, 3.0) / _rms(field, share)
    for direction in (chance.direction() for _ in range(0 if kind == "far" else chance.integer(1, 5))):
        source = _beyond_the_mask(mask, grid, direction, chance)
        dipole = _point_dipole(positions, source, grid.b0_direction)
        dipole *= chance.normal() / _rms(dipole, share)
        field += dipole
    slope = chance.direction()
    extent = max(size * step for size, step in zip(grid.shape, grid.voxel_size_mm, strict=True))
    for axis, values in enumerate(positions):
        shape = [-1 if other == axis else 1 for other in range(3)]
        field += (values * (slope[axis] * chance.uniform(0.0, 4.0) / extent)).reshape(shape)
    field -= torch.dot(field.flatten(), share.flatten())
    return field.mul_(rms_ppm / _rms(field, share)).mul_(mask)


def _solid_harmonics(positions: list[Tensor], chance: Chance) -> Tensor:
    """Return a sum of harmonic polynomials `(z, y, x)` of the orders 1 to 4 about a random point, in any unit.

    The real part of ((u + i v) · r)^n is harmonic for every n where u and v are orthogonal and of one length.
    """
    half = [float(values[-1]) for values in positions]
    place = [length * chance.uniform(-0.4, 0.4) for length in half]
    z, y, x = ((values - at) / max(half) for values, at in zip(positions, place, strict=True))
    field = torch.zeros(len(z), len(y), len(x), device=z.device)
    falloff = chance.uniform(0.5, 1.5)
    for order in (1, 2, 3, 4):
        for _ in range(1 if order == 1 else 2):
            real, imaginary = (
                (turn[0] * z[:, None] + turn[1] * y[None, :])[:, :, None] + turn[2] * x
                for turn in chance.rotation()[:2].tolist()
            )
            power = torch.complex(real, imaginary)
            raised = power if order == 1 else power.square()
            raised = raised * power if order == 3 else raised.square() if order == 4 else raised
            field.add_(raised.real, alpha=chance.normal() * falloff**order)
    return field


def _rms(values: Tensor, share: Tensor) -> Tensor:
    """Return the root mean square over weights whose sum is 1."""
    return torch.dot(values.flatten().square(), share.flatten()).sqrt().clamp_min(1e-12)


def _thinned_median(values: Tensor, mask: Tensor) -> Tensor:
    """Return the median inside a mask from every other voxel along each axis; of all where that finds too few."""
    thinned = (slice(None, None, 2),) * 3
    found = values[thinned][mask[thinned]]
    return (found if len(found) >= 64 else values[mask]).median()


def _beyond_the_mask(
    mask: Tensor, grid: Grid, direction: tuple[float, float, float], chance: Chance
) -> tuple[float, float, float]:
    """Return a point [mm from the middle] on a ray from the middle, some voxels beyond the last masked one."""
    steps = torch.linspace(0.0, 1.0, 96)
    half = [size * step / 2 for size, step in zip(grid.shape, grid.voxel_size_mm, strict=True)]
    length = min(abs(edge / part) for edge, part in zip(half, direction, strict=True) if abs(part) > 1e-6)
    ray = steps[:, None] * torch.tensor(direction) * length
    middle = (torch.tensor(grid.shape) - 1) / 2
    index = (ray / torch.tensor(grid.voxel_size_mm) + middle).round().long()
    index = index.clamp_min_(0).minimum(torch.tensor(grid.shape) - 1).to(mask.device)
    hits = torch.nonzero(mask[index[:, 0], index[:, 1], index[:, 2]]).flatten()
    last = float(steps[int(hits[-1])]) * length if len(hits) else 0.0
    away = last + chance.uniform(3.0, 12.0) * max(grid.voxel_size_mm)
    z, y, x = (away * part for part in direction)
    return z, y, x


def _point_dipole(
    positions: list[Tensor], source: tuple[float, float, float], b0: tuple[float, float, float]
) -> Tensor:
    """Return (3 cos²θ − 1) / r³ around a point, in any unit."""
    z, y, x = (values - place for values, place in zip(positions, source, strict=True))
    squared = (z.square()[:, None] + y.square()[None, :])[:, :, None] + x.square()
    squared.clamp_min_(1e-6)
    cubed = squared.sqrt().mul_(squared)
    along = (b0[0] * z[:, None] + b0[1] * y[None, :])[:, :, None] + b0[2] * x
    return along.square_().mul_(3).div_(squared).sub_(1).div_(cubed)
