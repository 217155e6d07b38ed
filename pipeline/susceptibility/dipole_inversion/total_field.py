"""Robust total-field inversion: one step from the total field to susceptibility, without background field removal."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.operators.dipole import Dipole
from pipeline.operators.padding import Frame, frame_around
from pipeline.susceptibility.dipole_inversion.total_field_grids import fine_problem, halved
from pipeline.susceptibility.dipole_inversion.total_field_rounds import Effort, explain


@dataclass(frozen=True)
class RobustSettings:
    """Settings of the robust total-field inversion."""

    regularisation: float = setting(
        3e-4, "ppm·mm", "weight of the total variation against the squared field error", minimum=0.0
    )
    outside_scale: float = setting(
        3.0,
        "1",
        "how many times larger sources outside the brain may be taken in one step",
        minimum=1.0,
        maximum=1000.0,
    )
    smoothing: float = setting(
        1e-3, "ppm/mm", "gradients below this are treated as noise by the total variation", minimum=1e-6
    )
    edge_fraction: float = setting(
        0.3, "1", "share of the strongest gradients of the late echoes not penalised", minimum=0.0, maximum=0.9
    )
    rim_stiffness: float = setting(
        3.0, "1", "how many times stronger the total variation is in the mask's outermost layer", minimum=0.0
    )
    levels: int = setting(3, "1", "grids: the full one, and coarser ones that give its start", minimum=1, maximum=4)
    coarse_rounds: int = setting(3, "1", "reweightings on each coarser grid", minimum=1, maximum=100)
    coarse_iterations: int = setting(
        250, "1", "conjugate gradient steps per reweighting there", minimum=1, maximum=1000
    )
    rounds: int = setting(3, "1", "reweightings on the full grid", minimum=1, maximum=100)
    iterations: int = setting(45, "1", "conjugate gradient steps per reweighting", minimum=1, maximum=1000)
    restoring_rounds: int = setting(
        2,
        "1",
        "how many of these are also given what was left unexplained, to restore contrast",
        minimum=0,
        maximum=100,
    )
    margin: int = setting(8, "voxel", "least padding around the mask", minimum=4, maximum=128)


def invert_total_field(
    total_field: Tensor,
    mask: Tensor,
    magnitude: Tensor,
    field_noise: Tensor,
    grid: Grid,
    settings: RobustSettings,
    on_iteration: OnIteration | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the susceptibility whose field, with that of sources outside the mask, explains the total field.

    Minimises ½‖W(D χ − B)‖² + λ Σ |∇χ| over the padded volume by reweighted least squares. Total variation acts inside
    the mask only and spares the strongest edges of the magnitude, except in the outermost layer; sources outside are
    free, and enter scaled by at most `outside_scale`, so that conjugate gradients explain the background by them first.
    After every round voxels whose field is explained badly lose weight; the last rounds are given the field left
    unexplained once more, which restores contrast that total variation takes (Bregman iteration). Solutions on coarser
    grids are the start: a step costs an eighth there, and few long runs settle the slow modes, in which sources inside
    and outside have nearly the same field.

    Parameters
    ----------
    total_field
        Relative field `(z, y, x)` [ppm], used inside the mask.
    mask
        Bool `(z, y, x)`.
    magnitude
        Echo images `(echo, z, y, x)`, or one image `(z, y, x)` [arbitrary].
    field_noise
        Standard deviation of the total field `(z, y, x)` [ppm].
    grid
        The grid with the direction of B0.
    settings
        Weights and numbers of iterations.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Susceptibility [ppm]; its field, the local field [ppm]; the field of all sources, inside and outside, which should
    equal the total field up to noise [ppm]. All `(z, y, x)`, zero outside the mask.

    Raises
    ------
    UnusableInput
        Shapes disagree or the mask is empty.
    NotConverged
        The field holds extreme values.

    Source: after Liu 2017, doi:10.1002/mrm.26331 (preconditioned total-field inversion); Liu 2012,
    doi:10.1002/mrm.24272 (edge mask); Vogel & Oman 1996, doi:10.1137/0917016 (lagged diffusivity); Osher 2005,
    doi:10.1137/040605412 (Bregman iteration).
    """
    frame, sources, inside = sources_of_field(total_field, mask, magnitude, field_noise, grid, settings, on_iteration)
    dipole = Dipole.on(frame.grid, sources)
    explained = frame.restore(dipole(sources)).add_(total_field[mask].median()).mul_(mask)
    brain = sources.mul_(inside)
    return frame.restore(brain) * mask, frame.restore(dipole(brain)) * mask, explained


def sources_of_field(
    total_field: Tensor,
    mask: Tensor,
    magnitude: Tensor,
    field_noise: Tensor,
    grid: Grid,
    settings: RobustSettings,
    on_iteration: OnIteration | None = None,
) -> tuple[Frame, Tensor, Tensor]:
    """Find the sources inside and outside the mask that explain the total field; parameters as above.

    Returns
    -------
    The padded volume; on it, the sources `(z, y, x)` [ppm], and which of them lie inside the mask, bool.

    Raises
    ------
    UnusableInput
        Shapes disagree or the mask is empty.
    NotConverged
        The field holds extreme values.
    """
    for name, volume in (("total field", total_field), ("field noise", field_noise)):
        if volume.shape != mask.shape:
            raise UnusableInput(f"The {name} has shape {tuple(volume.shape)} but the mask {tuple(mask.shape)}.")
    frame = frame_around(mask, grid, settings.margin, multiple=2**settings.levels)
    problems = [
        fine_problem(
            frame,
            total_field,
            mask,
            magnitude,
            field_noise,
            edge_fraction=settings.edge_fraction,
            rim_stiffness=settings.rim_stiffness,
            outside_scale=settings.outside_scale,
        )
    ]
    efforts = [Effort(settings.rounds, settings.iterations, settings.restoring_rounds)]
    while len(problems) < settings.levels:
        problems[-1:] = halved(problems[-1], settings.outside_scale)
        efforts.append(Effort(settings.coarse_rounds, settings.coarse_iterations))
    sources = explain(problems, efforts, settings.regularisation, settings.smoothing, on_iteration)
    return frame, sources, problems[0].inside


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: RobustSettings) -> dict[str, Tensor]:
    susceptibility, local_field, explained_field = invert_total_field(
        artefacts["total_field"],
        artefacts["mask"],
        artefacts["magnitude"],
        artefacts["field_noise"],
        context.grid,
        settings,
        context.on_iteration,
    )
    return {"susceptibility": susceptibility, "local_field": local_field, "explained_field": explained_field}


ROBUST = Method(
    name="robust",
    citation="after Liu 2017, doi:10.1002/mrm.26331, with residual reweighting",
    run=_run,
    settings=RobustSettings,
    inputs=("total_field", "mask", "magnitude", "field_noise"),
    outputs=("susceptibility", "local_field", "explained_field"),
    memory_volumes=9.0,
)
