"""RESHARP: the smallest local field that explains the spherically filtered field, by conjugate gradients in k-space."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import InvalidRecipe, UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.fourier import forward_transform, inverse_transform, scale_spectrum, transform_over
from pipeline.operators.spherical_mean import ball_kernel, balls_inside, refuse_too_small_for_ball
from pipeline.solvers.conjugate_gradient import conjugate_gradient
from pipeline.susceptibility.background_field_removal.framed_field import FramedField, counted, cut_field

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

    @property
    def radii_mm(self) -> tuple[float, ...]:
        """Return the one radius [mm]."""
        return (self.radius_mm,)


@dataclass(frozen=True)
class VResharpSettings:
    """Settings of RESHARP with radii that shrink towards the border."""

    radii_mm: tuple[float, ...] = setting(
        (3.0, 6.0, 12.0), "mm", "rising radii; each voxel takes the largest ball that fits", minimum=0.5, maximum=40.0
    )
    regularisation: float = setting(3e-3, "1", "weight of the local field's size", minimum=1e-8, maximum=1.0)
    iterations: int = setting(60, "1", "conjugate gradient steps at most", minimum=1, maximum=1000)
    tolerance: float = setting(1e-3, "1", "stop where the residual is below this share of its start", minimum=0.0)

    def __post_init__(self) -> None:
        if any(larger <= smaller for smaller, larger in itertools.pairwise(self.radii_mm)):
            raise InvalidRecipe(f"The radii must rise; they are {list(self.radii_mm)} mm. Sort them.")


def resharp(
    total_field: Tensor,
    mask: Tensor,
    grid: Grid,
    settings: ResharpSettings | VResharpSettings,
    on_iteration: OnIteration | None = None,
) -> tuple[Tensor, Tensor]:
    """Minimise Σ ‖M (δ − S)(B − b)‖² + λ‖b‖² over the local field b, summed over the balls.

    S is the mean over a ball and M the voxels in which it, but no larger one of those given, fits. The unknowns are the
    coefficients of b in k-space, where the filter, the ridge and the preconditioner are diagonal: a step costs one pair
    of FFTs per ball in place of two. Several balls are ours: unlike V-SHARP's one division, every shell is inverted by
    the filter that was used there.

    Parameters
    ----------
    total_field
        Relative field `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`.
    grid
        The grid.
    settings
        Radii, weight and stopping rule.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Local field `(z, y, x)` [ppm], and the smaller mask, where the smallest ball fits, in which it is known.

    Raises
    ------
    UnusableInput
        Shapes disagree, or the smallest ball fits nowhere into the mask.
    NotConverged
        The iteration diverged.

    Source: Sun & Wilman 2014, doi:10.1002/mrm.24765.
    """
    smallest = settings.radii_mm[0]
    refuse_too_small_for_ball(mask, grid, smallest)
    cut = cut_field(total_field, mask, grid)
    filters = [ball_kernel(cut.frame.grid, radius, cut.field) for radius in settings.radii_mm]
    fits = [balls_inside(cut.inside, kernel) for kernel in filters]
    known = fits[0]
    if not bool(known.any()):
        raise UnusableInput(f"No ball of radius {smallest:g} mm fits into the mask; choose a smaller radius.")
    regions = [ball & ~larger for ball, larger in itertools.pairwise(fits)] + fits[-1:]
    local = _solve(cut, regions, [kernel.neg_().add_(1.0) for kernel in filters], settings, on_iteration)
    return cut.frame.restore(local.mul_(known)), cut.frame.restore(known)


def _solve(
    cut: FramedField,
    regions: list[Tensor],
    kept: list[Tensor],
    settings: ResharpSettings | VResharpSettings,
    told: OnIteration | None,
) -> Tensor:
    """Return the local field on the frame.

    Coefficients are scaled so that the plain inner product of half spectra is that of images, and by the
    preconditioner, which so costs nothing.
    """
    shape = cut.shape
    doubled, scale = _root_of_doubling(shape[-1], cut.field), (kept[-1].square() + _DAMPING).rsqrt_()
    to_image, to_spectrum, ridge = scale / doubled, scale * doubled, settings.regularisation * scale.square()
    del scale

    def filtered(spectrum: Tensor) -> Tensor:
        """Apply every ball's filter where that ball is used, and the filter again."""
        applied = torch.zeros_like(spectrum)
        for region, kernel in zip(regions, kept, strict=True):
            image = inverse_transform(scale_spectrum(spectrum.clone(), kernel), shape).mul_(region)
            applied += scale_spectrum(transform_over(image), kernel)
            del image
        return scale_spectrum(applied, to_spectrum)

    def normal(coefficients: Tensor) -> Tensor:
        spectrum = torch.view_as_complex(coefficients)
        applied = filtered(scale_spectrum(spectrum.clone(), to_image))
        return torch.view_as_real(applied).addcmul_(coefficients, ridge.unsqueeze(-1))

    right = torch.view_as_real(filtered(forward_transform(cut.field)))
    solution = conjugate_gradient(
        normal,
        right,
        torch.zeros_like(right),
        n_iterations=settings.iterations,
        tolerance=settings.tolerance * float(right.norm()),
        on_iteration=counted(told, settings.iterations),
        in_place=True,
    )
    if told is not None:
        told(1.0)
    return inverse_transform(scale_spectrum(torch.view_as_complex(solution), to_image), shape)


def _root_of_doubling(size: int, like: Tensor) -> Tensor:
    """Return √2 for the frequencies of a half spectrum that stand for two, and 1 for those that stand for one."""
    doubled = like.new_full((size // 2 + 1,), 2.0)
    doubled[0] = 1.0
    if size % 2 == 0:
        doubled[-1] = 1.0
    return doubled.sqrt_()


def _run(
    artefacts: Mapping[str, Tensor], context: StepContext, settings: ResharpSettings | VResharpSettings
) -> dict[str, Tensor]:
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
    memory_volumes=6.5,
)
V_RESHARP = Method(
    name="v_resharp",
    citation="after Sun & Wilman 2014, doi:10.1002/mrm.24765, and Wu 2012, doi:10.1002/mrm.23000",
    run=_run,
    settings=VResharpSettings,
    inputs=("total_field", "mask"),
    outputs=("local_field", "mask"),
    memory_volumes=8.5,
)
