"""STAR-QSM: strong sources first, so that their streaks do not spoil the weak ones."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.dipole import dipole_kernel
from pipeline.operators.fourier import inverse_transform, scale_spectrum, transform_over, volume_with_room
from pipeline.operators.padding import Frame, frame_around
from pipeline.susceptibility.dipole_inversion.total_variation import TotalVariationSettings, total_variation


@dataclass(frozen=True)
class StarSettings:
    """Settings of STAR-QSM."""

    strong_regularisation: float = setting(
        1e-3, "ppm·mm", "weight of the total variation that only strong sources overcome", minimum=1e-8
    )
    regularisation: float = setting(2e-4, "ppm·mm", "weight of the total variation for all other sources", minimum=1e-8)
    strong_iterations: int = setting(15, "1", "alternating steps for the strong sources", minimum=1, maximum=1000)
    iterations: int = setting(40, "1", "alternating steps for the others at most", minimum=1, maximum=1000)
    tolerance: float = setting(5e-3, "1", "stop where a step changes the map by less than this share", minimum=0.0)
    margin: int = setting(8, "voxel", "least padding around the mask", minimum=4, maximum=128)


def streaking_reduction(
    local_field: Tensor,
    mask: Tensor,
    grid: Grid,
    settings: StarSettings,
    field_noise: Tensor | None = None,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Invert twice by total variation: for strong sources, then for what their field does not explain.

    Parameters
    ----------
    local_field
        Field without background `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`; the result is zero outside.
    grid
        The grid with the direction of B0.
    settings
        Weights of the two levels and their stopping rule.
    field_noise
        Standard deviation of the field `(z, y, x)` [ppm]; None trusts every voxel of the mask alike.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Susceptibility `(z, y, x)` [ppm], up to a constant.

    Raises
    ------
    UnusableInput
        Shapes disagree or the mask is empty.

    Source: Wei 2015, doi:10.1002/nbm.3383.
    """
    each = TotalVariationSettings(tolerance=settings.tolerance, margin=settings.margin)
    level = replace(each, regularisation=settings.strong_regularisation, iterations=settings.strong_iterations)
    share = settings.strong_iterations / (settings.strong_iterations + settings.iterations)
    strong = total_variation(local_field, mask, grid, level, field_noise, _between(on_iteration, 0.0, share))
    rest = _unexplained(local_field, strong, mask, frame_around(mask, grid, settings.margin))
    level = replace(each, regularisation=settings.regularisation, iterations=settings.iterations)
    weak = total_variation(rest, mask, grid, level, field_noise, _between(on_iteration, share, 1.0))
    if on_iteration is not None:
        on_iteration(1.0)
    return strong.add_(weak)


def _unexplained(local_field: Tensor, susceptibility: Tensor, mask: Tensor, frame: Frame) -> Tensor:
    """Return the field less that of a map, zero outside the mask."""
    sources = volume_with_room(frame.grid.shape, susceptibility).zero_()
    sources[frame.window] = susceptibility[frame.inner]
    kernel = dipole_kernel(frame.grid, dtype=local_field.dtype, device=local_field.device)
    explained = inverse_transform(scale_spectrum(transform_over(sources), kernel), frame.grid.shape)
    del sources
    return frame.restore(explained).neg_().add_(local_field).masked_fill_(~mask, 0.0)


def _between(told: OnIteration | None, start: float, end: float) -> OnIteration | None:
    if told is None:
        return None
    return lambda fraction: told(start + (end - start) * fraction)


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: StarSettings) -> dict[str, Tensor]:
    susceptibility = streaking_reduction(
        artefacts["local_field"],
        artefacts["mask"],
        context.grid,
        settings,
        artefacts.get("field_noise"),
        context.on_iteration,
    )
    return {"susceptibility": susceptibility}


STAR = Method(
    name="star",
    citation="Wei 2015, doi:10.1002/nbm.3383",
    run=_run,
    settings=StarSettings,
    inputs=("local_field", "mask"),
    outputs=("susceptibility",),
    optional_inputs=("field_noise",),
    memory_volumes=11.0,
)
