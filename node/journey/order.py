"""The journey as a table: the seven words in their order, and the function behind each."""

from collections.abc import Callable
from dataclasses import dataclass

from db.series import State
from node.journey import assembled, delivered, encoded, mapped, received, reconstructed, recorded
from node.services import Services


@dataclass(frozen=True)
class Step:
    """One word of the journey. `run(series_key, services)` may run twice with the same result."""

    word: State
    run: Callable[[str, Services], None]
    meaning: str


JOURNEY = (
    Step(State.RECEIVED, received.step, "look whether everything has arrived, and let the work begin"),
    Step(State.ASSEMBLED, assembled.step, "turn instances into one ordered acquisition"),
    Step(State.RECONSTRUCTED, reconstructed.step, "turn coil images or k-space into echo images"),
    Step(State.MAPPED, mapped.step, "turn echoes into susceptibility and its companions"),
    Step(State.ENCODED, encoded.step, "turn maps into valid DICOM objects"),
    Step(State.DELIVERED, delivered.step, "see every object accepted by every peer"),
    Step(State.RECORDED, recorded.step, "seal the run"),
)
IN_THE_WORKER = JOURNEY[1:5]
AFTER_SENDING = JOURNEY[5:]
