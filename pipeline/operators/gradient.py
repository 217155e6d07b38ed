"""Forward differences on a grid: without wrap-around for weighted Laplacians, periodic for splitting methods."""

import torch
from torch import Tensor

from pipeline.grid import Grid

_SLAB_VOXELS = 32_000
_TINY = 1e-20


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


def laplacian_spectrum(grid: Grid, like: Tensor) -> Tensor:
    """Return the eigenvalues of ∇ᵀ∇ for periodic forward differences per mm, on the half spectrum of a real FFT.

    Parameters
    ----------
    grid
        A periodic grid.
    like
        Its precision and device are used.

    Returns
    -------
    Shape `(z, y, x // 2 + 1)` [1/mm²], zero at zero frequency.
    """
    total = like.new_zeros(grid.shape[0], grid.shape[1], grid.shape[2] // 2 + 1)
    for axis, (size, step) in enumerate(zip(grid.shape, grid.voxel_size_mm, strict=True)):
        count = size // 2 + 1 if axis == 2 else size
        waves = (2 * torch.sin(torch.pi * torch.arange(count, dtype=torch.float64) / size) / step).square()
        shape = [1, 1, 1]
        shape[axis] = -1
        total += waves.reshape(shape).to(dtype=like.dtype, device=like.device)
    return total


class SplitGradient:
    """The shrunken gradient of a volume and its dual, updated slab by slab so that each slab stays in the cache.

    Minimises λ Σ w |∇x| by over-relaxed alternating directions: with p = u + ρ ∇x + (1 − ρ) z, the new split gradient z
    is p shortened by the threshold, and the new dual u is what was cut off. Only (1 − ρ) z + u is kept from one update
    to the next. Differences are periodic and per mm.
    """

    def __init__(self, grid: Grid, thresholds: Tensor, relaxation: float) -> None:
        """Start from a zero gradient.

        Parameters
        ----------
        grid
            A periodic grid.
        thresholds
            By how much gradients are shortened in each voxel `(z, y, x)` [ppm/mm]; changed by `spare_steep_places`.
        relaxation
            ρ, between 1 and 2.
        """
        self.thresholds = thresholds
        self._steps = grid.voxel_size_mm
        self._relaxation = relaxation
        self._kept = thresholds.new_zeros(3, *grid.shape)
        plane = grid.shape[1] * grid.shape[2]
        # On a graphics device one launch per volume is best; on a processor a slab should fit the second-level cache.
        self._slab = grid.shape[0] if thresholds.is_cuda else max(1, _SLAB_VOXELS // plane)

    def update(self, volume: Tensor) -> Tensor:
        """Replace a new volume `(z, y, x)` by ∇ᵀ(z − u), towards which the next volume is drawn [1/mm²]."""
        first, depth = volume[0].clone(), len(volume)
        carried = torch.zeros_like(first)
        for start in range(0, depth, self._slab):
            stop = min(start + self._slab, depth)
            here, following = volume[start:stop], first if stop == depth else volume[stop]
            pulled = self._kept[:, start:stop]
            add_periodic_gradient(pulled, here, following, self._steps, self._relaxation)
            length = torch.mul(pulled[0], pulled[0])
            length.addcmul_(pulled[1], pulled[1]).addcmul_(pulled[2], pulled[2]).sqrt_()
            # The share that goes to the dual; a gradient of zero goes there whole where anything is cut off.
            cut = torch.div(self.thresholds[start:stop], length.clamp_min_(_TINY), out=length).clamp_max_(1.0)
            flow = pulled * torch.rsub(cut, 1.0, alpha=2.0)
            here.zero_()[0].add_(carried)
            carried = add_periodic_adjoint(here, flow, self._steps)
            pulled.mul_(cut.mul_(self._relaxation).add_(1 - self._relaxation))
        volume[0].add_(carried)
        return volume

    def spare_steep_places(self, volume: Tensor, highest: float, steepness: float) -> None:
        """Set the thresholds to highest / (1 + |∇x| / steepness), but for those that are zero.

        Parameters
        ----------
        volume
            Shape `(z, y, x)`.
        highest
            Threshold where the volume is flat, in the volume's unit per mm.
        steepness
            Gradient at which it is halved, in the volume's unit per mm.
        """
        depth = volume.shape[0]
        for start in range(0, depth, self._slab):
            stop = min(start + self._slab, depth)
            slope = volume.new_zeros(3, stop - start, *volume.shape[1:])
            add_periodic_gradient(slope, volume[start:stop], volume[stop % depth], self._steps, 1 / steepness)
            length = torch.mul(slope[0], slope[0])
            length.addcmul_(slope[1], slope[1]).addcmul_(slope[2], slope[2]).sqrt_()
            thresholds = self.thresholds[start:stop]
            spared = thresholds == 0
            torch.div(highest, length.add_(1.0), out=thresholds).masked_fill_(spared, 0.0)


def add_periodic_gradient(
    target: Tensor, here: Tensor, following: Tensor, steps: tuple[float, float, float], factor: float
) -> None:
    """Add a multiple of the gradient [per mm] of some planes to `target` `(axis, z, y, x)`.

    Parameters
    ----------
    target
        Shape `(3, z, y, x)`, changed.
    here
        The planes `(z, y, x)`, periodic along y and x.
    following
        The plane after them `(y, x)`.
    steps
        Voxel size [mm].
    factor
        By which the gradient is multiplied.
    """
    z, y, x = (factor / step for step in steps)
    target[0].sub_(here, alpha=z)
    target[0, :-1].add_(here[1:], alpha=z)
    target[0, -1].add_(following, alpha=z)
    target[1].sub_(here, alpha=y)
    target[1, :, :-1].add_(here[:, 1:], alpha=y)
    target[1, :, -1].add_(here[:, 0], alpha=y)
    target[2].sub_(here, alpha=x)
    target[2, :, :, :-1].add_(here[:, :, 1:], alpha=x)
    target[2, :, :, -1].add_(here[:, :, 0], alpha=x)


def add_periodic_adjoint(here: Tensor, flow: Tensor, steps: tuple[float, float, float]) -> Tensor:
    """Add the adjoint of the gradient [per mm] of a flow in some planes, and return what the plane after them gets.

    Parameters
    ----------
    here
        The planes `(z, y, x)`, changed.
    flow
        Shape `(3, z, y, x)`.
    steps
        Voxel size [mm].

    Returns
    -------
    Shape `(y, x)`.
    """
    z, y, x = (1 / step for step in steps)
    here.sub_(flow[0], alpha=z)
    here[1:].add_(flow[0, :-1], alpha=z)
    here.sub_(flow[1], alpha=y)
    here[:, 1:].add_(flow[1, :, :-1], alpha=y)
    here[:, 0].add_(flow[1, :, -1], alpha=y)
    here.sub_(flow[2], alpha=x)
    here[:, :, 1:].add_(flow[2, :, :, :-1], alpha=x)
    here[:, :, 0].add_(flow[2, :, :, -1], alpha=x)
    return flow[0, -1] * z
