"""What a network's card says about its training, in a few facts that a table has room for."""

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.networks.weights import FOLDER, is_trained, listed_weights, model_card

FULLY_TRAINED, NO_WEIGHTS, NO_CARD = "fully trained", "no weights", "trained, but its card says not how well"
# The lines of a card that `lodestone train NETWORK --export` writes.
_STATE = re.compile(r"\*\*State: ([^*]+?)\.\*\*")
_ROW = r"^- {}: (.+)$"


@dataclass(frozen=True)
class TrainingState:
    """How far a network is trained.

    Attributes
    ----------
    state
        "fully trained", "undertrained" or "no weights".
    hours
        How long it was trained [h]; None where that is not known.
    device
        On what; empty where that is not known.
    sha256
        Of its weights; empty where there are none.
    """

    state: str
    hours: float | None = None
    device: str = ""
    sha256: str = ""

    @property
    def is_full(self) -> bool:
        """Say whether the network was shown all that its plan wants to show it."""
        return self.state == FULLY_TRAINED

    @property
    def sentence(self) -> str:
        """Return the state with hours, device and digest, as far as they are known."""
        parts = [self.state]
        if self.hours is not None:
            parts.append(f"{self.hours:g} h" + (f" on {self.device}" if self.device else ""))
        return ", ".join(parts) + (f"; weights SHA-256 {self.sha256}" if self.sha256 else "")


def training_state(name: str, folder: Path = FOLDER) -> TrainingState:
    """Return how far a network is trained, from the list of weights and its card.

    Parameters
    ----------
    name
        A network of the table.
    folder
        The folder of weights and cards.

    Raises
    ------
    WeightsAltered
        The list of weights cannot be read.
    """
    if not is_trained(name, folder):
        return TrainingState(NO_WEIGHTS)
    sha256 = listed_weights(folder)[name].sha256
    card = model_card(name, folder)
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    known, hours, device = _STATE.search(text), _row(text, "hours"), _row(text, "device")
    return TrainingState(known[1] if known else NO_CARD, _number(hours), device, sha256)


def _row(text: str, name: str) -> str:
    found = re.search(_ROW.format(name), text, re.MULTILINE)
    return found[1].strip() if found else ""


def _number(text: str) -> float | None:
    try:
        return float(text.split()[0])
    except (ValueError, IndexError):
        return None
