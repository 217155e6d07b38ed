"""The default dipole inversion: total variation weighted by the field's noise and spared at edges of the magnitude."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.padding import frame_around
from pipeline.susceptibility.dipole_inversion.magnitude_edges import steep_places
from pipeline.susceptibility.dipole_inversion.total_variation import refuse_other_shapes, weighted_alternation


@dataclass(frozen=True)
class WeightedTvSettings:
    """Settings of the default inversion."""

    regularisation: float = setting(
        0.1, "mm", "weight of the total variation, as a multiple of the field's median noise", minimum=1e-6
    )
    assumed_noise: float = setting(2e-3, "ppm", "noise of the field where none is given", minimum=1e-9)
    edge_share: float = setting(
        0.3, "1", "share of the steepest voxels of the late echoes that are not penalised", minimum=0.0, maximum=0.9
    )
    steepness: float = setting(
        0.03, "ppm/mm", "gradient of the map at which the next round halves its penalty", minimum=1e-6
    )
    edge_penalty: float = setting(200.0, "1/(ppm·mm)", "penalty of the split gradient, per regularisation", minimum=1.0)
    rounds: int = setting(3, "1", "reweightings of the penalty", minimum=1, maximum=100)
    iterations: int = setting(10, "1", "alternating steps per round at most", minimum=1, maximum=1000)
    tolerance: float = setting(5e-3, "1", "stop where a step changes the map by less than this share", minimum=0.0)
    margin: int = setting(8, "voxel", "least padding around the mask", minimum=4, maximum=128)


def weighted_total_variation(
    local_field: Tensor,
    mask: Tensor,
    grid: Grid,
    settings: WeightedTvSettings,
    magnitude: Tensor | None = None,
    field_noise: Tensor | None = None,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Minimise ½‖W(D χ − f)‖² + λ Σ w |∇χ|, with w from the magnitude and, round by round, from the map itself.

    W is one over the noise; λ follows the noise, so that a noisier scan is smoothed more; w is zero at the steepest
    edges of the magnitude and falls where the map has grown steep, so that strong sources do not lose their contrast.

    Parameters
    ----------
    local_field
        Field without background `(z, y, x)` [ppm].
    mask
        Bool `(z, y, x)`; outside, nothing is known of the field, and the result is zero.
    grid
        The grid with the direction of B0.
    settings
        Weights and stopping rule.
    magnitude
        Echo images `(echo, z, y, x)`, or one image `(z, y, x)`; None penalises edges everywhere.
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
    NotConverged
        The field holds extreme values.

    Source: Milovic 2018, doi:10.1002/mrm.27073 (weighted splitting); Liu 2012, doi:10.1002/mrm.24272 (edges of the
    magnitude); Candès 2008, doi:10.1007/s00041-008-9045-x (reweighting).
    """
    refuse_other_shapes(local_field, mask, field_noise)
    frame = frame_around(mask, grid, settings.margin)
    noise = settings.assumed_noise if field_noise is None else max(float(field_noise[mask].median()), 1e-9)
    highest = 1 / settings.edge_penalty
    penalty = settings.regularisation * noise * settings.edge_penalty
    thresholds = local_field.new_full(frame.grid.shape, highest)
    if magnitude is not None:
        spared = steep_places(magnitude, mask, grid.voxel_size_mm, settings.edge_share)
        thresholds[frame.window].masked_fill_(spared[frame.inner], 0.0)
        del spared
    alternation = weighted_alternation(frame, local_field, mask, field_noise, thresholds, penalty)
    total = settings.rounds * settings.iterations
    for number in range(settings.rounds):
        done = number * settings.iterations
        told = None if on_iteration is None else (lambda step, done=done: on_iteration((done + step) / total))
        goes_on = number + 1 < settings.rounds
        susceptibility = alternation.advance(settings.iterations, settings.tolerance, told, goes_on=goes_on)
        if goes_on:
            alternation.gradient.spare_steep_places(susceptibility, highest, settings.steepness)
            # Free it before the next round makes another.
            del susceptibility
    del alternation, thresholds
    return frame.restore(susceptibility).masked_fill_(~mask, 0.0)


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: WeightedTvSettings) -> dict[str, Tensor]:
    susceptibility = weighted_total_variation(
        artefacts["local_field"],
        artefacts["mask"],
        context.grid,
        settings,
        artefacts.get("magnitude"),
        artefacts.get("field_noise"),
        context.on_iteration,
    )
    return {"susceptibility": susceptibility}


WEIGHTED_TV = Method(
    name="weighted_tv",
    citation="after Milovic 2018, doi:10.1002/mrm.27073, with edges of the magnitude and reweighting",
    run=_run,
    settings=WeightedTvSettings,
    inputs=("local_field", "mask"),
    outputs=("susceptibility",),
    optional_inputs=("magnitude", "field_noise"),
    memory_volumes=10.5,
)
