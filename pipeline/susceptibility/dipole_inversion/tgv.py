"""TGV: one step from wrapped phase to susceptibility with total generalised variation, by stencils only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import NotConverged, UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.dipole import Dipole
from pipeline.operators.gradient import forward_difference
from pipeline.operators.padding import Frame, frame_around
from pipeline.susceptibility.dipole_inversion.primal_dual import (
    Scene,
    coarser_field,
    prolonged,
    solve,
)
from pipeline.units import radians_per_ppm

_LARGEST_WEIGHT = 2.0
_FIELD_MARGIN = 8
_LEAST_WEIGHT = 1e-30


@dataclass(frozen=True)
class TgvSettings:
    """Settings of the single-step inversion."""

    regularisation: float = setting(
        3e-4, "ppm·mm", "weight of the gradient that is not smooth against the squared field error", minimum=1e-8
    )
    smoothness: float = setting(
        3.0, "mm", "weight of the smooth gradient's own variation, per regularisation", minimum=0.1, maximum=100.0
    )
    levels: int = setting(3, "1", "grids: the full one, and coarser ones that give its start", minimum=1, maximum=4)
    coarse_iterations: int = setting(300, "1", "steps on each coarser grid at most", minimum=1, maximum=100_000)
    iterations: int = setting(150, "1", "steps on the full grid at most", minimum=1, maximum=100_000)
    tolerance: float = setting(2e-4, "1", "stop where a step changes the map by less than this share", minimum=0.0)


def generalised_variation(
    phase: Tensor,
    magnitude: Tensor,
    mask: Tensor,
    echo_times_s: Sequence[float],
    b0_tesla: float,
    grid: Grid,
    settings: TgvSettings,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Minimise ½‖W ψ‖² + α₁‖∇χ − w‖ + α₀‖ℰ w‖ over χ, w and ψ where Δψ = Δf − (⅓Δ − ∂²/∂b²) χ in the mask.

    Only the Laplacian of the field f enters, so no phase is unwrapped: differences between neighbours are taken modulo
    one turn. A background field is harmonic and has none. Remove the receiver's phase offset first.

    Parameters
    ----------
    phase
        Phase of the echoes `(echo, z, y, x)` [rad], wrapped or not.
    magnitude
        Magnitude of the echoes `(echo, z, y, x)`, or one image `(z, y, x)` [arbitrary].
    mask
        Bool `(z, y, x)`; the result is zero outside.
    echo_times_s
        Echo times [s].
    b0_tesla
        Field strength [T].
    grid
        The grid with the direction of B0.
    settings
        Weights, numbers of steps and stopping rule.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Susceptibility `(z, y, x)` [ppm], up to a constant.

    Raises
    ------
    UnusableInput
        Shapes disagree, the echo times are missing, or the mask is too thin for a stencil.
    NotConverged
        The iteration diverged.

    Source: Langkammer 2015, doi:10.1016/j.neuroimage.2015.02.041; algorithm: Chambolle & Pock 2011,
    doi:10.1007/s10851-010-0251-1; step sizes: Pock & Chambolle 2011, doi:10.1109/ICCV.2011.6126441.
    """
    if phase.dim() != 4 or phase.shape[1:] != mask.shape or magnitude.shape[-3:] != mask.shape:
        raise UnusableInput(
            f"Phase {tuple(phase.shape)} and magnitude {tuple(magnitude.shape)} do not fit a mask of "
            f"{tuple(mask.shape)}."
        )
    if len(echo_times_s) != phase.shape[0]:
        raise UnusableInput(f"There are {phase.shape[0]} echoes but {len(echo_times_s)} echo times; give one for each.")
    frame = frame_around(mask, grid, 1, multiple=2**settings.levels)
    inside = frame.embed(mask)
    amplitude = magnitude if magnitude.dim() == 4 else magnitude.expand_as(phase)
    radians = [radians_per_ppm(time, b0_tesla) for time in echo_times_s]
    scenes = _scenes(frame.grid, inside, *_field_steps(phase, amplitude, frame, inside, radians), settings)
    return frame.restore(_from_coarse_to_fine(scenes, settings, on_iteration)) * mask


