"""Makes a training's weights loadable: stored in half precision, listed by digest, described by a card."""

from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.errors import UnusableInput
from pipeline.networks.table import NETWORKS
from pipeline.networks.weights import FOLDER, StoredWeights, load_network, model_card, store_weights
from pipeline.training.card import CardFacts, card_text
from pipeline.training.card_parts import TrainedWeights
from pipeline.training.checkpoints import Checkpoint
from pipeline.training.datasets.recipe import DataRecipe
from pipeline.training.held_out import Scores, classical_scores, held_out_examples, network_maps, scores
from pipeline.training.plans import find_plan
from pipeline.training.precision import autocast_for
from pipeline.training.trainer import weights_to_keep


@dataclass(frozen=True)
class Exported:
    """What an export wrote, and how the stored weights do on the held-out samples beside classical methods."""

    weights: StoredWeights
    card: Path
    scores: dict[str, Scores]
    is_undertrained: bool


def export(checkpoint: Checkpoint, recipe: DataRecipe, n_samples: int, folder: Path = FOLDER) -> Exported:
    """Store the weights that a training keeps, judge what was stored, and write the card.

    Parameters
    ----------
    checkpoint
        The training.
    recipe
        Its data, with the shape that was used.
    n_samples
        Held-out samples that the network and the classical methods are judged on.
    folder
        Where weights, card and list of digests are.

    Raises
    ------
    UnusableInput
        Nothing was trained yet, or the weights do not fit into what may be stored.
    """
    name = checkpoint.identity["network"]
    if checkpoint.step == 0:
        raise UnusableInput(f"{name} has not been trained for a single step; there is nothing to export.")
    spec = NETWORKS[name]
    stored = store_weights(name, weights_to_keep(checkpoint), folder)
    # What is judged is what was stored, rounding included.
    network = load_network(name, folder=folder)
    examples = held_out_examples(recipe, n_samples, spec.needs_start)
    in_single = autocast_for(torch.device("cpu"), torch.float32)
    found = {name: scores(network_maps(spec, network, examples, in_single), examples), **classical_scores(examples)}
    weights, plan = TrainedWeights(checkpoint, stored.sha256, stored.file.stat().st_size / 1e6), find_plan(name)
    facts = CardFacts(spec, plan, recipe, weights, found)
    card = model_card(name, folder)
    card.write_text(card_text(facts), encoding="utf-8")
    return Exported(stored, card, found, weights.visits < plan.visits)
