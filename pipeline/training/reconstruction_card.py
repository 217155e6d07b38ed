"""The model card of a reconstruction network: its training, its data, its errors on held-out slabs, its limits."""

from dataclasses import dataclass

from pipeline.networks.reconstruction_table import ReconstructionSpec
from pipeline.training.card_parts import TrainedWeights, heading, state, training
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
    weights
        What was trained.
    scores, start_scores
        Errors on held-out slabs: the network's, and those of the images that it begins with.
    """

    spec: ReconstructionSpec
    plan: ReconstructionPlan
    weights: TrainedWeights
    scores: Scores
    start_scores: Scores


def reconstruction_card_text(facts: ReconstructionCardFacts) -> str:
    """Return the card in Markdown."""
    parts = [
        heading(facts.spec),
        state(facts.weights, facts.plan, "examples"),
        training(facts.weights, facts.plan, str(facts.weights.checkpoint.identity["patch"])),
    ]
    return "\n\n".join([*parts, _material(facts), _errors(facts), _LIMITS]) + "\n"


_LIMITS = """## Limits

- Simulated heads only, nobody's scan: no motion, no flow, no fat; voxels of 0.7 to 3.0 mm, signal-to-noise ratios \
of 20 to 120.
- Cartesian k-space of Poisson disks and regular patterns, acceleration 2 to 6; other patterns were never seen.
- Its images are used only where they give the measured samples back within the noise; the conventional images are \
always kept beside them, and the difference is reported.
- Not a medical device; no scan of a patient was used."""


def _material(facts: ReconstructionCardFacts) -> str:
    return (
        f"## Data\n\nSimulated heads of the families {', '.join(TRAINED_FAMILIES)}, each with coil arrays of 6 to 12 "
        "loops, its own echo times, tilt and voxels; a fifth of the sensitivities are those that the noisy centre of "
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
