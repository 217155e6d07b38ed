"""V-SHARP: remove the background field by spherical means whose radius shrinks towards the mask's border."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import InvalidRecipe, UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.dipole import AXES
from pipeline.operators.padding import frame_around
from pipeline.operators.spherical_mean import ball_kernel

# A ball counts as inside the mask where the mask's mean over it is one, up to the rounding of float32 FFTs.
_COMPLETE = 1 - 1e-4


@dataclass(frozen=True)
class VSharpSettings:
    """Settings of V-SHARP."""

    largest_radius_mm: float = setting(
        12.0, "mm", "radius of the ball deep inside the brain", minimum=1.0, maximum=40.0
    )
    smallest_radius_mm: float = setting(
        3.0, "mm", "radius at the border; voxels nearer to it than this are lost", minimum=0.5, maximum=40.0
    )
    threshold: float = setting(
        0.05, "1", "spatial frequencies that the largest ball keeps less of are dropped", minimum=1e-4, maximum=0.5
    )

    def __post_init__(self) -> None:
        if self.smallest_radius_mm > self.largest_radius_mm:
            raise InvalidRecipe(
                f"V-SHARP's smallest radius ({self.smallest_radius_mm} mm) is larger than its largest "
                f"({self.largest_radius_mm} mm); swap them."
            )


def v_sharp(
    total_field: Tensor, mask: Tensor, grid: Grid, settings: VSharpSettings, on_iteration: OnIteration | None = None
) -> tuple[Tensor, Tensor]:
    """Remove the field of all sources outside the mask.

    Parameters
    ----------
    total_field
        Relative field `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`.
    grid
        The grid.
    settings
        Radii and threshold.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Local field `(z, y, x)` [ppm], and the smaller mask in which it is known.

    Raises
    ------
    UnusableInput
        No ball of the smallest radius fits into the mask.

    Source: Wu 2012, doi:10.1002/mrm.23000; Özbay 2017, doi:10.1002/nbm.3550.
    """
    radii = _radii(grid, settings)
    step = min(grid.voxel_size_mm)
    frame = frame_around(mask, grid, max(4, math.ceil(radii[0] / step) + 1))
    inside = frame.embed(mask)
    offset = total_field[mask].median()
    field = torch.where(inside, frame.embed(total_field) - offset, 0.0)
    field_spectrum, mask_spectrum = (torch.fft.rfftn(volume, dim=AXES) for volume in (field, inside.to(field.dtype)))
    filtered, known = torch.zeros_like(field), torch.zeros_like(inside)
    largest = ball_kernel(frame.grid, radii[0], field)
    for number, radius in enumerate(radii):
        kernel = largest if number == 0 else ball_kernel(frame.grid, radius, field)
        fits = torch.fft.irfftn(mask_spectrum * kernel, s=frame.grid.shape, dim=AXES) >= _COMPLETE
        fresh = fits & inside & ~known
        mean = torch.fft.irfftn(field_spectrum * kernel, s=frame.grid.shape, dim=AXES)
        filtered = torch.where(fresh, field - mean, filtered)
        known |= fresh
        if on_iteration is not None:
            on_iteration((number + 1) / len(radii))
    if not bool(known.any()):
        raise UnusableInput(f"No ball of radius {radii[-1]} mm fits into the mask; choose a smaller smallest radius.")
    high_pass = 1 - largest
    inverse = torch.where(high_pass > settings.threshold, 1 / high_pass.clamp_min(settings.threshold), 0.0)
    local = torch.fft.irfftn(torch.fft.rfftn(filtered, dim=AXES) * inverse, s=frame.grid.shape, dim=AXES)
    return frame.restore(local * known), frame.restore(known)


def _radii(grid: Grid, settings: VSharpSettings) -> list[float]:
    """Return the radii from the largest to the smallest in steps of the finest voxel edge."""
    step = min(grid.voxel_size_mm)
    count = max(0, math.ceil((settings.largest_radius_mm - settings.smallest_radius_mm) / step - 1e-6))
    return [settings.largest_radius_mm - number * step for number in range(count)] + [settings.smallest_radius_mm]


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: VSharpSettings) -> dict[str, Tensor]:
    local_field, mask = v_sharp(
        artefacts["total_field"], artefacts["mask"], context.grid, settings, context.on_iteration
    )
    return {"local_field": local_field, "mask": mask}


V_SHARP = Method(
    name="v_sharp",
    citation="Wu 2012, doi:10.1002/mrm.23000",
    run=_run,
    settings=VSharpSettings,
    inputs=("total_field", "mask"),
    outputs=("local_field", "mask"),
)
