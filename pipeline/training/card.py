"""The model card: what a network was trained on, how long and where, how it does on held-out samples, its limits."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from pipeline.networks.table import NetworkSpec
from pipeline.training.card_parts import TrainedWeights, heading, state, training
from pipeline.training.datasets.recipe import HELD_OUT, DataRecipe
from pipeline.training.held_out import SEED, Scores
from pipeline.training.plans import TrainingPlan


@dataclass(frozen=True)
class CardFacts:
    """What a card is written from.

    Attributes
    ----------
    spec, plan, recipe
        The network, its plan, and the data with the shape that was used.
    weights
        What was trained.
    scores
        Errors on the held-out samples: the network's under its own name, then other methods'.
    """

    spec: NetworkSpec
    plan: TrainingPlan
    recipe: DataRecipe
    weights: TrainedWeights
    scores: Mapping[str, Scores]


def card_text(facts: CardFacts) -> str:
    """Return the card in Markdown."""
    shape = f"{facts.weights.checkpoint.identity['patch']}³"
    parts = [
        heading(facts.spec),
        state(facts.weights, facts.plan, "patches"),
        training(facts.weights, facts.plan, shape, {"loss": facts.plan.loss}),
    ]
    return "\n\n".join([*parts, _material(facts), _errors(facts), _limits(facts)]) + "\n"


def _material(facts: CardFacts) -> str:
    label = "COSMOS of simulated fields" if facts.recipe.orientations > 1 else "the simulated truth"
    rows = [f"| {item.name} | {_shown(getattr(facts.recipe, item.name))} |" for item in fields(facts.recipe)]
    start = (
        "\n\nThe two start maps are of the kind of `weighted_tv`, their regularisation varied by up to a factor of 1.5."
        if facts.spec.needs_start
        else ""
    )
    return (
        f"## Data\n\nSimulated only, nobody's scan; the label is {label}. Samples are mirrored, turned and negated."
        f"{start}\n\n| recipe | |\n| --- | --- |\n" + "\n".join(rows)
    )


def _errors(facts: CardFacts) -> str:
    own, held_out = facts.scores[facts.spec.name], ", ".join(HELD_OUT)
    lines = [
        f"## Held-out generator\n\n{len(own.nrmse)} samples of seed {SEED} of what is never trained on, {held_out}; "
        "errors after the mean in the mask was taken from map and truth. Classical methods with default settings.",
        "",
        "| method | NRMSE [%], mean (worst) | geometric mean | slope, mean | network errs less on |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, found in facts.scores.items():
        against = "" if name == facts.spec.name else f"{100 * own.share_better_than(found):.0f} % of samples"
        errors = f"{found.mean_nrmse:.1f} ({max(found.nrmse):.1f}) | {found.typical_nrmse:.1f}"
        lines.append(f"| {name} | {errors} | {found.mean_slope:.3f} | {against} |")
    return "\n".join(lines)


def _limits(facts: CardFacts) -> str:
    recipe = facts.recipe
    limits = [
        f"Noise outside {recipe.noise_ppb[0]:g} to {recipe.noise_ppb[1]:g} ppb and voxels outside "
        f"{recipe.finest_mm[0]:g} to {recipe.finest_mm[1]:g} mm (least edge) were never seen.",
        "Judged on simulated patches here; whole heads, tilts and slabs are judged by `lodestone evaluate`.",
        "Not a medical device; no scan of a patient was used.",
    ]
    if facts.plan.knows_direction:
        limits.insert(
            0, f"B0 up to {recipe.tilt_max_deg:g}° from the first axis, edges up to {recipe.aspect_max:g} : 1."
        )
    else:
        limits.insert(0, "Only B0 along the first axis (slices across B0) and cubic voxels: it is told neither.")
    if facts.spec.needs_start:
        limits.insert(1, "It mends its own two start maps; on maps of other methods it was not trained.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(" ".join(map(str, entry)) if isinstance(entry, tuple) else str(entry) for entry in value)
    return str(value)
