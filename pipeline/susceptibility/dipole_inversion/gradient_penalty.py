"""The quadratic of a weighted gradient, applied in pieces so that no more than a few slices are held beside."""

from torch import Tensor

from pipeline.operators.gradient import forward_difference

_SLAB_VOXELS = 50_000


def add_gradient_penalty(
    target: Tensor,
    volume: Tensor,
    strength: Tensor,
    voxel_size_mm: tuple[float, float, float],
    inside: Tensor | None = None,
) -> None:
    """Add Σ ∇ᵢᵀ s ∇ᵢ volume to `target` in place; gradients are forward differences per mm.

    Parameters
    ----------
    target
        Shape `(z, y, x)`, changed.
    volume
        Shape `(z, y, x)`.
    strength
        Weight s of the gradient that starts in a voxel `(z, y, x)`.
    voxel_size_mm
        Voxel size `(z, y, x)` [mm].
    inside
        Bool `(z, y, x)`: differences across its border are left out; None for nowhere.
    """
    for axis, step in enumerate(voxel_size_mm):
        # Slabs lie along the difference, so that no difference crosses from one to the next.
        across = 1 if axis == 0 else 0
        count = volume.shape[across]
        thickness = max(1, _SLAB_VOXELS * count // volume.numel()) if volume.device.type == "cpu" else count
        size = volume.shape[axis] - 1
        for first in range(0, count, thickness):
            width = min(thickness, count - first)
            flow = forward_difference(volume.narrow(across, first, width), axis)
            flow.mul_(strength.narrow(across, first, width).narrow(axis, 0, size)).div_(step**2)
            if inside is not None:
                part = inside.narrow(across, first, width)
                flow.mul_(part.narrow(axis, 0, size) & part.narrow(axis, 1, size))
            piece = target.narrow(across, first, width)
            piece.narrow(axis, 0, size).sub_(flow)
            piece.narrow(axis, 1, size).add_(flow)


def add_penalty_diagonal(
    target: Tensor, strength: Tensor, voxel_size_mm: tuple[float, float, float], inside: Tensor
) -> None:
    """Add the diagonal of `add_gradient_penalty` to `target` `(z, y, x)` in place."""
    for axis, step in enumerate(voxel_size_mm):
        size = target.shape[axis] - 1
        weight = strength.narrow(axis, 0, size) * (inside.narrow(axis, 0, size) & inside.narrow(axis, 1, size))
        weight.div_(step**2)
        target.narrow(axis, 0, size).add_(weight)
        target.narrow(axis, 1, size).add_(weight)
