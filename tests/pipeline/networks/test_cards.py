"""What is told about a network's training is what its card says, and never more."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pipeline.networks.cards import NO_CARD, NO_WEIGHTS, TrainingState, training_state
from pipeline.networks.table import NETWORKS
from pipeline.networks.weights import model_card, store_weights
from pipeline.training.card import CardFacts, card_text
from pipeline.training.card_parts import TrainedWeights
from pipeline.training.datasets.recipe import DataRecipe
from pipeline.training.held_out import Scores
from pipeline.training.plans import find_plan

NAME = "lpcnn"
CARD = """# lpcnn

**State: undertrained.** It has seen 1,200 patches; a full training shows 100,000 (1.2 %).

## Training

- steps: 300
- hours: 0.52
- device: cpu, 1 thread
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(2)
    store_weights(NAME, NETWORKS[NAME].make().state_dict(), tmp_path)
    return tmp_path


def test_the_card_tells_state_hours_and_device(folder: Path) -> None:
    model_card(NAME, folder).write_text(CARD, encoding="utf-8")
    known = training_state(NAME, folder)
    assert (known.state, known.hours, known.device) == ("undertrained", 0.52, "cpu, 1 thread")
    assert known.sentence == f"undertrained, 0.52 h on cpu, 1 thread; weights SHA-256 {known.sha256}"
    assert len(known.sha256) == 64


def test_without_weights_a_card_counts_for_nothing(folder: Path) -> None:
    model_card("xqsm", folder).write_text(CARD, encoding="utf-8")
    assert training_state("xqsm", folder) == TrainingState(NO_WEIGHTS)


@pytest.mark.parametrize("text", [None, "# lpcnn\n\nWritten by hand.\n"])
def test_weights_without_a_telling_card_are_not_called_fully_trained(folder: Path, text: str | None) -> None:
    if text is not None:
        model_card(NAME, folder).write_text(text, encoding="utf-8")
    known = training_state(NAME, folder)
    assert (known.state, known.hours) == (NO_CARD, None)


def test_a_card_that_an_export_writes_can_be_read(folder: Path) -> None:
    training = SimpleNamespace(
        step=300,
        kept_step=200,
        seconds=1872.0,
        identity={"batch": 4, "patch": 48, "seed": 0},
        facts={"device": "NVIDIA H100", "precision": "bfloat16"},
    )
    errors = {NAME: Scores((40.0,), (0.9,))}
    facts = CardFacts(NETWORKS[NAME], find_plan(NAME), DataRecipe(), TrainedWeights(training, "0" * 64, 0.9), errors)
    model_card(NAME, folder).write_text(card_text(facts), encoding="utf-8")
    known = training_state(NAME, folder)
    assert (known.state, known.hours, known.device) == ("undertrained", 0.52, "NVIDIA H100")
