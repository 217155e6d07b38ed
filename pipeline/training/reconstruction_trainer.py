"""Trains one reconstruction network on slabs of simulated heads: steps, mean weights, validation, checkpoints."""

import copy
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import InvalidRecipe, NotConverged, UnusableInput
from pipeline.networks.reconstruction_table import RECONSTRUCTION_NETWORKS
from pipeline.training.checkpoints import (
    FILE,
    Checkpoint,
    load_checkpoint,
    refuse_another_training,
)
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.kspace_heads import head_material
from pipeline.training.datasets.kspace_slabs import KspaceExample
from pipeline.training.precision import Extent, autocast_for, chosen_precision, in_fast_layout
from pipeline.training.reconstruction_losses import reconstruction_loss
from pipeline.training.reconstruction_plans import ReconstructionPlan, find_reconstruction_plan
from pipeline.training.reconstruction_scores import held_out_slabs, image_scores
from pipeline.training.trainer import Listener, Outcome, TrainingLoop, TrainingSettings, follow

_LEAST_PATCH = 4
_FIRST_HEADS = 3
_LARGEST_GRADIENT = 1.0
_LOSSES_REMEMBERED = 50


def train_reconstruction(
    settings: TrainingSettings,
    folder: Path,
    device: torch.device,
    *,
    resumes: bool = False,
    facts: dict[str, Any] | None = None,
    listener: Listener | None = None,
) -> Outcome:
    """Train a reconstruction network until its steps or hours are done, or somebody stops it.

    Parameters
    ----------
    settings
        What to train; `patch` is the thickness of a slab along the readout, or the edge of a cube.
    folder
        Where the checkpoint is.
    device
        Where the network computes.
    resumes
        Go on with the checkpoint in the folder, where there is one.
    facts
        Plain values for the card.
    listener
        Is told.

    Raises
    ------
    UnknownMethod
        There is no such network.
    UnusableInput
        The folder holds a training already, or one that was begun otherwise.
    InvalidRecipe
        The patch is too small, or the precision unknown.
    NotConverged
        The loss is not finite; the checkpoint is that of an earlier step.
    """
    plan = find_reconstruction_plan(settings.network)
    training = ReconstructionTraining(settings, plan, folder, device, resumes, facts or {})
    with torch.random.fork_rng():
        return training.run(listener or Listener())


class ReconstructionTraining(TrainingLoop):
    """A reconstruction network under training."""

    def __init__(
        self,
        settings: TrainingSettings,
        plan: ReconstructionPlan,
        folder: Path,
        device: torch.device,
        resumes: bool,
        facts: dict[str, Any],
    ) -> None:
        self.settings, self.plan, self.folder, self.device = settings, plan, folder, device
        found = load_checkpoint(folder, device)
        if found is not None and not resumes:
            raise UnusableInput(
                f"{folder / FILE} holds a training of {found.step} steps. Add --resume to go on with it, or train into "
                "another folder: --out DIR"
            )
        before = found.identity if found is not None else {}
        self.batch = settings.batch or before.get("batch", plan.batch)
        self.patch = settings.patch or before.get("patch", plan.patch)
        identity = {"network": settings.network, "seed": settings.seed, "batch": self.batch, "patch": self.patch}
        if found is not None:
            refuse_another_training(found, identity, folder)
        if self.patch < _LEAST_PATCH:
            raise InvalidRecipe(f"A slab of {self.patch} voxels is too thin for {settings.network}; give --patch 8.")
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            self.network = RECONSTRUCTION_NETWORKS[settings.network].make().to(device)
        self.precision = chosen_precision(settings.precision, device, Extent(_LEAST_PATCH, 3))
        self._autocast = autocast_for(device, self.precision)
        for values in self.network.parameters():
            if values.ndim == 5:
                values.data = in_fast_layout(values.data)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=plan.rate)
        self._saved_at = time.monotonic()
        self._held_out: list[KspaceExample] = []
        if found is None:
            precision = str(self.precision).removeprefix("torch.")
            self.state = Checkpoint(identity, 0, 0.0, {}, {}, {}, facts={**facts, "precision": precision})
            self.save()
        else:
            self.state = found
            self.network.load_state_dict(found.model)
            self.average.load_state_dict(found.average)
            self.optimiser.load_state_dict(found.optimiser)

    def run(self, listener: Listener) -> Outcome:
        """Take steps until the end; save and return the last state."""
        found = held_out_slabs(self.plan.example, self.patch, self.settings.n_validation)
        self._held_out = [example.to(self.device) for example in found]
        return self.take_steps(listener)

    def shown(self, showing: int) -> KspaceExample:
        """Return the example of one showing, which its number and the seed decide alone."""
        chance = Chance(f"kspace slab/{self.settings.seed}/{showing}", torch.device("cpu"))
        newest = _FIRST_HEADS - 1 + showing // (self.plan.steps_per_head * self.batch)
        index = chance.integer(max(0, newest - self.plan.n_heads + 1), newest)
        material = head_material("training", self.settings.seed, index)
        return self.plan.example(material, chance, self.patch).to(self.device)

    def _step(self) -> float:
        step = self.state.step
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        self.optimiser.zero_grad(set_to_none=True)
        value = 0.0
        for showing in range(step * self.batch, (step + 1) * self.batch):
            loss = self._loss(self.shown(showing)) / self.batch
            loss.backward()
            value += float(loss.detach())
        gradient = nn.utils.clip_grad_norm_(self.network.parameters(), _LARGEST_GRADIENT)
        if not math.isfinite(value) or not math.isfinite(float(gradient)):
            raise NotConverged(
                f"The loss of {self.settings.network} is not a number at step {step + 1}. The last good state is in "
                f"{self.folder / FILE}: go on with --resume; if it happens again, add --precision float32, or train "
                "with another --seed."
            )
        self.optimiser.step()
        self.state.step = step + 1
        mean = self.state.loss
        self.state.loss = value if math.isnan(mean) else mean + (value - mean) / _LOSSES_REMEMBERED
        follow(self.average, self.network, self.state.step)
        return value

    def _rate(self) -> float:
        return self.plan.rate * self.plan.schedule(self.progress, self.state.step)

    def _loss(self, example: KspaceExample) -> Tensor:
        with self._autocast:
            iterates = self.network.iterates(*example.inputs, **self.plan.shortening(self.progress))  # type: ignore[operator]
        return reconstruction_loss(iterates, example)

    def _validate(self) -> None:
        found, before = image_scores(self.average, self._held_out, self._autocast, self.plan.shortening(self.progress))
        row = {
            "step": float(self.state.step),
            "hours": self.state.seconds / 3600,
            "loss": self.state.loss,
            "rate": self._rate(),
            "nrmse": found.mean_nrmse,
            "typical_nrmse": found.typical_nrmse,
            "slope": found.mean_slope,
            "start_nrmse": before.mean_nrmse,
            "start_typical_nrmse": before.typical_nrmse,
            "better_share": found.share_better_than(before),
        }
        past = [entry["typical_nrmse"] for entry in self.state.history]
        self.state.history.append(row)
        if not past or row["typical_nrmse"] < min(past):
            self.state.best_step = self.state.step
            self.state.best = {name: value.detach().clone() for name, value in self.average.state_dict().items()}
