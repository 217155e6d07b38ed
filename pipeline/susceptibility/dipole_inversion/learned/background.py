"""What a field holds beside the dipoles of the mask: low solid harmonics, and the fields of sources around the mask."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.grid import Grid

GREATEST_ORDER = 6
_RIDGE = 16.0
"""In units of the rounding error: what keeps the normal equations of nearly alike harmonics solvable."""


@dataclass(frozen=True)
class SolidHarmonics:
    """The polynomials of a degree at most `order` whose Laplacian is zero, fitted by weighted least squares.

    What sources far outside the mask cause inside is of this kind: constant, slopes, and slow curvature. The whole set
    of a degree turns into itself with the head, so the direction of B0 does not matter.

    Attributes
    ----------
    order
        Highest degree.
    powers
        For each axis, powers 0 to `order` of the place, over the half extent of the mask, `(size, order + 1)`.
    weights
        W on the frame.
    normal
        Products of all pairs of harmonics, weighed by W², double precision.
    """

    order: int
    powers: tuple[Tensor, Tensor, Tensor]
    weights: Tensor
    normal: Tensor

    @classmethod
    def of(cls, weights: Tensor, grid: Grid, order: int) -> "SolidHarmonics":
        """Prepare the fit of harmonics to residuals weighed by W, zero outside the mask.

        Parameters
        ----------
        weights
            W `(z, y, x)`, somewhere positive.
        grid
            The grid of W.
        order
            Highest degree, 0 to 6.
        """
        places, half = [], 0.0
        for axis, step in enumerate(grid.voxel_size_mm):
            others = tuple(other for other in range(3) if other != axis)
            occupied = torch.nonzero(weights.amax(dim=others) > 0).flatten()
            first, last = int(occupied[0]), int(occupied[-1])
            half = max(half, (last - first + 1) / 2 * step)
            index = torch.arange(grid.shape[axis], device=weights.device, dtype=weights.dtype)
            places.append((index - (first + last) / 2) * step)
        tall = [torch.stack([(place / half) ** power for power in range(2 * order + 1)], dim=1) for place in places]
        moments = _moments(weights.square(), (tall[0], tall[1], tall[2]))
        combined = _harmonics(order).to(weights.device)
        exponents = torch.tensor(_exponents(order), device=weights.device)
        products = moments[(exponents[:, None] + exponents[None]).unbind(-1)]
        normal = combined @ products @ combined.T
        ridge = _RIDGE * torch.finfo(weights.dtype).eps * normal.diagonal().clamp_min(torch.finfo(torch.float64).tiny)
        z, y, x = (powers[:, : order + 1] for powers in tall)
        return cls(order, (z, y, x), weights, normal + torch.diag(ridge))

    def without(self, weighted: Tensor) -> Tensor:
        """Take W times the best-fitting harmonics out of a residual that is weighed by W, in place, and return it."""
        if self.order == 0:
            constant = (weighted * self.weights).sum() / self.weights.square().sum()
            return weighted.addcmul_(self.weights, -constant)
        moments = _moments(weighted * self.weights, self.powers)
        combined = _harmonics(self.order).to(weighted.device)
        exponents = torch.tensor(_exponents(self.order), device=weighted.device).unbind(-1)
        found = combined.T @ torch.linalg.solve(self.normal, combined @ moments[exponents])
        table = torch.zeros_like(moments)
        table[exponents] = found
        z, y, x = self.powers
        planes = torch.einsum("abc,za,yb->zyc", table.to(weighted.dtype), z, y)
        return weighted.addcmul_(self.weights, planes @ x.T, value=-1.0)


def surrounding_sources(
    residual: Tensor,
    response: Callable[[Tensor], Tensor],
    slope: Callable[[Tensor], Tensor],
    iterations: int,
) -> Tensor:
    """Return the susceptibility around a mask whose field explains a residual best, after a few steps.

    Few steps find strong sources near the mask only, which is what background removal leaves; many would explain the
    field of the tissue itself by sources around it.

    Parameters
    ----------
    residual
        Weighted residual of the field that the mask's own map explains [ppm].
    response
        How a susceptibility around the mask changes the residual.
    slope
        Its adjoint: the change of susceptibility around the mask, zero inside, that a residual asks for.
    iterations
        Steps of conjugate gradients.
    """
    left = -residual
    along = slope(left)
    direction, power = along.clone(), float(along.square().sum())
    sources = torch.zeros_like(residual)
    for _ in range(iterations):
        seen = response(direction)
        energy = float(seen.square().sum())
        if not energy > 0:
            break
        length = power / energy
        sources.add_(direction, alpha=length)
        left.sub_(seen, alpha=length)
        del seen
        along = slope(left)
        power, before = float(along.square().sum()), power
        direction.mul_(power / before).add_(along)
    return sources


@functools.cache
def _exponents(order: int) -> tuple[tuple[int, int, int], ...]:
    return tuple((z, y, x) for z in range(order + 1) for y in range(order + 1 - z) for x in range(order + 1 - z - y))


@functools.cache
def _harmonics(order: int) -> Tensor:
    """Return the harmonics `(harmonic, monomial)` as combinations of monomials: what the Laplacian loses."""
    exponents = _exponents(order)
    rows = []
    for degree in range(order + 1):
        own = [one for one in exponents if sum(one) == degree]
        lower = {one: row for row, one in enumerate(one for one in exponents if sum(one) == degree - 2)}
        laplacian = torch.zeros((max(len(lower), 1), len(own)), dtype=torch.float64)
        for column, powers in enumerate(own):
            for axis, power in enumerate(powers):
                if power >= 2:
                    reduced = tuple(p - 2 * (axis == other) for other, p in enumerate(powers))
                    laplacian[lower[(reduced[0], reduced[1], reduced[2])], column] += power * (power - 1)
        _, _, right = torch.linalg.svd(laplacian, full_matrices=True)
        # A degree l has (l + 1)(l + 2) / 2 monomials, of which the Laplacian loses 2 l + 1 combinations.
        for combination in right[len(own) - (2 * degree + 1) :]:
            row = torch.zeros(len(exponents), dtype=torch.float64)
            for powers, value in zip(own, combination, strict=True):
                row[exponents.index(powers)] = value
            rows.append(row)
    return torch.stack(rows)


def _moments(volume: Tensor, powers: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Return the sums of a volume times z^a y^b x^c, for all three powers, in double precision."""
    z, y, x = powers
    rows = torch.einsum("zyc,yb->zbc", volume @ x, y)
    return torch.einsum("zbc,za->abc", rows.double(), z.double())
