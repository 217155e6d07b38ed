"""Makes the weights of a reconstruction network loadable: stored, listed by digest, judged, described by a card."""

from pathlib import Path

import torch

from pipeline.errors import UnusableInput
from pipeline.networks.reconstruction_table import RECONSTRUCTION_NETWORKS
from pipeline.networks.weights import FOLDER, load_network, model_card, store_weights
from pipeline.training.card_parts import TrainedWeights
from pipeline.training.checkpoints import Checkpoint
from pipeline.training.export import Exported
from pipeline.training.precision import autocast_for
from pipeline.training.reconstruction_card import ReconstructionCardFacts, reconstruction_card_text
from pipeline.training.reconstruction_plans import find_reconstruction_plan
from pipeline.training.reconstruction_scores import held_out_slabs, image_scores
from pipeline.training.trainer import weights_to_keep

START = "start"


def export_reconstruction(checkpoint: Checkpoint, n_samples: int, folder: Path = FOLDER) -> Exported:
    """Store the weights that a training keeps, judge what was stored, and write the card.

    Parameters
    ----------
    checkpoint
        The training.
    n_samples
        Held-out examples that it is judged on.
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
    plan = find_reconstruction_plan(name)
    stored = store_weights(name, weights_to_keep(checkpoint), folder)
    # What is judged is what was stored, rounding included.
    network = load_network(name, folder=folder)
    examples = held_out_slabs(plan.example, int(checkpoint.identity["patch"]), n_samples)
    own, start = image_scores(network, examples, autocast_for(torch.device("cpu"), torch.float32))
    weights = TrainedWeights(checkpoint, stored.sha256, stored.file.stat().st_size / 1e6)
    facts = ReconstructionCardFacts(RECONSTRUCTION_NETWORKS[name], plan, weights, own, start)
    card = model_card(name, folder)
    card.write_text(reconstruction_card_text(facts), encoding="utf-8")
    return Exported(stored, card, {name: own, START: start}, weights.visits < plan.visits)
