"""The model card of a reconstruction network: its training, its data, its errors on held-out slabs, its limits."""

from dataclasses import dataclass

from pipeline.networks.reconstruction_table import ReconstructionSpec
from pipeline.training.card import UNDERTRAINED
from pipeline.training.checkpoints import Checkpoint
from pipeline.training.datasets.kspace_heads import HELD_OUT_FAMILIES, TRAINED_FAMILIES
from pipeline.training.held_out import SEED, Scores
from pipeline.training.reconstruction_plans import ReconstructionPlan


@dataclass(frozen=True)
class ReconstructionCardFacts:
    """What a card is written from.

    Attributes
    ----------
    spec, plan
        The network and its plan.
    checkpoint
        The training; its facts hold device, precision and code revision.
    scores, start_scores
        Errors on held-out slabs: the network's, and those of the images that it begins with.
    sha256, megabytes
        Of the file of weights.
    """

    spec: ReconstructionSpec
    plan: ReconstructionPlan
    checkpoint: Checkpoint
    scores: Scores
    start_scores: Scores
    sha256: str
    megabytes: float

    @property
    def visits(self) -> int:
        """Return how many examples the kept weights have seen."""
        return self.checkpoint.kept_step * int(self.checkpoint.identity["batch"])

    @property
    def is_undertrained(self) -> bool:
        """Tell whether the network saw fewer examples than a full training shows it."""
        return self.visits < self.plan.visits


def reconstruction_card_text(facts: ReconstructionCardFacts) -> str:
    """Return the card in Markdown."""
    parts = [_heading(facts), _state(facts), _training(facts), _material(facts), _errors(facts), _LIMITS]
    return "\n\n".join(parts) + "\n"


_LIMITS = """## Limits

- Simulated heads only, nobody's scan: no motion, no flow, no fat; voxels of 1.4 to 3.2 mm, signal-to-noise ratios \
of 20 to 120.
- Cartesian k-space of Poisson disks and regular patterns, acceleration 2 to 6; other patterns were never seen.
- Its images are used only where they give the measured samples back within the noise; the conventional images are \
always kept beside them, and the difference is reported.
- Not a medical device; no scan of a patient was used."""


def _heading(facts: ReconstructionCardFacts) -> str:
    spec = facts.spec
    return f"# {spec.name}\n\nSource: {spec.citation}. Ours in it: {spec.ours}. {spec.n_parameters:,} parameters."


def _state(facts: ReconstructionCardFacts) -> str:
    share = 100 * facts.visits / facts.plan.visits
    seen = f"It has seen {facts.visits:,} examples; a full training shows {facts.plan.visits:,} ({share:.2g} %)."
    if facts.is_undertrained:
        return f"**State: {UNDERTRAINED}.** {seen} Figures below are those of this state, not of the method."
    return f"**State: fully trained.** {seen}"


def _training(facts: ReconstructionCardFacts) -> str:
    checkpoint, known = facts.checkpoint, facts.checkpoint.facts
    rows = {
        "plan": facts.plan.source,
        "seed": checkpoint.identity["seed"],
        "steps": f"{checkpoint.step:,}; the weights are those after step {checkpoint.kept_step:,}",
        "batch and patch": f"{checkpoint.identity['batch']} × {checkpoint.identity['patch']} voxels",
        "hours": f"{checkpoint.seconds / 3600:.2f}",
        "device": known.get("device", "not recorded"),
        "precision": known.get("precision", "not recorded"),
        "code revision": known.get("code_revision", "not recorded"),
        "weights": f"running mean, half precision, {facts.megabytes:.1f} MB, SHA-256 `{facts.sha256}`",
    }
    if "remark" in known:
        rows["remark"] = known["remark"]
    return "## Training\n\n" + "\n".join(f"- {name}: {value}" for name, value in rows.items())


def _material(facts: ReconstructionCardFacts) -> str:
    return (
        f"## Data\n\nSimulated heads of the families {', '.join(TRAINED_FAMILIES)}, each with coil arrays of 6 to 12 "
        "loops, its own echo times, tilt and voxels; half of the sensitivities are those that the noisy centre of "
        "k-space gives."
    )


def _errors(facts: ReconstructionCardFacts) -> str:
    own, start = facts.scores, facts.start_scores
    return (
        f"## Held-out family\n\n{len(own.nrmse)} examples of seed {SEED} of heads that are never trained on, "
        f"{', '.join(HELD_OUT_FAMILIES)}; complex error over complex truth where there is signal.\n\n"
        "| images | NRMSE [%], mean (worst) | geometric mean | slope, mean |\n| --- | --- | --- | --- |\n"
        f"{_row(facts.spec.name, own)}\n{_row('those it begins with', start)}\n\n"
        f"The network errs less on {100 * own.share_better_than(start):.0f} % of the examples."
    )


def _row(name: str, found: Scores) -> str:
    errors = f"{found.mean_nrmse:.1f} ({max(found.nrmse):.1f}) | {found.typical_nrmse:.1f}"
    return f"| {name} | {errors} | {found.mean_slope:.3f} |"
