"""RESHARP: the smallest local field that explains the spherically filtered field, by conjugate gradients in k-space."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.dipole import AXES
from pipeline.operators.spherical_mean import ball_kernel, balls_inside, refuse_too_small_for_ball
from pipeline.solvers.conjugate_gradient import conjugate_gradient
from pipeline.susceptibility.background_field_removal.framed_field import FramedField, cut_field

# Spatial frequencies that the ball keeps less of than the root of this are left to the iteration.
_DAMPING = 1e-2


@dataclass(frozen=True)
class ResharpSettings:
    """Settings of RESHARP."""

    radius_mm: float = setting(
        6.0, "mm", "radius of the ball; voxels nearer to the border are lost", minimum=0.5, maximum=40.0
    )
    regularisation: float = setting(1e-3, "1", "weight of the local field's size", minimum=1e-8, maximum=1.0)
    iterations: int = setting(60, "1", "conjugate gradient steps at most", minimum=1, maximum=1000)
    tolerance: float = setting(1e-3, "1", "stop where the residual is below this share of its start", minimum=0.0)


def resharp(
    total_field: Tensor, mask: Tensor, grid: Grid, settings: ResharpSettings, on_iteration: OnIteration | None = None
) -> tuple[Tensor, Tensor]:
    """Minimise ‖M (δ − S)(B − b)‖² + λ‖b‖² over the local field b.

    S is the mean over a ball and M the mask in which the ball fits. The unknowns are the coefficients of b in k-space,
    where the filter, the ridge and the preconditioner are diagonal: a step costs one pair of FFTs in place of two.

    Parameters
    ----------
    total_field
        Relative field `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`.
    grid
        The grid.
    settings
        Radius, weight and stopping rule.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Local field `(z, y, x)` [ppm], and the smaller mask M in which it is known.

    Raises
    ------
    UnusableInput
        Shapes disagree, or the ball fits nowhere into the mask.
    NotConverged
        The iteration diverged.

    Source: Sun & Wilman 2014, doi:10.1002/mrm.24765.
    """
    refuse_too_small_for_ball(mask, grid, settings.radius_mm)
    cut = cut_field(total_field, mask, grid)
    kernel = ball_kernel(cut.frame.grid, settings.radius_mm, cut.field)
    known = balls_inside(cut.inside, kernel)
    if not bool(known.any()):
        raise UnusableInput(f"No ball of radius {settings.radius_mm:g} mm fits into the mask; choose a smaller radius.")
    local = _solve(cut, known, kernel.neg_().add_(1.0), settings, on_iteration)
    return cut.frame.restore(local.mul_(known)), cut.frame.restore(known)


def _solve(
    cut: FramedField, known: Tensor, kept: Tensor, settings: ResharpSettings, told: OnIteration | None
) -> Tensor:
    """Return the local field on the frame.

    Coefficients are scaled so that the plain inner product of half spectra is that of images, and by the
    preconditioner, which so costs nothing.
    """
    shape = cut.shape
    scale = (kept.square() + _DAMPING).rsqrt_()
    doubled = kept.new_full((kept.shape[-1],), 2.0)
    doubled[0] = 1.0
    if shape[-1] % 2 == 0:
        doubled[-1] = 1.0
    doubled.sqrt_()
    to_image, to_spectrum = kept * scale / doubled, kept * scale * doubled
    ridge = settings.regularisation * scale.square()

    def normal(coefficients: Tensor) -> Tensor:
        spectrum = torch.view_as_complex(coefficients)
        image = torch.fft.irfftn(spectrum * to_image, s=shape, dim=AXES, norm="ortho").mul_(known)
        applied = torch.fft.rfftn(image, dim=AXES, norm="ortho").mul_(to_spectrum)
        return torch.view_as_real(applied.addcmul_(spectrum, ridge))

    filtered = torch.fft.rfftn(cut.field, dim=AXES).mul_(kept)
    filtered = torch.fft.irfftn(filtered, s=shape, dim=AXES).mul_(known)
    right = torch.view_as_real(torch.fft.rfftn(filtered, dim=AXES, norm="ortho").mul_(to_spectrum))
    solution = conjugate_gradient(
        normal,
        right,
        torch.zeros_like(right),
        n_iterations=settings.iterations,
        tolerance=settings.tolerance * float(right.norm()),
        on_iteration=counted(told, settings.iterations),
    )
    if told is not None:
        told(1.0)
    spectrum = torch.view_as_complex(solution).mul_(scale.div_(doubled))
    return torch.fft.irfftn(spectrum, s=shape, dim=AXES, norm="ortho")


def counted(told: OnIteration | None, n_iterations: int) -> Callable[[int], None] | None:
    """Return a listener of step numbers that tells the fraction done."""
    if told is None:
        return None
    return lambda step: told(step / n_iterations)


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: ResharpSettings) -> dict[str, Tensor]:
    local_field, mask = resharp(
        artefacts["total_field"], artefacts["mask"], context.grid, settings, context.on_iteration
    )
    return {"local_field": local_field, "mask": mask}


RESHARP = Method(
    name="resharp",
    citation="Sun & Wilman 2014, doi:10.1002/mrm.24765",
    run=_run,
    settings=ResharpSettings,
    inputs=("total_field", "mask"),
    outputs=("local_field", "mask"),
)
