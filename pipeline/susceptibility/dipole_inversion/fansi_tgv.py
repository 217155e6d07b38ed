"""FANSI with total generalised variation: like FANSI, but smooth slopes of the map cost little."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.dipole import dipole_kernel
from pipeline.operators.generalised_variation import SplitGeneralisedVariation
from pipeline.operators.padding import frame_around
from pipeline.solvers.alternating_directions import AlternatingDirections
from pipeline.susceptibility.dipole_inversion.fansi import (
    DATA_TERMS,
    HELP_WITH_DATA,
    HELP_WITH_SCALE,
    fansi_data,
    usual_noise,
)
from pipeline.susceptibility.dipole_inversion.total_variation import RELAXATION, refuse_other_shapes


@dataclass(frozen=True)
class FansiTgvSettings:
    """Settings of FANSI with total generalised variation."""

    data_term: str = setting("nonlinear", "-", HELP_WITH_DATA, choices=DATA_TERMS)
    radians_per_ppm: float = setting(6.4, "rad/ppm", HELP_WITH_SCALE, minimum=0.01, maximum=1000.0)
    regularisation: float = setting(
        0.1, "mm", "weight of the gradient that is not smooth, as a multiple of the field's median noise", minimum=1e-6
    )
    smoothness: float = setting(
        2.0, "mm", "weight of the smooth gradient's own variation, per regularisation", minimum=0.1, maximum=100.0
    )
    assumed_noise: float = setting(2e-3, "ppm", "noise of the field where none is given", minimum=1e-9)
    edge_penalty: float = setting(200.0, "1/(ppm·mm)", "penalty of the split gradient, per regularisation", minimum=1.0)
    iterations: int = setting(40, "1", "alternating steps at most", minimum=1, maximum=1000)
    tolerance: float = setting(5e-3, "1", "stop where a step changes the map by less than this share", minimum=0.0)
    margin: int = setting(6, "voxel", "least padding around the mask", minimum=4, maximum=128)


def fansi_generalised_variation(
    local_field: Tensor,
    mask: Tensor,
    grid: Grid,
    settings: FansiTgvSettings,
    magnitude: Tensor | None = None,
    field_noise: Tensor | None = None,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Minimise Σ W² (1 − cos s(D χ − f)) / s² + α₁ Σ |∇χ − w| + α₀ Σ |ℰ w| over the map and a smooth slope w.

    Parameters
    ----------
    local_field
        Field without background `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`; outside, nothing is known of the field, w is zero beyond its bounding box, and so is the
        result.
    grid
        The grid with the direction of B0.
    settings
        Data term, weights and stopping rule.
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

    Source: Milovic 2018, doi:10.1002/mrm.27073; total generalised variation: Bredies 2010, doi:10.1137/090769521.
    """
    refuse_other_shapes(local_field, mask, field_noise)
    frame = frame_around(mask, grid, settings.margin)
    kernel = dipole_kernel(frame.grid, dtype=local_field.dtype, device=local_field.device)
    data = fansi_data(frame, kernel, local_field, mask, settings, magnitude, field_noise)
    threshold = 1 / settings.edge_penalty
    variation = SplitGeneralisedVariation(
        frame.grid, frame.window, local_field, threshold, settings.smoothness, RELAXATION
    )
    penalty = settings.regularisation * usual_noise(mask, field_noise, settings.assumed_noise) * settings.edge_penalty
    alternation = AlternatingDirections(frame.grid, kernel, data, variation, variation.penalty(penalty))
    told = None if on_iteration is None else (lambda step: on_iteration(step / settings.iterations))
    susceptibility = alternation.advance(settings.iterations, settings.tolerance, told)
    del alternation, data, variation, kernel
    return frame.restore(susceptibility).masked_fill_(~mask, 0.0)


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: FansiTgvSettings) -> dict[str, Tensor]:
    susceptibility = fansi_generalised_variation(
        artefacts["local_field"],
        artefacts["mask"],
        context.grid,
        settings,
        artefacts.get("magnitude"),
        artefacts.get("field_noise"),
        context.on_iteration,
    )
    return {"susceptibility": susceptibility}


FANSI_TGV = Method(
    name="fansi_tgv",
    citation="Milovic 2018, doi:10.1002/mrm.27073; Bredies 2010, doi:10.1137/090769521",
    run=_run,
    settings=FansiTgvSettings,
    inputs=("local_field", "mask"),
    outputs=("susceptibility",),
    optional_inputs=("magnitude", "field_noise"),
    memory_volumes=10.5,
)
