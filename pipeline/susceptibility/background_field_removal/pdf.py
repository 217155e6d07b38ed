"""PDF: the background is what dipoles outside the mask can explain of the total field inside."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.dipole import Dipole
from pipeline.operators.fourier import forward_transform
from pipeline.operators.masked_laplacian import MaskedLaplacian
from pipeline.operators.padding import Frame, frame_around
from pipeline.solvers.conjugate_gradient import conjugate_gradient
from pipeline.susceptibility.background_field_removal.framed_field import FramedField, counted, cut_field
from pipeline.susceptibility.background_field_removal.lbv import HALVINGS, LbvSettings, solve_poisson, without_outermost

# Noisy voxels count less; a clean one no more than the median, or the fit would serve the clean regions only.
_LARGEST_WEIGHT = 1.0
_START = LbvSettings(tolerance=1e-3)


@dataclass(frozen=True)
class PdfSettings:
    """Settings of PDF."""

    margin: int = setting(4, "voxel", "least rim around the mask's box that may hold sources", minimum=2, maximum=128)
    iterations: int = setting(30, "1", "conjugate gradient steps at most", minimum=1, maximum=1000)
    tolerance: float = setting(0.1, "1", "stop where the residual is below this share of its start", minimum=0.0)


def pdf(
    total_field: Tensor,
    mask: Tensor,
    grid: Grid,
    settings: PdfSettings,
    field_noise: Tensor | None = None,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Minimise ‖W M (B − D χ)‖² over sources χ outside the mask; B − D χ is the local field.

    Every field that is harmonic inside is one of dipoles outside, so taking one away first changes no solution, but
    leaves far less to be found: the harmonic continuation of the border's values, which multigrid gives at once, goes
    first. From there a few steps come as near to the truth as a hundred, and the strong sources behind the rim, whose
    field a few steps from zero never fit, are gone.

    Parameters
    ----------
    total_field
        Relative field B `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`.
    grid
        The grid with the direction of B0.
    settings
        Margin and stopping rule.
    field_noise
        Standard deviation of the field `(z, y, x)` [ppm], for the weights W; None trusts every voxel alike.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Local field `(z, y, x)` [ppm] in the whole mask.

    Raises
    ------
    UnusableInput
        Shapes disagree, the mask is empty or has hardly any inner voxels.
    NotConverged
        The iteration diverged.

    Source: Liu 2011, doi:10.1002/nbm.1670.
    """
    if field_noise is not None and field_noise.shape != mask.shape:
        raise UnusableInput(f"The field noise has shape {tuple(field_noise.shape)} but the mask {tuple(mask.shape)}.")
    cut = cut_field(total_field, mask, grid, multiple=HALVINGS)
    remainder = cut.frame.restore(_without_harmonic(cut))
    del cut
    frame = frame_around(mask, grid, settings.margin)
    field, inside = frame.embed(remainder), frame.embed(mask)
    del remainder
    precision = frame.embed(_precision(mask, field_noise, field))
    field -= _outer_field(field, inside, precision, frame, settings, on_iteration)
    return frame.restore(field.mul_(inside))


def _without_harmonic(cut: FramedField) -> Tensor:
    """Return the field without the harmonic one that equals it at the mask's outermost voxels, zero there and outside.

    LBV proper continues the field to beyond the mask; that suits the fit to come less, for which the values out there
    are too uncertain.
    """
    inner = without_outermost(cut.inside)
    laplacian = MaskedLaplacian(cut.frame.grid, inner.to(cut.field.dtype))
    return solve_poisson(laplacian, laplacian(cut.field), _START)


def _precision(mask: Tensor, noise: Tensor | None, like: Tensor) -> Tensor:
    if noise is None:
        return mask.to(like.dtype)
    reference = noise[mask].median()
    weights = torch.where(mask, (reference / noise.clamp_min(1e-9)).clamp_max(_LARGEST_WEIGHT), 0.0)
    return weights.square().to(like.dtype)


def _outer_field(
    field: Tensor, inside: Tensor, precision: Tensor, frame: Frame, settings: PdfSettings, told: OnIteration | None
) -> Tensor:
    """Return the field of the sources outside the mask that explain most of a field."""
    dipole, outside = Dipole.on(frame.grid, field), ~inside

    def seen(sources: Tensor) -> Tensor:
        return dipole.from_spectrum(forward_transform(sources))

    def normal(sources: Tensor) -> Tensor:
        return seen(seen(sources).mul_(precision)).mul_(outside)

    right = seen(field * precision).mul_(outside)
    sources = conjugate_gradient(
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
    return seen(sources)


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: PdfSettings) -> dict[str, Tensor]:
    mask = artefacts["mask"]
    local_field = pdf(
        artefacts["total_field"], mask, context.grid, settings, artefacts.get("field_noise"), context.on_iteration
    )
    return {"local_field": local_field, "mask": mask}


PDF = Method(
    name="pdf",
    citation="Liu 2011, doi:10.1002/nbm.1670",
    run=_run,
    settings=PdfSettings,
    inputs=("total_field", "mask"),
    outputs=("local_field", "mask"),
    optional_inputs=("field_noise",),
    memory_volumes=8.0,
)
