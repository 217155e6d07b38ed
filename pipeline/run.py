"""Run a recipe on an acquisition: check the input, do the steps in order, collect maps and quality."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from pipeline.acquisition import Acquisition
from pipeline.errors import OutOfMemory, SingleEcho, UnusableInput
from pipeline.grid import Grid
from pipeline.input_check import all_finite
from pipeline.maps import CLASSICAL_SUSCEPTIBILITY, COMPANIONS, SUSCEPTIBILITY_SPREAD, Maps, Quality
from pipeline.method import LEARNED_MAP_USED, Finding, Method, OnFinding, OnIteration, StepContext
from pipeline.networks.cards import training_state
from pipeline.networks.weights import verified_digest
from pipeline.operators.dipole import Dipole
from pipeline.operators.padding import frame_around
from pipeline.quality import assess
from pipeline.recipe import Recipe
from pipeline.susceptibility.dipole_inversion.learned.trust_calibration import load_calibration

OnProgress = Callable[[str, float], None]
"""Called with a step's name and the fraction of it that is done (0 to 1); may raise to cancel the run."""

LEAST_SLICES = 16


def run(acquisition: Acquisition, recipe: Recipe, on_progress: OnProgress | None = None) -> tuple[Maps, Quality]:
    """Map an acquisition with a recipe.

    Parameters
    ----------
    acquisition
        Echo images; float32 on the device that shall compute. A mask in it replaces the recipe's masking step.
    recipe
        The chain.
    on_progress
        Told about the start (0), the long iterations and the end (1) of every step.

    Raises
    ------
    UnusableInput
        Values are not finite or all zero, there are too few slices, or a given mask is on another grid.
    SingleEcho
        The recipe needs several echoes and one was given.
    WeightsUnknown, WeightsMissing, WeightsAltered
        A network of the recipe has no weights, or not those that are listed, or its intervals and gates were not
        calibrated with them; nothing was computed yet.
    OutOfMemory
        The device has too little memory.
    """
    refuse_unusable(acquisition)
    weights = _verified_weights(recipe)
    if recipe.needs_several_echoes and len(acquisition.echo_times_s) == 1:
        raise SingleEcho(
            f"Recipe '{recipe.name}' separates the phase offset from the field, which needs two echoes or more; "
            "this series has one. Use the recipe 'single_echo'."
        )
    try:
        findings: list[Finding] = []
        artefacts = _run_steps(acquisition, recipe, on_progress or _ignore, findings.append)
        if recipe.networks and not any(LEARNED_MAP_USED in finding.figures for finding in findings):
            findings.append(_unchecked(recipe))
        maps = _collect(artefacts, recipe, acquisition.grid)
        quality = assess(maps, artefacts, acquisition.grid, acquisition.echo_times_s, acquisition.b0_tesla, findings)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory("The device has too little free memory for this series; try again later.") from error
    except RuntimeError as error:
        # PyTorch has no class of its own for the CPU's memory.
        if "DefaultCPUAllocator" not in str(error):
            raise
        raise OutOfMemory("This machine has too little free memory for this series; try again later.") from error
    return maps, replace(quality, weights=weights)


def refuse_unusable(acquisition: Acquisition) -> None:
    """Refuse an acquisition from which no map can come, with a sentence that says why and what to do.

    Raises
    ------
    UnusableInput
        Values are not finite or all zero, there are too few slices, or a given mask is on another grid.
    """
    for name, images in (("magnitude", acquisition.magnitude), ("phase", acquisition.phase)):
        if not all_finite(images):
            raise UnusableInput(f"The {name} images hold values that are not finite; export the series again.")
        if not bool(images.any()):
            raise UnusableInput(f"The {name} images hold only zeros; check that the {name} was exported.")
    if acquisition.mask is not None and tuple(acquisition.mask.shape) != acquisition.grid.shape:
        raise UnusableInput(
            f"The mask is {tuple(acquisition.mask.shape)} but the images are {acquisition.grid.shape}; "
            "give a mask on the grid of the images."
        )
    thinnest = min(acquisition.grid.shape)
    if thinnest < LEAST_SLICES:
        raise UnusableInput(
            f"The volume is only {thinnest} voxels thick; a dipole's field reaches further than that. "
            f"Acquire at least {LEAST_SLICES} slices, better the whole brain."
        )


