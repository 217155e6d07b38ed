"""iLSQR: least squares, then the streaks in it found from the gradients of a fast map and taken away."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.fourier import forward_transform, scale_spectrum, transform_over
from pipeline.operators.gradient import add_weighted_laplacian, forward_difference
from pipeline.operators.padding import frame_around
from pipeline.operators.spherical_mean import ball_kernel
from pipeline.susceptibility.dipole_inversion.spectral_least_squares import SpectralDipole, solve_spectrum

# Percentiles between which a weight falls from one to zero: of the field's Laplacian, and of the fast map's gradients.
_LAPLACIAN_PERCENTILES = (60.0, 99.9)
_GRADIENT_PERCENTILES = (50.0, 70.0)
# The fast map trusts a spatial frequency by a small power of the kernel there, between two percentiles.
_FAST_POWER = 0.001
_FAST_PERCENTILES = (1.0, 30.0)
_FAST_RADIUS_VOXELS = 3.0
_REFERENCE_THRESHOLD = 1 / 8


@dataclass(frozen=True)
class IlsqrSettings:
    """Settings of iLSQR."""

    iterations: int = setting(50, "1", "least-squares steps at most", minimum=1, maximum=1000)
    inner_iterations: int = setting(25, "1", "steps at most to find the streaks", minimum=1, maximum=1000)
    tolerance: float = setting(1e-2, "1", "stop where the residual has fallen to this share", minimum=0.0)
    cone: float = setting(
        0.1, "1", "streaks lie where the absolute value of the kernel is below this", minimum=0.01, maximum=0.3
    )
    margin: int = setting(8, "voxel", "least padding around the mask", minimum=4, maximum=128)


def iterative_least_squares(
    local_field: Tensor, mask: Tensor, grid: Grid, settings: IlsqrSettings, on_iteration: OnIteration | None = None
) -> Tensor:
    """Invert in four steps: weighted least squares, a fast map, the streaks that it betrays, and their removal.

    The least-squares problems are solved by conjugate gradients in k-space, whose steps on the normal equations are
    those of LSQR.

    Parameters
    ----------
    local_field
        Field without background `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`; the result is zero outside.
    grid
        The grid with the direction of B0.
    settings
        Numbers of steps, tolerance and width of the cone.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Susceptibility `(z, y, x)` [ppm], up to a constant.

    Raises
    ------
    UnusableInput
        Shapes disagree or the mask is empty.

    Source: Li 2015, doi:10.1016/j.neuroimage.2014.12.043; LSQR: Paige & Saunders 1982, doi:10.1145/355984.355989.
    """
    if local_field.shape != mask.shape:
        raise UnusableInput(f"The field has shape {tuple(local_field.shape)} but the mask {tuple(mask.shape)}.")
    frame = frame_around(mask, grid, settings.margin)
    inside = frame.embed(mask)
    field = frame.embed(torch.where(mask, local_field, 0.0))
    dipole = SpectralDipole.on(frame.grid, field)
    total = settings.iterations + settings.inner_iterations
    spectrum = _first_map(dipole, field, inside, settings, _between(on_iteration, 0.0, settings.iterations / total))
    fast = _fast_map(dipole, field, inside)
    del field
    weights = _smooth_places(fast, inside, dipole.grid)
    del fast
    told = _between(on_iteration, settings.iterations / total, 1.0)
    spectrum -= _streaks(dipole, spectrum, weights, settings, told)
    if on_iteration is not None:
        on_iteration(1.0)
    return frame.restore(dipole.image(spectrum)) * mask


def _first_map(
    dipole: SpectralDipole, field: Tensor, inside: Tensor, settings: IlsqrSettings, told: OnIteration | None
) -> Tensor:
    """Return the half spectrum of D W D χ = D W f, stopped early; W is small where the field is not smooth."""
    curvature = dipole.image(scale_spectrum(forward_transform(field), dipole.frequency_squared)).abs_()
    weight = _falling(curvature, inside, _LAPLACIAN_PERCENTILES).mul_(inside)
    del curvature

    def operator(spectrum: Tensor) -> Tensor:
        seen = dipole.image(scale_spectrum(spectrum, dipole.kernel)).mul_(weight)
        return scale_spectrum(transform_over(seen), dipole.kernel)

    right_side = scale_spectrum(forward_transform(field * weight), dipole.kernel)
    everywhere = torch.ones_like(dipole.kernel)
    everywhere[0, 0, 0] = 0.0
    start = torch.zeros_like(right_side)
    return solve_spectrum(
        dipole.column, operator, right_side, start, everywhere, settings.iterations, settings.tolerance, told
    )


def _fast_map(dipole: SpectralDipole, field: Tensor, inside: Tensor) -> Tensor:
    """Return a map without streaks but too smooth: the field with the kernel's sign, smoothed where that is near 0."""
    kernel = dipole.kernel
    size = kernel.abs().pow(_FAST_POWER)
    low, high = _percentiles(size.flatten(), _FAST_PERCENTILES)
    trust = ((size - low) / max(high - low, 1e-12)).clamp_(0.0, 1.0)
    del size
    ball = ball_kernel(dipole.grid, _FAST_RADIUS_VOXELS * min(dipole.grid.voxel_size_mm), field)
    factor = torch.lerp(ball, torch.ones_like(ball), trust).mul_(torch.sign(kernel))
    del trust, ball
    fast = dipole.image(scale_spectrum(forward_transform(field), factor)).mul_(inside)
    del factor
    sign = torch.where(kernel < 0, -1.0, 1.0).to(kernel.dtype)
    inverse = sign / kernel.abs().clamp_min(_REFERENCE_THRESHOLD)
    reference = dipole.image(scale_spectrum(forward_transform(field), inverse))[inside]
    found = fast[inside] - fast[inside].mean()
    slope = float((found * (reference - reference.mean())).sum() / found.square().sum().clamp_min(1e-30))
    return fast.mul_(slope)


