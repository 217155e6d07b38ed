"""Dynamic streaking artefact regularisation, in our interpretation: streaks are found anew in every round's map."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.dipole import dipole_kernel
from pipeline.operators.fourier import inverse_transform, transform_over
from pipeline.operators.padding import frame_around
from pipeline.solvers.alternating_directions import Anchor
from pipeline.susceptibility.dipole_inversion.total_variation import refuse_other_shapes, weighted_alternation


@dataclass(frozen=True)
class DynamicStreakingSettings:
    """Settings of the regularisation of streaks."""

    regularisation: float = setting(
        0.1, "mm", "weight of the total variation, as a multiple of the field's median noise", minimum=1e-6
    )
    assumed_noise: float = setting(2e-3, "ppm", "noise of the field where none is given", minimum=1e-9)
    streak_penalty: float = setting(
        1e-3, "1", "weight of the squared streaks in the second round; every further round halves it", minimum=0.0
    )
    cone: float = setting(
        0.1, "1", "kernel values below this belong to the cone in which streaks live", minimum=0.01, maximum=0.6
    )
    steepness: float = setting(
        0.03,
        "ppm/mm",
        "gradient of the map at which half of what the cone holds is structure, and the penalty is halved",
        minimum=1e-6,
    )
    edge_penalty: float = setting(200.0, "1/(ppm·mm)", "penalty of the split gradient, per regularisation", minimum=1.0)
    rounds: int = setting(4, "1", "estimates of streaks and edges, the first of them of none", minimum=1, maximum=100)
    iterations: int = setting(8, "1", "alternating steps per round at most", minimum=1, maximum=1000)
    tolerance: float = setting(1e-2, "1", "stop where a step changes the map by less than this share", minimum=0.0)
    margin: int = setting(8, "voxel", "least padding around the mask", minimum=4, maximum=128)


def dynamic_streaking(
    local_field: Tensor,
    mask: Tensor,
    grid: Grid,
    settings: DynamicStreakingSettings,
    field_noise: Tensor | None = None,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Minimise ½‖W(D χ − f)‖² + λ Σ w |∇χ| + ½ γ ‖C F(χ − t)‖², with w and t taken from the last round's map.

    C keeps the cone of small kernel values. What of the map lies in that cone is structure t where the map is steep,
    and a streak where it is flat; a round draws the cone towards t alone, less and less strongly, while w spares the
    steep places.

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

    Source: our interpretation of Ye 2019, "Dynamic streaking artifact regularization for QSM", annual meeting of the
    ISMRM, of which only the title and its use are public: no formula, weight or stopping rule here is the authors'.
    """
    refuse_other_shapes(local_field, mask, field_noise)
    frame = frame_around(mask, grid, settings.margin)
    noise = settings.assumed_noise if field_noise is None else max(float(field_noise[mask].median()), 1e-9)
    highest = 1 / settings.edge_penalty
    penalty = settings.regularisation * noise * settings.edge_penalty
    thresholds = local_field.new_full(frame.grid.shape, highest)
    alternation = weighted_alternation(frame, local_field, mask, field_noise, thresholds, penalty)
    del thresholds
    cone = _cone(frame.grid, settings.cone, local_field)
    total = settings.rounds * settings.iterations
    for number in range(settings.rounds):
        done = number * settings.iterations
        told = None if on_iteration is None else (lambda step, done=done: on_iteration((done + step) / total))
        goes_on = number + 1 < settings.rounds
        susceptibility = alternation.advance(settings.iterations, settings.tolerance, told, goes_on=goes_on)
        if goes_on:
            alternation.gradient.spare_steep_places(susceptibility, highest, settings.steepness)
            flatness = alternation.gradient.thresholds
            spectrum = transform_over(susceptibility)
            # Freed before the next round makes another.
            del susceptibility
            alternation.anchor = None
            target = _structure_in_cone(spectrum, flatness, highest, cone, frame.grid)
            del spectrum
            alternation.anchor = Anchor(cone, target, settings.streak_penalty / 2**number)
    del alternation
    return frame.restore(susceptibility).masked_fill_(~mask, 0.0)


def _cone(grid: Grid, limit: float, like: Tensor) -> Tensor:
    """Return the flat places of the half spectrum where the kernel is small, but for its centre."""
    kernel = dipole_kernel(grid, dtype=like.dtype, device=like.device)
    kernel[0, 0, 0] = 1.0
    return torch.nonzero(kernel.abs_().flatten() < limit).flatten()


def _structure_in_cone(spectrum: Tensor, flatness: Tensor, highest: float, cone: Tensor, grid: Grid) -> Tensor:
    """Return, in the cone, the spectrum of what the map's cone holds where `flatness` is far below the highest.

    The map's spectrum is overwritten.
    """
    kept = spectrum.view(-1)[cone]
    spectrum.zero_().view(-1)[cone] = kept
    del kept
    structure = inverse_transform(spectrum, grid.shape)
    structure.addcmul_(structure, flatness, value=-1 / highest)
    return transform_over(structure).view(-1)[cone]


def _run(
    artefacts: Mapping[str, Tensor], context: StepContext, settings: DynamicStreakingSettings
) -> dict[str, Tensor]:
    susceptibility = dynamic_streaking(
        artefacts["local_field"],
        artefacts["mask"],
        context.grid,
        settings,
        artefacts.get("field_noise"),
        context.on_iteration,
    )
    return {"susceptibility": susceptibility}


DYNAMIC_STREAKING = Method(
    name="dynamic_streaking",
    citation="our interpretation of Ye 2019, Dynamic streaking artifact regularization for QSM, ISMRM annual meeting",
    run=_run,
    settings=DynamicStreakingSettings,
    inputs=("local_field", "mask"),
    outputs=("susceptibility",),
    optional_inputs=("field_noise",),
    memory_volumes=11.0,
)
