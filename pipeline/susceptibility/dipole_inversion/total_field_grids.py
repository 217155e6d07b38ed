"""The problem of the total-field inversion on one grid, and on the coarser grids that give its start."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d, interpolate

from pipeline.grid import Grid
from pipeline.operators.dipole import Dipole
from pipeline.operators.padding import Frame

_LARGEST_WEIGHT = 3.0
# Voxels longer than this, against the shortest edge, are not made longer still on the next coarser grid.
_LONG_VOXEL = 1.5
_HALF, _NEARLY_ALL = 0.5, 0.99
_LEAST_SHARE = 0.1
_DOUBTFUL_NOISE = 2.0
"""Field noise, against the median, from which an edge of the magnitude says nothing about the susceptibility."""

Window = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Problem:
    """What is to be explained on one grid: `inside` on the frame `(z, y, x)`, everything else on its `window`.

    `stiffness` says where, and how strongly, the susceptibility should be smooth; `visibility` is Σ W² d², how strongly
    the data see a source in each voxel, on the frame; `factors` are the steps to the next coarser grid.
    """

    grid: Grid
    window: Window
    dipole: Dipole
    inside: Tensor
    visibility: Tensor
    field: Tensor
    weight: Tensor
    stiffness: Tensor
    factors: tuple[int, int, int] = (1, 1, 1)


def fine_problem(
    frame: Frame,
    field: Tensor,
    mask: Tensor,
    magnitude: Tensor,
    noise: Tensor,
    *,
    edge_fraction: float,
    rim_stiffness: float,
    outside_scale: float,
) -> Problem:
    """Return the problem on the frame's grid.

    Parameters
    ----------
    frame
        The padded volume.
    field, noise
        Total field and its standard deviation `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`.
    magnitude
        Echo images `(echo, z, y, x)`, or one image `(z, y, x)` [arbitrary].
    edge_fraction
        Share of the strongest magnitude gradients where the susceptibility may jump.
    rim_stiffness
        How many times stiffer the outermost layer of the mask is.
    outside_scale
        Largest ratio of the unit of sources outside to those inside.
    """
    cut_mask, cut_field, cut_noise = (volume[frame.inner] for volume in (mask, field, noise))
    reference = cut_noise[cut_mask].median().clamp_min(torch.finfo(noise.dtype).tiny)
    weight = torch.where(cut_mask, reference / cut_noise.clamp_min(reference / _LARGEST_WEIGHT), 0.0)
    dipole, inside = Dipole.on(frame.grid, field), frame.embed(mask)
    framed_weight = torch.zeros_like(inside, dtype=field.dtype)
    framed_weight[frame.window] = weight
    image = _late_image(magnitude[..., *frame.inner])
    return Problem(
        frame.grid,
        frame.window,
        dipole,
        inside,
        _visibility(dipole, inside, framed_weight, outside_scale),
        torch.where(cut_mask, cut_field - cut_field[cut_mask].median(), 0.0),
        weight,
        _stiffness(
            image, cut_mask, frame.grid, edge_fraction, rim_stiffness, cut_noise > _DOUBTFUL_NOISE * reference
        ).half(),
    )


def _late_image(magnitude: Tensor) -> Tensor:
    """Combine the later half of the echoes: iron shows there; edges of all echoes would leave the red nuclei to TV."""
    if magnitude.dim() == 3:
        return magnitude
    image = torch.zeros_like(magnitude[0])
    for echo in magnitude[magnitude.shape[0] // 2 :]:
        image.addcmul_(echo, echo)
    return image.sqrt_()


def steepness(volume: Tensor, inside: Tensor, voxel_size_mm: tuple[float, float, float]) -> Tensor:
    """Return the squared gradient `(z, y, x)` [per mm²] by forward differences between voxels inside a mask."""
    squared = torch.zeros_like(volume)
    for axis, step in enumerate(voxel_size_mm):
        size = volume.shape[axis] - 1
        difference = volume.narrow(axis, 1, size) - volume.narrow(axis, 0, size)
        both = inside.narrow(axis, 1, size) & inside.narrow(axis, 0, size)
        squared.narrow(axis, 0, size).add_(difference.div_(step).square_().mul_(both))
    return squared


def _stiffness(
    image: Tensor, mask: Tensor, grid: Grid, edge_fraction: float, rim_stiffness: float, doubtful: Tensor
) -> Tensor:
    """Return one where the magnitude is smooth, zero at its edges and `rim_stiffness` in the outermost layer.

    A source in that layer can hardly be told from one just outside the mask, so that its neighbours must hold it.
    Beside air the signal dephases: such an edge is not the tissue's, and the field is too doubtful to free sources.
    """
    slope = steepness(image, mask, grid.voxel_size_mm)
    inside = slope[mask]
    rank = max(1, min(inside.numel(), round((1 - edge_fraction) * inside.numel())))
    smooth = mask & ((slope <= inside.kthvalue(rank).values) | doubtful)
    return torch.where(mask & ~_eroded(mask), rim_stiffness, smooth.to(image.dtype))


def _eroded(mask: Tensor) -> Tensor:
    """Return the voxels whose six neighbours all lie in the mask."""
    core = mask.clone()
    for axis in range(3):
        size = mask.shape[axis] - 1
        core.narrow(axis, 0, size).logical_and_(mask.narrow(axis, 1, size))
        core.narrow(axis, 1, size).logical_and_(mask.narrow(axis, 0, size))
        for edge in (0, size):
            core.narrow(axis, edge, 1).zero_()
    return core


def halved(fine: Problem, outside_scale: float) -> tuple[Problem, Problem]:
    """Return a problem with its steps to the next coarser grid, and the problem there.

    Axes with long voxels keep their steps. Blocks cut by the mask's border give no data.
    """
    shortest = min(fine.grid.voxel_size_mm)
    dz, dy, dx = (2 if step < _LONG_VOXEL * shortest else 1 for step in fine.grid.voxel_size_mm)
    factors = (dz, dy, dx)
    (z, y, x), (hz, hy, hx) = fine.grid.shape, fine.grid.voxel_size_mm
    grid = replace(fine.grid, shape=(z // dz, y // dy, x // dx), voxel_size_mm=(dz * hz, dy * hy, dx * hx))
    share = _pooled(fine.inside.to(fine.field.dtype), factors)
    inside, full = share > _HALF, share > _NEARLY_ALL
    squared = _framed(fine.weight.square(), fine)
    mean_square = _pooled(squared, factors)
    field = _pooled(squared.mul_(_framed(fine.field, fine)), factors) / mean_square.clamp_min(1e-12)
    smooth = _pooled(_framed((fine.stiffness > 0).to(field.dtype), fine), factors) > _HALF
    dipole, weight = Dipole.on(grid, field), torch.where(full, mean_square.sqrt(), 0.0)
    window = _block_window(fine.window, factors)
    visibility = _visibility(dipole, inside, weight, outside_scale)
    coarse = Problem(
        grid,
        window,
        dipole,
        inside,
        visibility,
        torch.where(full, field, 0.0)[window].contiguous(),
        weight[window].contiguous(),
        (smooth & inside)[window].half(),
    )
    return replace(fine, factors=factors), coarse


def _block_window(window: Window, factors: tuple[int, int, int]) -> Window:
    z, y, x = (slice(cut.start // n, -(-cut.stop // n)) for cut, n in zip(window, factors, strict=True))
    return z, y, x


def _visibility(dipole: Dipole, inside: Tensor, weight: Tensor, outside_scale: float) -> Tensor:
    """Return Σ W² d², the diagonal of the data term: how strongly the data see a source in each voxel.

    Outside it falls with the sixth power of the distance; its floor is what limits the sources there.
    """
    # The point response of the dipole, from its spectrum.
    point = torch.zeros_like(weight)
    point[0, 0, 0] = 1.0
    response = torch.fft.rfftn(dipole(point).square_())
    seen = torch.fft.irfftn(torch.fft.rfftn(weight.square()).mul_(response), s=dipole.shape)
    seen.clamp_min_(float(seen[inside].median()) / outside_scale**2)
    # It only tells a good unit for each voxel; three digits are enough, in half the memory.
    return seen.bfloat16()


def refined(solution: Tensor, coarse: Problem, fine: Problem) -> Tensor:
    """Return a coarse solution on the next finer grid, interpolated on each side of the mask's border alone."""
    share = _interpolated(coarse.inside.to(solution.dtype), fine.factors)
    within = _interpolated(torch.where(coarse.inside, solution, 0.0), fine.factors)
    around = _interpolated(torch.where(coarse.inside, 0.0, solution), fine.factors)
    within.div_(share.clamp_min(_LEAST_SHARE))
    around.div_((1 - share).clamp_min_(_LEAST_SHARE))
    return torch.where(fine.inside, within, around)


def _framed(volume: Tensor, problem: Problem) -> Tensor:
    framed = volume.new_zeros(problem.grid.shape)
    framed[problem.window] = volume
    return framed


def _pooled(volume: Tensor, factors: tuple[int, int, int]) -> Tensor:
    return avg_pool3d(volume[None, None], factors)[0, 0]


def _interpolated(volume: Tensor, factors: tuple[int, int, int]) -> Tensor:
    scale = [float(factor) for factor in factors]
    return interpolate(volume[None, None], scale_factor=scale, mode="trilinear", align_corners=False)[0, 0]
