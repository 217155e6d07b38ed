"""FANSI: data known up to whole turns of the phase, with total variation, by alternating directions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.dipole import dipole_kernel
from pipeline.operators.gradient import SplitGradient
from pipeline.operators.padding import Frame, frame_around
from pipeline.solvers.alternating_directions import AlternatingDirections, PeriodicData, WeightedData
from pipeline.susceptibility.dipole_inversion.total_variation import (
    RELAXATION,
    refuse_other_shapes,
    relative_precision,
)

DATA_TERMS = ("nonlinear", "linear")
HELP_WITH_DATA = "compare field and map as phases, blind to whole turns (nonlinear), or directly (linear)"
HELP_WITH_SCALE = "phase of one ppm in the nonlinear data term; 6.4 is 8 ms at 3 T"


class FansiSettings(Protocol):
    """What both kinds of FANSI need to know of their data."""

    @property
    def data_term(self) -> str:
        """Return which data term."""

    @property
    def radians_per_ppm(self) -> float:
        """Return the phase of one ppm."""


@dataclass(frozen=True)
class FansiTvSettings:
    """Settings of FANSI with total variation."""

    data_term: str = setting("nonlinear", "-", HELP_WITH_DATA, choices=DATA_TERMS)
    radians_per_ppm: float = setting(6.4, "rad/ppm", HELP_WITH_SCALE, minimum=0.01, maximum=1000.0)
    regularisation: float = setting(
        0.1, "mm", "weight of the total variation, as a multiple of the field's median noise", minimum=1e-6
    )
    assumed_noise: float = setting(2e-3, "ppm", "noise of the field where none is given", minimum=1e-9)
    edge_penalty: float = setting(200.0, "1/(ppm·mm)", "penalty of the split gradient, per regularisation", minimum=1.0)
    iterations: int = setting(30, "1", "alternating steps at most", minimum=1, maximum=1000)
    tolerance: float = setting(5e-3, "1", "stop where a step changes the map by less than this share", minimum=0.0)
    margin: int = setting(8, "voxel", "least padding around the mask", minimum=4, maximum=128)


def fansi_total_variation(
    local_field: Tensor,
    mask: Tensor,
    grid: Grid,
    settings: FansiTvSettings,
    magnitude: Tensor | None = None,
    field_noise: Tensor | None = None,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Minimise Σ W² (1 − cos s(D χ − f)) / s² + λ Σ |∇χ|: phases are compared, so that a wrong turn costs nothing.

    Parameters
    ----------
    local_field
        Field without background `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`; outside, nothing is known of the field, and the result is zero.
    grid
        The grid with the direction of B0.
    settings
        Data term, weight and stopping rule.
    magnitude
        Echo images `(echo, z, y, x)`, or one image `(z, y, x)`; used for W where no noise is given.
    field_noise
        Standard deviation of the field `(z, y, x)` [ppm]; None takes one over the magnitude.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Susceptibility `(z, y, x)` [ppm], up to a constant.

    Raises
    ------
    UnusableInput
        Shapes disagree or the mask is empty.
    NotConverged
        The field holds extreme values.

    Source: Milovic 2018, doi:10.1002/mrm.27073. There every voxel's data term is solved by Newton's method; here by
    parabolas that touch it from above, which cannot diverge.
    """
    refuse_other_shapes(local_field, mask, field_noise)
    frame = frame_around(mask, grid, settings.margin)
    kernel = dipole_kernel(frame.grid, dtype=local_field.dtype, device=local_field.device)
    data = fansi_data(frame, kernel, local_field, mask, settings, magnitude, field_noise)
    thresholds = local_field.new_full((1, 1, 1), 1 / settings.edge_penalty).expand(frame.grid.shape)
    gradient = SplitGradient(frame.grid, thresholds, RELAXATION)
    penalty = settings.regularisation * usual_noise(mask, field_noise, settings.assumed_noise) * settings.edge_penalty
    alternation = AlternatingDirections(frame.grid, kernel, data, gradient, penalty)
    told = None if on_iteration is None else (lambda step: on_iteration(step / settings.iterations))
    susceptibility = alternation.advance(settings.iterations, settings.tolerance, told)
    del alternation, data, gradient, kernel
    return frame.restore(susceptibility).masked_fill_(~mask, 0.0)


def fansi_data(
    frame: Frame,
    kernel: Tensor,
    local_field: Tensor,
    mask: Tensor,
    settings: FansiSettings,
    magnitude: Tensor | None,
    field_noise: Tensor | None,
) -> WeightedData:
    """Return the data term, weighted by the noise, or by the magnitude where no noise is given.

    Parameters
    ----------
    frame
        The working volume.
    kernel
        Of the dipole, on the frame's half spectrum.
    local_field, mask, field_noise
        Field [ppm], bool, and its standard deviation [ppm] or None `(z, y, x)`.
    settings
        Which data term.
    magnitude
        Echo images `(echo, z, y, x)`, one image `(z, y, x)`, or None.

    Raises
    ------
    UnusableInput
        The magnitude does not lie on the mask's grid.
    """
    noise = field_noise
    if noise is None and magnitude is not None:
        noise = _noise_of(magnitude, mask)
    precision = relative_precision(mask, noise, local_field)
    target = torch.where(mask, local_field, 0.0)
    if settings.data_term == "linear":
        return WeightedData(kernel, frame, target, precision, RELAXATION)
    return PeriodicData(kernel, frame, target, precision, RELAXATION, 2 * math.pi / settings.radians_per_ppm)


def usual_noise(mask: Tensor, field_noise: Tensor | None, assumed: float) -> float:
    """Return the median noise of the field in the mask [ppm], or an assumption where none is given."""
    return assumed if field_noise is None else max(float(field_noise[mask].median()), 1e-9)


def _noise_of(magnitude: Tensor, mask: Tensor) -> Tensor:
    """Return one over the root of the summed squares of the echoes, to which the phase's noise is proportional."""
    if magnitude.shape[-3:] != mask.shape:
        raise UnusableInput(f"The magnitude has shape {tuple(magnitude.shape)} but the mask {tuple(mask.shape)}.")
    echoes = magnitude if magnitude.dim() == 4 else magnitude[None]
    amplitude = torch.linalg.vector_norm(echoes, dim=0)
    least = 1e-3 * float(amplitude[mask].mean())
    return amplitude.clamp_min_(max(least, torch.finfo(amplitude.dtype).tiny)).reciprocal_()


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: FansiTvSettings) -> dict[str, Tensor]:
    susceptibility = fansi_total_variation(
        artefacts["local_field"],
        artefacts["mask"],
        context.grid,
        settings,
        artefacts.get("magnitude"),
        artefacts.get("field_noise"),
        context.on_iteration,
    )
    return {"susceptibility": susceptibility}


FANSI_TV = Method(
    name="fansi_tv",
    citation="Milovic 2018, doi:10.1002/mrm.27073",
    run=_run,
    settings=FansiTvSettings,
    inputs=("local_field", "mask"),
    outputs=("susceptibility",),
    optional_inputs=("magnitude", "field_noise"),
    memory_volumes=8.5,
)