def _field_steps(
    phase: Tensor, magnitude: Tensor, frame: Frame, inside: Tensor, radians: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Return the field's step to the next voxel along each axis `(axis, z, y, x)` [ppm], and W² of the field.

    Every echo's phase step is taken at the whole turn nearest to what the earlier echoes tell of the field, and weighs
    as the squared signal of the weaker voxel times the square of the phase of one ppm: one over the variance.
    """
    steps = phase.new_zeros(3, *inside.shape)
    # One axis at a time: the weights of all three would be two volumes more.
    for axis in range(3):
        size = inside.shape[axis] - 1
        both = inside.narrow(axis, 1, size) & inside.narrow(axis, 0, size)
        known = steps[axis].narrow(axis, 0, size)
        weight = torch.zeros_like(known)
        for number, factor in enumerate(radians):
            fresh = _weaker(frame.embed(magnitude[number]), axis).square_().mul_(both).mul_(factor**2)
            share = fresh.div_(weight.add_(fresh).clamp_min(_LEAST_WEIGHT))
            ahead = forward_difference(frame.embed(phase[number]), axis).sub_(known, alpha=factor)
            ahead -= 2 * torch.pi * torch.round(ahead / (2 * torch.pi))
            known.addcmul_(ahead, share, value=1 / factor)
            del fresh, share, ahead
    information = phase.new_zeros(inside.shape)
    for number, factor in enumerate(radians):
        information.add_(frame.embed(magnitude[number]).square_(), alpha=factor**2)
    reference = information[inside].median().clamp_min(1e-30)
    return steps, information.div_(reference).clamp_max_(_LARGEST_WEIGHT**2).mul_(inside)


def _weaker(amplitude: Tensor, axis: int) -> Tensor:
    """Return the smaller one of two neighbours along an axis."""
    size = amplitude.shape[axis] - 1
    return torch.minimum(amplitude.narrow(axis, 1, size), amplitude.narrow(axis, 0, size))


def _scenes(grid: Grid, inside: Tensor, steps: Tensor, precision: Tensor, settings: TgvSettings) -> list[Scene]:
    """Return the scenes from the full grid to the coarsest on which the mask still has an interior."""
    limits = settings.regularisation, settings.regularisation * settings.smoothness
    scenes = [Scene.of(grid, inside, steps, precision, *limits)]
    if not scenes[0].has_interior:
        raise UnusableInput("The mask is nowhere three voxels thick: the field has no Laplacian. Give a larger mask.")
    while len(scenes) < settings.levels:
        grid, inside, steps, precision = coarser_field(grid, inside, steps, precision)
        coarse = Scene.of(grid, inside, steps, precision, *limits)
        if not coarse.has_interior:
            break
        scenes.append(coarse)
    return scenes


def _from_coarse_to_fine(scenes: list[Scene], settings: TgvSettings, told: OnIteration | None) -> Tensor:
    """Solve on the coarsest grid first, for the smooth parts need many steps, and carry the state down to the map."""
    counts = [settings.iterations] + [settings.coarse_iterations] * (len(scenes) - 1)
    costs = [count * scene.n_voxels for count, scene in zip(counts, scenes, strict=True)]
    begun = 0.0
    state = scenes[-1].zeros()
    for level in reversed(range(len(scenes))):
        part = costs[level] / sum(costs)
        state = solve(scenes[level], state, counts[level], settings.tolerance, _between(told, begun, begun + part))
        begun += part
        if level:
            state = prolonged(state, scenes[level], scenes[level - 1])
    susceptibility = scenes[0].susceptibility(state)
    if not bool(torch.isfinite(susceptibility).all()):
        raise NotConverged("TGV diverged; the phase or the magnitude holds extreme values. Check the mask.")
    if told is not None:
        told(1.0)
    return susceptibility


def _between(told: OnIteration | None, start: float, end: float) -> OnIteration | None:
    if told is None:
        return None
    return lambda fraction: told(min(1.0, start + (end - start) * fraction))


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: TgvSettings) -> dict[str, Tensor]:
    mask, grid = artefacts["mask"], context.grid
    if context.b0_tesla is None:
        raise UnusableInput("Single-step TGV turns phase into field and needs the field strength; give it in tesla.")
    susceptibility = generalised_variation(
        artefacts["phase"],
        artefacts["magnitude"],
        mask,
        context.echo_times_s,
        context.b0_tesla,
        grid,
        settings,
        context.on_iteration,
    )
    frame = frame_around(mask, grid, _FIELD_MARGIN)
    framed = frame.embed(susceptibility)
    local_field = frame.restore(Dipole.on(frame.grid, framed)(framed)) * mask
    return {"susceptibility": susceptibility, "local_field": local_field}


TGV = Method(
    name="tgv",
    citation="Langkammer 2015, doi:10.1016/j.neuroimage.2015.02.041",
    run=_run,
    settings=TgvSettings,
    inputs=("phase", "magnitude", "mask"),
    outputs=("susceptibility", "local_field"),
    memory_volumes=9.0,
)
