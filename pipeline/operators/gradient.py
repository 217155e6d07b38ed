"""Forward differences on a grid, without wrap-around, and the weighted Laplacian made of them."""

import torch
from torch import Tensor


def forward_difference(volume: Tensor, axis: int) -> Tensor:
    """Return the difference to the next voxel along one axis; the result is one voxel shorter there."""
    size = volume.shape[axis]
    return volume.narrow(axis, 1, size - 1) - volume.narrow(axis, 0, size - 1)


def adjoint_difference(differences: Tensor, axis: int) -> Tensor:
    """Apply the adjoint of `forward_difference`; the result is one voxel longer along the axis."""
    size = differences.shape[axis]
    shape = list(differences.shape)
    shape[axis] = size + 1
    volume = differences.new_zeros(shape)
    volume.narrow(axis, 0, size).sub_(differences)
    volume.narrow(axis, 1, size).add_(differences)
    return volume


def add_weighted_laplacian(target: Tensor, volume: Tensor, weights: tuple[Tensor, Tensor, Tensor]) -> None:
    """Add Σ ∇ᵢᵀ wᵢ ∇ᵢ volume to `target` in place.

    Parameters
    ----------
    target
        Shape `(z, y, x)`, changed.
    volume
        Shape `(z, y, x)`.
    weights
        For each axis the weights of its differences, one voxel shorter along that axis.
    """
    for axis, weight in enumerate(weights):
        size = volume.shape[axis] - 1
        flow = forward_difference(volume, axis)
        flow *= weight
        target.narrow(axis, 0, size).sub_(flow)
        target.narrow(axis, 1, size).add_(flow)


def gradient_length(volume: Tensor, voxel_size_mm: tuple[float, float, float]) -> Tensor:
    """Return the length of the gradient `(z, y, x)` [per mm] by forward differences; the last ones are zero."""
    squared = torch.zeros_like(volume)
    for axis, step in enumerate(voxel_size_mm):
        squared.narrow(axis, 0, volume.shape[axis] - 1).add_((forward_difference(volume, axis) / step).square_())
    return squared.sqrt_()
