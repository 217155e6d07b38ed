"""Weighted least squares for a susceptibility map, solved in k-space where the dipole is a diagonal preconditioner."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import NotConverged
from pipeline.grid import Grid
from pipeline.method import OnIteration
from pipeline.operators.dipole import dipole_kernel
from pipeline.operators.fourier import forward_transform, inverse_transform, scale_spectrum, transform_over
from pipeline.solvers.conjugate_gradient import conjugate_gradient

_SQUARE_ROOT_OF_TWO = 2.0**0.5


@dataclass(frozen=True)
class SpectralDipole:
    """What stays the same over all solves on one grid: half spectra `(z, y, x // 2 + 1)`.

    `column` holds the factors that make the plain scalar product of two half spectra equal to that of the whole ones.
    """

    grid: Grid
    kernel: Tensor
    column: Tensor

    @property
    def frequency_squared(self) -> Tensor:
        """Compute the eigenvalues of the periodic Laplacian [1/mm²]: needed too seldom to be kept."""
        return laplacian_spectrum(self.grid, self.kernel)

    @classmethod
    def on(cls, grid: Grid, like: Tensor) -> "SpectralDipole":
        """Build the spectra for a grid, in the precision and on the device of a tensor."""
        kernel = dipole_kernel(grid, dtype=like.dtype, device=like.device)
        column = torch.full((kernel.shape[-1],), _SQUARE_ROOT_OF_TWO, dtype=like.dtype, device=like.device)
        column[0] = 1.0
        if grid.shape[2] % 2 == 0:
            column[-1] = 1.0
        return cls(grid, kernel, column)

    def field(self, susceptibility: Tensor) -> Tensor:
        """Return the field [ppm] of a map `(z, y, x)` [ppm]."""
        return self.image(scale_spectrum(forward_transform(susceptibility), self.kernel))

    def image(self, spectrum: Tensor) -> Tensor:
        """Return the volume `(z, y, x)` of a half spectrum, which is overwritten."""
        return inverse_transform(spectrum, self.grid.shape)


def laplacian_spectrum(grid: Grid, like: Tensor) -> Tensor:
    """Return the eigenvalues [1/mm²] of the periodic negative Laplacian on the half spectrum of a real FFT."""
    lines = []
    for axis, (size, step) in enumerate(zip(grid.shape, grid.voxel_size_mm, strict=True)):
        count = size // 2 + 1 if axis == 2 else size
        waves = (2 * torch.sin(torch.pi * torch.arange(count, dtype=torch.float64) / size) / step).square()
        shape = [1, 1, 1]
        shape[axis] = -1
        lines.append(waves.reshape(shape))
    # A plane in double precision, the volume in the asked one.
    plane, line = (part.to(dtype=like.dtype, device=like.device) for part in (lines[0] + lines[1], lines[2]))
    return plane + line


def least_squares(
    dipole: SpectralDipole,
    weighted_field: Tensor,
    precision: Tensor,
    prior: Callable[[Tensor], Tensor],
    prior_spectrum: Tensor,
    start: Tensor,
    iterations: int,
    tolerance: float,
    told: OnIteration | None = None,
) -> Tensor:
    """Minimise ½‖W(D χ − f)‖² + ½ χᵀ R χ by conjugate gradients on the half spectrum of χ.

    Two pairs of FFTs make one step, as in the space of images, but the preconditioner is free.

    Parameters
    ----------
    dipole
        The kernel on the grid.
    weighted_field
        Half spectrum of W² f with the measured field f [ppm]; overwritten.
    precision
        W² `(z, y, x)`, zero where nothing was measured.
    prior
        Applies the symmetric, positive semi-definite R to a map `(z, y, x)`.
    prior_spectrum
        About the spectrum of R, for the preconditioner, half spectrum; positive.
    start
        Half spectrum of the map to begin with [ppm]; overwritten.
    iterations
        Steps at most.
    tolerance
        Stop where the preconditioned residual is below this share of its first value.
    told
        Told the fraction done.

    Returns
    -------
    Half spectrum of the map [ppm].

    Raises
    ------
    NotConverged
        The field or its precision holds extreme values.
    """

    def operator(spectrum: Tensor) -> Tensor:
        seen = dipole.image(scale_spectrum(spectrum.clone(), dipole.kernel)).mul_(precision)
        result = scale_spectrum(transform_over(seen), dipole.kernel)
        penalised = prior(dipole.image(spectrum))
        del seen, spectrum
        return result.add_(forward_transform(penalised))

    n_known = int(torch.count_nonzero(precision))
    inverse = dipole.kernel.square().mul_(precision.sum() / max(n_known, 1)).add_(prior_spectrum).reciprocal_()
    del prior_spectrum
    # What D(0) = 0 leaves open is the mean of the map: it stays as it was.
    inverse[0, 0, 0] = 0.0
    right_side = scale_spectrum(weighted_field, dipole.kernel)
    return solve_spectrum(dipole.column, operator, right_side, start, inverse, iterations, tolerance, told)


def solve_spectrum(
    column: Tensor,
    operator: Callable[[Tensor], Tensor],
    right_side: Tensor,
    start: Tensor,
    inverse: Tensor,
    iterations: int,
    tolerance: float,
    told: OnIteration | None = None,
) -> Tensor:
    """Solve `operator(x) = b` for the half spectrum of a real volume, or chosen places of it, by conjugate gradients.

    Parameters
    ----------
    column
        Factors that make the plain scalar product of two half spectra equal to that of the whole ones; anything that
        broadcasts with them.
    operator
        Symmetric and positive semi-definite; may change what it is given.
    right_side
        Half spectrum b, or chosen places of it; overwritten.
    start
        Half spectrum to begin with; overwritten.
    inverse
        Diagonal of the preconditioner, real half spectrum; zero where the start is to be kept.
    iterations
        Steps at most.
    tolerance
        Stop where the preconditioned residual is below this share of its first value.
    told
        Told the fraction done.

    Raises
    ------
    NotConverged
        The right side holds infinite values.
    """

    def stacked_operator(stacked: Tensor) -> Tensor:
        return torch.view_as_real(operator(torch.view_as_complex(stacked) / column).mul_(column))

    begin = torch.view_as_real(start.mul_(column))
    residual = torch.view_as_real(right_side.mul_(column))
    if bool(begin.any()):
        residual.sub_(stacked_operator(begin))
    weights = inverse.unsqueeze(-1)
    scale = float((residual.square() * weights).sum().sqrt())
    if not scale < float("inf"):
        raise NotConverged("The field or its noise holds extreme values, so the inversion diverged. Check the mask.")
    solution = conjugate_gradient(
        stacked_operator,
        residual,
        begin,
        n_iterations=iterations,
        tolerance=tolerance * scale,
        preconditioner=lambda vector: vector * weights,
        on_iteration=None if told is None else (lambda step: told(step / iterations)),
        in_place=True,
    )
    return torch.view_as_complex(solution).div_(column)
