"""The Laplacian inside a mask with zeros at its rim, and a multigrid cycle that nearly inverts it without any FFT."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d

from pipeline.grid import Grid

_DAMPING = 6 / 7
_COARSEST_SWEEPS = 40
_SMALLEST = 8
# An axis whose voxels are longer than this many times the shortest edge is not halved: its neighbours hardly couple.
_LONG = 1.5


@dataclass(frozen=True)
class MaskedLaplacian:
    """−∇² [1/mm²] by the seven-point stencil on the voxels of a mask; it is symmetric and positive definite.

    `inside` is `(z, y, x)`, one or zero, and must be empty on the border of the grid; beyond it all values are zero.
    """

    grid: Grid
    inside: Tensor

    @property
    def couplings(self) -> tuple[float, float, float]:
        """Return 1/step² along each axis [1/mm²]."""
        z, y, x = (1 / step**2 for step in self.grid.voxel_size_mm)
        return z, y, x

    @property
    def diagonal(self) -> float:
        """Return the weight of a voxel itself [1/mm²]."""
        return 2 * sum(self.couplings)

    def __call__(self, volume: Tensor) -> Tensor:
        """Apply to a volume `(z, y, x)`; the result is zero outside the mask, where the volume is taken as it is."""
        applied = volume * self.diagonal
        for axis, coupling in enumerate(self.couplings):
            size = volume.shape[axis] - 1
            applied.narrow(axis, 0, size).sub_(volume.narrow(axis, 1, size), alpha=coupling)
            applied.narrow(axis, 1, size).sub_(volume.narrow(axis, 0, size), alpha=coupling)
        return applied.mul_(self.inside)

    def one_sided(self, volume: Tensor) -> Tensor:
        """Apply to a volume `(z, y, x)` that is known inside only: at the mask's rim the next second difference counts.

        That is the stencil with the values beyond the rim continued by parabolas along each axis. The result is zero
        outside, and what the volume holds there does not matter.
        """
        known, applied = self.inside > 0, torch.zeros_like(volume)
        for axis, coupling in enumerate(self.couplings):
            size = volume.shape[axis] - 2
            before, at, after = (volume.narrow(axis, start, size) for start in range(3))
            complete = torch.zeros_like(known)
            in_line = complete.narrow(axis, 1, size)
            torch.logical_and(known.narrow(axis, 0, size), known.narrow(axis, 2, size), out=in_line)
            in_line.logical_and_(known.narrow(axis, 1, size))
            bent = torch.zeros_like(volume)
            second = torch.sub(2 * at, before).sub_(after).mul_(coupling)
            bent.narrow(axis, 1, size).copy_(torch.where(in_line, second, 0.0))
            torch.add(bent.narrow(axis, 0, size), bent.narrow(axis, 2, size), out=second)
            applied += bent
            applied.narrow(axis, 1, size).add_(second.masked_fill_(in_line, 0.0))
        return applied.mul_(self.inside)

    def coarser(self) -> "tuple[MaskedLaplacian, tuple[int, int, int]] | None":
        """Return the operator on a grid halved along the axes of short edges, with the factors; None where too small.

        A coarse voxel is inside where at least half of its fine ones are.
        """
        shortest = min(self.grid.voxel_size_mm)
        factors = []
        for size, step in zip(self.grid.shape, self.grid.voxel_size_mm, strict=True):
            factors.append(2 if step <= _LONG * shortest and size % 2 == 0 and size >= 2 * _SMALLEST else 1)
        if max(factors) == 1:
            return None
        z, y, x = factors
        inside = (avg_pool3d(self.inside[None], (z, y, x))[0] >= 0.5).to(self.inside.dtype)
        nz, ny, nx = inside.shape
        dz, dy, dx = self.grid.voxel_size_mm
        grid = replace(self.grid, shape=(nz, ny, nx), voxel_size_mm=(dz * z, dy * y, dx * x))
        return MaskedLaplacian(grid, inside), (z, y, x)


@dataclass(frozen=True)
class MultigridCycle:
    """One V-cycle: an approximate inverse of a `MaskedLaplacian`, symmetric and positive, for conjugate gradients."""

    levels: tuple[MaskedLaplacian, ...]
    factors: tuple[tuple[int, int, int], ...]
    sweeps: int = 2

    @classmethod
    def of(cls, operator: MaskedLaplacian, sweeps: int = 2) -> "MultigridCycle":
        """Build the coarser grids, as many as there are."""
        levels, factors = [operator], []
        while (next_level := levels[-1].coarser()) is not None:
            levels.append(next_level[0])
            factors.append(next_level[1])
        return cls(tuple(levels), tuple(factors), sweeps)

    def __call__(self, residual: Tensor) -> Tensor:
        """Return an approximate solution of `operator(x) = residual`, both `(z, y, x)`."""
        return self._descend(residual, 0)

    def _descend(self, residual: Tensor, depth: int) -> Tensor:
        operator = self.levels[depth]
        length = _DAMPING / operator.diagonal
        solution = residual * length
        if depth == len(self.factors):
            return _smoothed(operator, solution, residual, length, _COARSEST_SWEEPS)
        solution = _smoothed(operator, solution, residual, length, self.sweeps - 1)
        left = torch.sub(residual, operator(solution))
        factors = self.factors[depth]
        coarse = avg_pool3d(left[None], factors)[0].mul_(self.levels[depth + 1].inside)
        _add_repeated(solution, self._descend(coarse, depth + 1), factors)
        solution *= operator.inside
        return _smoothed(operator, solution, residual, length, self.sweeps)


def _smoothed(operator: MaskedLaplacian, solution: Tensor, right: Tensor, length: float, sweeps: int) -> Tensor:
    """Improve a solution in place by damped Jacobi sweeps."""
    for _ in range(sweeps):
        solution.add_(operator(solution).sub_(right), alpha=-length)
    return solution


def _add_repeated(target: Tensor, coarse: Tensor, factors: tuple[int, int, int]) -> None:
    """Add each coarse value to all fine voxels under it, in place."""
    z, y, x = coarse.shape
    blocks = target.view(z, factors[0], y, factors[1], x, factors[2])
    blocks += coarse[:, None, :, None, :, None]