def _verified_weights(recipe: Recipe) -> dict[str, str]:
    """Return the digest of every network's weights; refuse now what would be refused after minutes of work."""
    digests = {name: verified_digest(name) for name in recipe.networks}
    for method in map(recipe.method_of, recipe.steps):
        if method.learned and SUSCEPTIBILITY_SPREAD in method.outputs:
            load_calibration(method.name)
    return digests


def _ignore(step: str, fraction: float) -> None:
    """Stand in where nobody listens to the progress."""


def _run_steps(
    acquisition: Acquisition, recipe: Recipe, on_progress: OnProgress, on_finding: OnFinding
) -> dict[str, Tensor]:
    context = StepContext(acquisition.grid, acquisition.echo_times_s, acquisition.b0_tesla, on_finding=on_finding)
    artefacts = {"magnitude": acquisition.magnitude.float(), "phase": acquisition.phase.float()}
    if acquisition.mask is not None:
        artefacts["mask"] = acquisition.mask.bool()
    for step in recipe.steps:
        on_progress(step, 0.0)
        if not (step == "masking" and acquisition.mask is not None):
            method = recipe.method_of(step)
            listening = replace(context, on_iteration=_listener(on_progress, step))
            made = method.apply(artefacts, listening, recipe.settings_of(step))
            if step == "referencing" and CLASSICAL_SUSCEPTIBILITY in artefacts:
                made[CLASSICAL_SUSCEPTIBILITY] = _twin_with_same_reference(method, artefacts, context, recipe)
            artefacts.update(made)
        on_progress(step, 1.0)
    return artefacts


def _unchecked(recipe: Recipe) -> Finding:
    """Return what is to be said of a network that says nothing of its own map."""
    named = ", ".join(f"{name} ({training_state(name).state})" for name in recipe.networks)
    sentence = f"The map is that of the network {named}: no check of it was made, and no classical map is beside it."
    return Finding("unchecked", sentence, {LEARNED_MAP_USED: 1.0})


def _twin_with_same_reference(
    method: Method, artefacts: dict[str, Tensor], context: StepContext, recipe: Recipe
) -> Tensor:
    """Return the classical map with its zero found as that of the learned one, so that their values compare."""
    twin = {**artefacts, "susceptibility": artefacts[CLASSICAL_SUSCEPTIBILITY]}
    return method.apply(twin, context, recipe.settings_of("referencing"))["susceptibility"]


def _listener(on_progress: OnProgress, step: str) -> OnIteration:
    return lambda fraction: on_progress(step, fraction)


def _collect(artefacts: dict[str, Tensor], recipe: Recipe, grid: Grid) -> Maps:
    """Gather the maps, zero outside the final mask."""
    mask = artefacts["mask"]
    if "local_field" not in artefacts:
        # A method that goes from phase to susceptibility makes no field; the map's own field stands for it.
        artefacts["local_field"] = _field_of(artefacts["susceptibility"], mask, grid)
    names = ("susceptibility", "total_field", "local_field", "field_noise")
    inside = {name: torch.where(mask, artefacts[name], 0.0).float() for name in names}
    r2star = torch.where(mask, artefacts["r2star"], 0.0).float() if "r2star" in artefacts else None
    reference = recipe.steps["referencing"].method if "referencing" in recipe.steps else "none"
    companions = {name: artefacts[name].float() for name in COMPANIONS if name in artefacts}
    return Maps(mask=mask, r2star=r2star, reference=reference, companions=companions, **inside)


def _field_of(susceptibility: Tensor, mask: Tensor, grid: Grid) -> Tensor:
    frame = frame_around(mask, grid)
    source = frame.embed(torch.where(mask, susceptibility, 0.0))
    return frame.restore(Dipole.on(frame.grid, source)(source))