def _smooth_places(fast: Tensor, inside: Tensor, grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each axis weights between zero (an edge of the fast map) and one, zero across the mask's border."""
    weights = []
    for axis, step in enumerate(grid.voxel_size_mm):
        size = fast.shape[axis] - 1
        both = inside.narrow(axis, 0, size) & inside.narrow(axis, 1, size)
        weight = _falling(forward_difference(fast, axis).abs_(), both, _GRADIENT_PERCENTILES)
        weights.append(weight.square_().mul_(both).div_(step**2))
    return weights[0], weights[1], weights[2]


def _streaks(
    dipole: SpectralDipole,
    spectrum: Tensor,
    weights: tuple[Tensor, Tensor, Tensor],
    settings: IlsqrSettings,
    told: OnIteration | None,
) -> Tensor:
    """Return the part of the cone that makes the map least smooth: min Σ ‖w ∂(χ − F⁻¹ C s)‖² over s."""
    known = dipole.kernel.abs() >= settings.cone
    known[0, 0, 0] = True
    cone = (~known).flatten().nonzero().flatten()
    del known

    def scattered(part: Tensor) -> Tensor:
        whole = torch.zeros_like(spectrum)
        whole.view(-1)[cone] = part
        return whole

    def operator(part: Tensor) -> Tensor:
        image = dipole.image(scattered(part))
        result = torch.zeros_like(image)
        add_weighted_laplacian(result, image, weights)
        del image
        return forward_transform(result).flatten()[cone]

    inverse = dipole.frequency_squared.flatten()[cone].clamp_min_(1e-6).reciprocal_()
    start = spectrum.new_zeros(cone.shape)
    column = dipole.column.expand_as(dipole.kernel).flatten()[cone]
    return scattered(
        solve_spectrum(
            column,
            operator,
            _roughness(dipole.image(spectrum.clone()), weights, cone),
            start,
            inverse,
            settings.inner_iterations,
            settings.tolerance,
            told,
        )
    )


def _roughness(image: Tensor, weights: tuple[Tensor, Tensor, Tensor], cone: Tensor) -> Tensor:
    """Return Σ ∂ᵀ w ∂ of a map in the places of the half spectrum that lie in the cone."""
    rough = torch.zeros_like(image)
    add_weighted_laplacian(rough, image, weights)
    return forward_transform(rough).flatten()[cone]


def _falling(values: Tensor, inside: Tensor, percentiles: tuple[float, float]) -> Tensor:
    """Return weights that fall from one to zero between two percentiles of the values inside."""
    low, high = _percentiles(values[inside], percentiles)
    return ((high - values) / max(high - low, 1e-30)).clamp_(0.0, 1.0)


def _percentiles(values: Tensor, percentiles: tuple[float, float]) -> tuple[float, float]:
    ranks = [max(1, min(values.numel(), round(share / 100 * values.numel()))) for share in percentiles]
    return float(values.kthvalue(ranks[0]).values), float(values.kthvalue(ranks[1]).values)


def _between(told: OnIteration | None, start: float, end: float) -> OnIteration | None:
    if told is None:
        return None
    return lambda fraction: told(start + (end - start) * fraction)


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: IlsqrSettings) -> dict[str, Tensor]:
    susceptibility = iterative_least_squares(
        artefacts["local_field"], artefacts["mask"], context.grid, settings, context.on_iteration
    )
    return {"susceptibility": susceptibility}


ILSQR = Method(
    name="ilsqr",
    citation="Li 2015, doi:10.1016/j.neuroimage.2014.12.043",
    run=_run,
    settings=IlsqrSettings,
    inputs=("local_field", "mask"),
    outputs=("susceptibility",),
    memory_volumes=10.5,
)
