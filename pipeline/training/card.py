"""The model card: what a network was trained on, how long and where, how it does on held-out samples, its limits."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from pipeline.networks.table import NetworkSpec
from pipeline.training.checkpoints import Checkpoint
from pipeline.training.datasets.recipe import HELD_OUT, DataRecipe
from pipeline.training.held_out import SEED, Scores
from pipeline.training.plans import TrainingPlan

UNDERTRAINED = "undertrained"


@dataclass(frozen=True)
class CardFacts:
    """What a card is written from.

    Attributes
    ----------
    spec, plan, recipe
        The network, its plan, and the data with the shape that was used.
    checkpoint
        The training; its facts hold device, precision and code revision.
    scores
        Errors on the held-out samples: the network's under its own name, then other methods'.
    sha256, megabytes
        Of the file of weights.
    """

    spec: NetworkSpec
    plan: TrainingPlan
    recipe: DataRecipe
    checkpoint: Checkpoint
    scores: Mapping[str, Scores]
    sha256: str
    megabytes: float

    @property
    def visits(self) -> int:
        """Return how many patches the kept weights have seen."""
        return self.checkpoint.kept_step * int(self.checkpoint.identity["batch"])

    @property
    def is_undertrained(self) -> bool:
        """Tell whether the network saw fewer patches than a full training shows it."""
        return self.visits < self.plan.visits


def card_text(facts: CardFacts) -> str:
    """Return the card in Markdown."""
    parts = [_heading(facts), _state(facts), _training(facts), _material(facts), _errors(facts), _limits(facts)]
    return "\n\n".join(parts) + "\n"


def _heading(facts: CardFacts) -> str:
    spec = facts.spec
    ours = f" Ours in it: {spec.ours}." if spec.ours else ""
    return f"# {spec.name}\n\nSource: {spec.citation}.{ours} {spec.n_parameters:,} parameters."


def _state(facts: CardFacts) -> str:
    share = 100 * facts.visits / facts.plan.visits
    seen = f"It has seen {facts.visits:,} patches; a full training shows {facts.plan.visits:,} ({share:.2g} %)."
    if facts.is_undertrained:
        return f"**State: {UNDERTRAINED}.** {seen} Figures below are those of this state, not of the method."
    return f"**State: fully trained.** {seen}"


def _training(facts: CardFacts) -> str:
    checkpoint, known = facts.checkpoint, facts.checkpoint.facts
    rows = {
        "plan": facts.plan.source,
        "loss": facts.plan.loss,
        "seed": checkpoint.identity["seed"],
        "steps": f"{checkpoint.step:,}; the weights are those after step {checkpoint.kept_step:,}",
        "batch and patch": f"{checkpoint.identity['batch']} × {checkpoint.identity['patch']}³ voxels",
        "hours": f"{checkpoint.seconds / 3600:.2f}",
        "device": known.get("device", "not recorded"),
        "precision": known.get("precision", "not recorded"),
        "code revision": known.get("code_revision", "not recorded"),
        "weights": f"running mean, half precision, {facts.megabytes:.1f} MB, SHA-256 `{facts.sha256}`",
    }
    return "## Training\n\n" + "\n".join(f"- {name}: {value}" for name, value in rows.items())


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
