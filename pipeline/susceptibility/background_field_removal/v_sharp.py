"""SHARP and V-SHARP: remove the background by spherical means, of one radius or of radii that shrink at the border."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import InvalidRecipe, UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.dipole import AXES
from pipeline.operators.spherical_mean import ball_kernel, balls_inside, refuse_too_small_for_ball
from pipeline.susceptibility.background_field_removal.framed_field import cut_field

_HELP_REGULARISATION = "damping of the low frequencies that the largest ball hardly keeps; larger drops more of them"


@dataclass(frozen=True)
class SharpSettings:
    """Settings of SHARP."""

    radius_mm: float = setting(
        6.0, "mm", "radius of the ball; voxels nearer to the border are lost", minimum=0.5, maximum=40.0
    )
    regularisation: float = setting(3e-3, "1", _HELP_REGULARISATION, minimum=1e-6, maximum=1.0)


@dataclass(frozen=True)
class VSharpSettings:
    """Settings of V-SHARP."""

    largest_radius_mm: float = setting(
        12.0, "mm", "radius of the ball deep inside the brain", minimum=1.0, maximum=40.0
    )
    smallest_radius_mm: float = setting(
        3.0, "mm", "radius at the border; voxels nearer to it than this are lost", minimum=0.5, maximum=40.0
    )
    regularisation: float = setting(1e-2, "1", _HELP_REGULARISATION, minimum=1e-6, maximum=1.0)

    def __post_init__(self) -> None:
        if self.smallest_radius_mm > self.largest_radius_mm:
            raise InvalidRecipe(
                f"V-SHARP's smallest radius ({self.smallest_radius_mm} mm) is larger than its largest "
                f"({self.largest_radius_mm} mm); swap them."
            )


def sharp(total_field: Tensor, mask: Tensor, grid: Grid, settings: SharpSettings) -> tuple[Tensor, Tensor]:
    """Remove the field of all sources outside the mask by the mean over one ball.

    Parameters
    ----------
    total_field
        Relative field `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`.
    grid
        The grid.
    settings
        Radius and damping.

    Returns
    -------
    Local field `(z, y, x)` [ppm], and the smaller mask in which it is known.

    Raises
    ------
    UnusableInput
        Shapes disagree, or the ball fits nowhere into the mask.

    Source: Schweser 2011, doi:10.1016/j.neuroimage.2010.10.070.
    """
    return remove_by_balls(total_field, mask, grid, [settings.radius_mm], settings.regularisation)


def v_sharp(
    total_field: Tensor, mask: Tensor, grid: Grid, settings: VSharpSettings, on_iteration: OnIteration | None = None
) -> tuple[Tensor, Tensor]:
    """Remove the field of all sources outside the mask by balls that shrink towards its border.

    Parameters
    ----------
    total_field
        Relative field `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`.
    grid
        The grid.
    settings
        Radii and damping.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Local field `(z, y, x)` [ppm], and the smaller mask in which it is known.

    Raises
    ------
    UnusableInput
        Shapes disagree, or no ball of the smallest radius fits into the mask.

    Source: Wu 2012, doi:10.1002/mrm.23000; Özbay 2017, doi:10.1002/nbm.3550.
    """
    return remove_by_balls(total_field, mask, grid, _radii(grid, settings), settings.regularisation, on_iteration)


def remove_by_balls(
    total_field: Tensor,
    mask: Tensor,
    grid: Grid,
    radii_mm: list[float],
    regularisation: float,
    on_iteration: OnIteration | None = None,
) -> tuple[Tensor, Tensor]:
    """Subtract from each voxel the mean over the largest ball that fits there, and undo what that did to the rest.

    The largest ball's response h = 1 − S(k) is inverted as h / (h² + λ): a cut at a threshold in its place rings, and
    its result depends on which few waves the size of the grid happens to offer near the threshold.

    Parameters
    ----------
    total_field
        Relative field `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`.
    grid
        The grid.
    radii_mm
        Radii, rising [mm].
    regularisation
        λ.
    on_iteration
        Told the fraction done.

    Raises
    ------
    UnusableInput
        Shapes disagree, or no ball of the smallest radius fits into the mask.
    """
    refuse_too_small_for_ball(mask, grid, radii_mm[0])
    cut = cut_field(total_field, mask, grid)
    spectrum = torch.fft.rfftn(cut.field, dim=AXES)
    filtered, known = torch.zeros_like(cut.field), torch.zeros_like(cut.inside)
    for number, radius in enumerate(radii_mm):
        kernel = ball_kernel(cut.frame.grid, radius, cut.field)
        fits = balls_inside(cut.inside, kernel)
        if number == 0:
            known = fits
            _refuse_nothing_left(known, radius)
        mean = torch.fft.irfftn(spectrum * kernel, s=cut.shape, dim=AXES)
        filtered = torch.where(fits, torch.sub(cut.field, mean, out=mean), filtered)
        if on_iteration is not None:
            on_iteration((number + 1) / len(radii_mm))
    kept = kernel.neg_().add_(1.0)
    inverse = kept / (kept.square() + regularisation)
    local = torch.fft.irfftn(torch.fft.rfftn(filtered, dim=AXES).mul_(inverse), s=cut.shape, dim=AXES)
    return cut.frame.restore(local.mul_(known)), cut.frame.restore(known)


def _refuse_nothing_left(known: Tensor, radius_mm: float) -> None:
    if not bool(known.any()):
        raise UnusableInput(f"No ball of radius {radius_mm:g} mm fits into the mask; choose a smaller radius.")


def _radii(grid: Grid, settings: VSharpSettings) -> list[float]:
    """Return the radii from the smallest to the largest in steps of the finest voxel edge."""
    step = min(grid.voxel_size_mm)
    count = max(0, math.ceil((settings.largest_radius_mm - settings.smallest_radius_mm) / step - 1e-6))
    return [settings.smallest_radius_mm, *(settings.largest_radius_mm - step * back for back in reversed(range(count)))]


def _run_sharp(artefacts: Mapping[str, Tensor], context: StepContext, settings: SharpSettings) -> dict[str, Tensor]:
    local_field, mask = sharp(artefacts["total_field"], artefacts["mask"], context.grid, settings)
    return {"local_field": local_field, "mask": mask}


def _run_v_sharp(artefacts: Mapping[str, Tensor], context: StepContext, settings: VSharpSettings) -> dict[str, Tensor]:
    local_field, mask = v_sharp(
        artefacts["total_field"], artefacts["mask"], context.grid, settings, context.on_iteration
    )
    return {"local_field": local_field, "mask": mask}


SHARP = Method(
    name="sharp",
    citation="Schweser 2011, doi:10.1016/j.neuroimage.2010.10.070",
    run=_run_sharp,
    settings=SharpSettings,
    inputs=("total_field", "mask"),
    outputs=("local_field", "mask"),
    memory_volumes=5.0,
)
V_SHARP = Method(
    name="v_sharp",
    citation="Wu 2012, doi:10.1002/mrm.23000",
    run=_run_v_sharp,
    settings=VSharpSettings,
    inputs=("total_field", "mask"),
    outputs=("local_field", "mask"),
    memory_volumes=6.5,
)
