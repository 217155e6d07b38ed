"""What the cards of all networks have in common: whose it is, how far it is trained, and how it was trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pipeline.training.checkpoints import Checkpoint

UNDERTRAINED = "undertrained"


class Described(Protocol):
    """A row of either table of networks."""

    @property
    def name(self) -> str:
        """Return its name."""

    @property
    def citation(self) -> str:
        """Return whose it is."""

    @property
    def ours(self) -> str:
        """Return what of it is our choice."""

    @property
    def n_parameters(self) -> int:
        """Return how many trainable values it has."""


class Planned(Protocol):
    """A plan of either kind."""

    @property
    def source(self) -> str:
        """Return where it is from."""

    @property
    def visits(self) -> int:
        """Return how many samples a full training shows."""


@dataclass(frozen=True)
class TrainedWeights:
    """Stored weights and the training that gave them.

    Attributes
    ----------
    checkpoint
        The training; its facts hold device, precision and code revision.
    sha256, megabytes
        Of the file of weights.
    """

    checkpoint: Checkpoint
    sha256: str
    megabytes: float

    @property
    def visits(self) -> int:
        """Return how many samples the kept weights have seen."""
        return self.checkpoint.kept_step * int(self.checkpoint.identity["batch"])


def heading(spec: Described) -> str:
    """Return the network's name and whose it is."""
    ours = f" Ours in it: {spec.ours}." if spec.ours else ""
    return f"# {spec.name}\n\nSource: {spec.citation}.{ours} {spec.n_parameters:,} parameters."


def state(weights: TrainedWeights, plan: Planned, samples: str) -> str:
    """Return how far a network is trained; `samples` is the word for what it is shown."""
    share = 100 * weights.visits / plan.visits
    seen = f"It has seen {weights.visits:,} {samples}; a full training shows {plan.visits:,} ({share:.2g} %)."
    if weights.visits < plan.visits:
        return f"**State: {UNDERTRAINED}.** {seen} Figures below are those of this state, not of the method."
    return f"**State: fully trained.** {seen}"


def training(weights: TrainedWeights, plan: Planned, shape: str, more: Mapping[str, object] | None = None) -> str:
    """Return how a network was trained; `shape` is that of a sample, `more` holds rows that follow the plan."""
    checkpoint, known = weights.checkpoint, weights.checkpoint.facts
    rows = {
        "plan": plan.source,
        **(more or {}),
        "seed": checkpoint.identity["seed"],
        "steps": f"{checkpoint.step:,}; the weights are those after step {checkpoint.kept_step:,}",
        "batch and patch": f"{checkpoint.identity['batch']} × {shape} voxels",
        "hours": f"{checkpoint.seconds / 3600:.2f}",
        "device": known.get("device", "not recorded"),
        "precision": known.get("precision", "not recorded"),
        "code revision": known.get("code_revision", "not recorded"),
        "weights": f"running mean, half precision, {weights.megabytes:.1f} MB, SHA-256 `{weights.sha256}`",
    }
    if "remark" in known:
        rows["remark"] = known["remark"]
    return "## Training\n\n" + "\n".join(f"- {name}: {value}" for name, value in rows.items())
