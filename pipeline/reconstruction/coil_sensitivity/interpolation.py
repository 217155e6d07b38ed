"""Smooth complex volumes from a coarse periodic grid onto a finer one over the same field of view."""

import torch
from torch import Tensor


def spread(coarse: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Interpolate complex values `(..., z, y, x)` on a coarse grid over the same field of view by cubics."""
    for axis, size in zip((-3, -2, -1), shape, strict=True):
        if coarse.shape[axis] != size:
            weights = _cubic_weights(coarse.shape[axis], size).to(coarse)
            coarse = (weights @ coarse.movedim(axis, -2).flatten(-1)).movedim(-2, axis)
    return coarse


def _cubic_weights(coarse: int, fine: int) -> Tensor:
    """Return the weights `(fine, coarse)` of cubic convolution between periodic points; both centres are at n // 2."""
    place = (torch.arange(fine) - fine // 2) * (coarse / fine) + coarse // 2
    apart = (place[:, None] - torch.arange(coarse) + coarse / 2) % coarse - coarse / 2
    apart = apart.abs()
    near = (1.5 * apart - 2.5) * apart.square() + 1
    far = ((-0.5 * apart + 2.5) * apart - 4) * apart + 2
    return torch.where(apart < 1, near, torch.where(apart < 2, far, torch.zeros_like(apart)))
