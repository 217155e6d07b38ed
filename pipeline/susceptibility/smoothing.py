"""Smooth volumes with Gaussians given in millimetres, on any device."""

import math

import torch
from torch import Tensor

from pipeline.grid import Grid


def gaussian(volume: Tensor, sigma_mm: float, grid: Grid) -> Tensor:
    """Convolve with a Gaussian; outside the volume there is zero.

    Parameters
    ----------
    volume
        Any real quantity, `(z, y, x)`.
    sigma_mm
        Standard deviation [mm]; zero returns the input.
    grid
        Gives the voxel size.

    Returns
    -------
        Smoothed volume `(z, y, x)`.
    """
    if sigma_mm <= 0:
        return volume
    # A product with a banded matrix is several times faster than a convolution with a 1-D kernel on a CPU.
    z, y, x = (
        _matrix(length, sigma_mm / size, volume) for length, size in zip(volume.shape, grid.voxel_size_mm, strict=True)
    )
    smooth = y @ (volume @ x.T)
    return (z @ smooth.flatten(1)).reshape(volume.shape)


def weighted_gaussian(volume: Tensor, weight: Tensor, sigma_mm: float, grid: Grid) -> Tensor:
    """Average the neighbourhood with the given weights and a Gaussian window (normalised convolution).

    Parameters
    ----------
    volume
        Any real quantity, `(z, y, x)`.
    weight
        Trust in each voxel, not negative, `(z, y, x)`.
    sigma_mm
        Standard deviation of the window [mm]; zero returns the volume.
    grid
        Gives the voxel size.

    Returns
    -------
        Weighted local mean `(z, y, x)`; zero where no weight is near.

    References
    ----------
    Knutsson 1993, doi:10.1109/CVPR.1993.341081.
    """
    if sigma_mm <= 0:
        return volume
    scale = weight.amax().clamp_min(torch.finfo(weight.dtype).tiny)
    relative = weight / scale
    total = gaussian(relative, sigma_mm, grid)
    mean = gaussian(volume * relative, sigma_mm, grid)
    return torch.where(total > 1e-9, mean / total.clamp_min(1e-9), 0)


def noise_gain(sigma_mm: float, grid: Grid) -> float:
    """Return the factor [1] by which `gaussian` shrinks the variance of white noise.

    Parameters
    ----------
    sigma_mm
        Standard deviation [mm].
    grid
        Gives the voxel size.
    """
    if sigma_mm <= 0:
        return 1.0
    gain = 1.0
    for size in grid.voxel_size_mm:
        kernel = _kernel(sigma_mm / size)
        gain *= sum(value * value for value in kernel)
    return gain


def _kernel(sigma: float) -> list[float]:
    """Return the Gaussian kernel [1] of a standard deviation in voxels; its sum is one."""
    radius = max(1, math.ceil(3 * sigma))
    values = [math.exp(-0.5 * (place / sigma) ** 2) for place in range(-radius, radius + 1)]
    total = sum(values)
    return [value / total for value in values]


def _matrix(length: int, sigma: float, like: Tensor) -> Tensor:
    kernel = _kernel(sigma)
    radius = len(kernel) // 2
    matrix = torch.zeros(length, length, dtype=like.dtype, device=like.device)
    for step, value in zip(range(-radius, radius + 1), kernel, strict=True):
        if abs(step) < length:
            matrix.diagonal(step).fill_(value)
    return matrix
