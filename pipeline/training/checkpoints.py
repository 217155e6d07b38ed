"""Checkpoints of a training: one file, replaced as a whole, that holds all that the next step depends on."""

import math
import os
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import UnusableInput

FILE = "checkpoint.pt"
_FORMAT = 1

State = dict[str, Tensor]


@dataclass
class Checkpoint:
    """The state of a training between two steps.

    Attributes
    ----------
    identity
        What may not change when a training goes on: network, seed, batch, patch and data.
    step
        Steps taken.
    seconds
        Time spent on them [s], over all runs.
    model, optimiser, average
        The network, its optimiser, and the running mean of its weights.
    best
        The mean weights with the lowest validation error so far, and `best_step` at which they were; empty at first.
    history
        One row of plain numbers per validation, oldest first.
    loss
        Running mean of the loss; not a number before the first step.
    facts
        What the card says of it: device, precision, code revision, and `ended_by`, why the last run ended.
    """

    identity: dict[str, Any]
    step: int
    seconds: float
    model: State
    optimiser: dict[str, Any]
    average: State
    best: State = field(default_factory=dict)
    best_step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    loss: float = math.nan
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def kept_step(self) -> int:
        """Return after which step the weights were that are kept.

        The last where the schedule came to its end: its small last steps are what it is for, and no sample is shown so
        often that a training could have learned it by heart. Otherwise those that validated best.
        """
        is_complete = self.facts.get("ended_by") in ("steps", "hours")
        return self.step if is_complete or not self.best else self.best_step


def save_checkpoint(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write a checkpoint so that at any time the file is the former one or this one, whole.

    Parameters
    ----------
    checkpoint
        Tensors may be on any device.
    folder
        Made where it is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    part = path.with_name(f"{FILE}.part")
    with part.open("wb") as file:
        torch.save({"format": _FORMAT, **vars(checkpoint)}, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return path


def load_checkpoint(folder: Path, device: torch.device | str = "cpu") -> Checkpoint | None:
    """Read a folder's checkpoint; None where there is none. Nothing in the file is executed.

    Raises
    ------
    UnusableInput
        The file is no checkpoint of this version.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        if content.pop("format") != _FORMAT:
            raise UnusableInput(f"{path} is a checkpoint of another version. Train into another folder: --out DIR")
        return Checkpoint(**content)
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, AttributeError) as error:
        raise UnusableInput(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}). Train into another folder: --out DIR"
        ) from error


def refuse_another_training(checkpoint: Checkpoint, identity: dict[str, Any], folder: Path) -> None:
    """Refuse to go on with a training that was begun otherwise.

    Raises
    ------
    UnusableInput
        Network, seed, batch, patch or data differ; the sentence says which.
    """
    for name, value in identity.items():
        was = checkpoint.identity.get(name)
        if was != value:
            raise UnusableInput(
                f"The training in {folder} was begun with {name} {was}, not {value}. Go on with the former value, or "
                "train into another folder: --out DIR"
            )
