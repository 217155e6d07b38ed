"""Trains one network: steps, running mean of weights, validation on held-out samples, checkpoints, early stop."""

import copy
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import InvalidRecipe, NotConverged, UnusableInput
from pipeline.networks.table import NETWORKS, TRAINING_SCALING, NetworkSpec
from pipeline.susceptibility.dipole_inversion.total_variation import relative_precision
from pipeline.training.checkpoints import (
    FILE,
    Checkpoint,
    State,
    load_checkpoint,
    refuse_another_training,
    save_checkpoint,
)
from pipeline.training.examples import Example, ExampleOrder, ExampleStream
from pipeline.training.held_out import held_out_examples, network_maps, scores
from pipeline.training.losses import LOSSES, Wanted
from pipeline.training.plans import TrainingPlan, find_plan
from pipeline.training.precision import Extent, autocast_for, chosen_precision, in_fast_layout
from pipeline.training.schedules import plateau_factor

_LEAST_COARSEST = 2
_LEAST_START_ERROR = 0.05
"""A start map that is better than this share of the truth's contrast is not asked to become better still."""
_TINY_PPM = 1e-9
_LARGEST_GRADIENT = 1.0
_LONGEST_MEMORY = 0.999
_LOSSES_REMEMBERED = 50
_RMSPROP_MEMORY = 0.9


@dataclass(frozen=True)
class TrainingSettings:
    """What a person decides of a training; None and 0 leave it to the plan of the network.

    Attributes
    ----------
    network
        A name of the table.
    seed
        Decides first weights, data and their order.
    batch, patch
        Samples per step and their edge [voxels].
    steps, hours
        The end, whichever comes first; the schedule follows the steps where they are given, else the clock. Hours
        count all runs of a training.
    orientations
        1 takes the truth as label, 3 or more COSMOS of as many orientations.
    precision
        "auto", "float32" or "bfloat16".
    n_workers
        Processes that make samples; 0 makes them here, on the device.
    validate_every, n_validation
        Steps between validations, and how many held-out samples each takes.
    patience
        Validations without gain after which the training ends.
    save_every_s
        Longest time between checkpoints [s].
    """

    network: str
    seed: int = 1
    batch: int = 0
    patch: int = 0
    steps: int | None = None
    hours: float | None = None
    orientations: int = 1
    precision: str = "auto"
    n_workers: int = 1
    validate_every: int = 200
    n_validation: int = 16
    patience: int = 40
    save_every_s: float = 90.0


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    checkpoint
        The state at its end, which was saved.
    reason
        "steps", "hours", "early stop" or "interrupted".
    """

    checkpoint: Checkpoint
    reason: str


@dataclass(frozen=True)
class Listener:
    """Who hears of a training; each may be left out.

    Attributes
    ----------
    on_step
        Called with the steps taken, the share done and the loss.
    on_validation
        Called with the history, whose last row is new.
    should_stop
        Asked after every step.
    """

    on_step: Callable[[int, float, float], None] = lambda step, progress, loss: None
    on_validation: Callable[[Sequence[dict[str, float]]], None] = lambda history: None
    should_stop: Callable[[], bool] = lambda: False


def train(
    settings: TrainingSettings,
    folder: Path,
    device: torch.device,
    *,
    resumes: bool = False,
    facts: dict[str, Any] | None = None,
    listener: Listener | None = None,
) -> Outcome:
    """Train a network until its steps or hours are done, it gains no more, or somebody stops it.

    With `steps`, in float32 on a CPU and with the same number of threads, a training that was stopped and resumed
    ends with the same bits as one that was not.

    Parameters
    ----------
    settings
        What to train.
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
        The patch is too small, or the precision unknown or wrong for it.
    NotConverged
        The loss or its gradient is not finite; the checkpoint is that of an earlier step.
    """
    plan = find_plan(settings.network)
    training = Training(settings, plan, folder, device, resumes, facts or {})
    order = ExampleOrder(
        training.recipe,
        settings.seed,
        NETWORKS[settings.network].needs_start,
        plan.window,
        plan.reuse,
        plan.knows_direction,
        plan.amplitude,
    )
    # Dropout draws from torch's global generator; it is left as it was.
    with torch.random.fork_rng(), ExampleStream(order, settings.n_workers, device) as stream:
        return training.run(stream, listener or Listener())


class TrainingLoop(ABC):
    """What every training does alike: steps until its end, with validations and checkpoints on the way."""

    settings: TrainingSettings
    folder: Path
    network: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    state: Checkpoint
    _saved_at: float

    @abstractmethod
    def _step(self) -> float:
        """Take one step; return its loss."""

    @abstractmethod
    def _validate(self) -> None:
        """Score the held-out samples, and add a row to the history."""

    def take_steps(self, listener: Listener) -> Outcome:
        """Take steps until the end; save and return the last state."""
        reason = self._reason_to_end()
        while not reason:
            began = time.monotonic()
            loss = self._step()
            if self.state.step % self.settings.validate_every == 0:
                self._validate()
                listener.on_validation(self.state.history)
            self.state.seconds += time.monotonic() - began
            listener.on_step(self.state.step, self.progress, loss)
            reason = "interrupted" if listener.should_stop() else self._reason_to_end()
            if not reason and time.monotonic() - self._saved_at > self.settings.save_every_s:
                self.save()
        last = self.state.history[-1]["step"] if self.state.history else -1
        if reason != "interrupted" and last != self.state.step:
            self._validate()
            listener.on_validation(self.state.history)
        self.state.facts["ended_by"] = reason
        self.save()
        return Outcome(self.state, reason)

    @property
    def progress(self) -> float:
        """Return the share of the training that is done."""
        steps, hours = self.settings.steps, self.settings.hours
        if steps is not None:
            return min(1.0, self.state.step / max(steps, 1))
        return min(1.0, self.state.seconds / 3600 / hours) if hours else 0.0

    def save(self) -> None:
        """Write the checkpoint."""
        state = self.state
        state.model, state.average = self.network.state_dict(), self.average.state_dict()
        state.optimiser = self.optimiser.state_dict()
        save_checkpoint(state, self.folder)
        self._saved_at = time.monotonic()

    def _reason_to_end(self) -> str:
        steps, hours, history = self.settings.steps, self.settings.hours, self.state.history
        if steps is not None and self.state.step >= steps:
            return "steps"
        if hours is not None and self.state.seconds >= hours * 3600:
            return "hours"
        waited = sum(row["step"] > self.state.best_step for row in history)
        return "early stop" if waited >= self.settings.patience else ""


class Training(TrainingLoop):
    """A network under training."""

    def __init__(
        self,
        settings: TrainingSettings,
        plan: TrainingPlan,
        folder: Path,
        device: torch.device,
        resumes: bool,
        facts: dict[str, Any],
    ) -> None:
        self.settings, self.plan, self.folder, self.device = settings, plan, folder, device
        self.spec: NetworkSpec = NETWORKS[settings.network]
        found = load_checkpoint(folder, device)
        if found is not None and not resumes:
            raise UnusableInput(
                f"{folder / FILE} holds a training of {found.step} steps. Add --resume to go on with it, or train into "
                "another folder: --out DIR"
            )
        before = found.identity if found is not None else {}
        self.batch = settings.batch or before.get("batch", plan.batch)
        patch = settings.patch or before.get("patch", plan.patch)
        identity = {
            "network": settings.network,
            "seed": settings.seed,
            "batch": self.batch,
            "patch": patch,
            "orientations": settings.orientations,
        }
        if found is not None:
            refuse_another_training(found, identity, folder)
        self.recipe = replace(plan.recipe, shape=(patch, patch, patch), orientations=settings.orientations)
        multiple = getattr(self.spec.preparation, "multiple", 1)
        if patch < _LEAST_COARSEST * multiple:
            raise InvalidRecipe(
                f"A patch of {patch} voxels along an axis is too small for {settings.network}: it needs at least "
                f"{_LEAST_COARSEST * multiple} voxels. Give another --patch."
            )
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            self.network = self.spec.make().to(device)
        self.precision = chosen_precision(settings.precision, device, Extent.of(self.network, patch, multiple))
        self._autocast = autocast_for(device, self.precision)
        self._saved_at = time.monotonic()
        for values in self.network.parameters():
            if values.ndim == 5:
                values.data = in_fast_layout(values.data)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimiser = _optimiser(plan, self.network)
        if found is None:
            precision = str(self.precision).removeprefix("torch.")
            self.state = Checkpoint(identity, 0, 0.0, {}, {}, {}, facts={**facts, "precision": precision})
            self.save()
        else:
            self.state = found
            self.network.load_state_dict(found.model)
            self.average.load_state_dict(found.average)
            self.optimiser.load_state_dict(found.optimiser)
        self._held_out: list[Example] = []

    def run(self, stream: ExampleStream, listener: Listener) -> Outcome:
        """Take steps until the end; save and return the last state."""
        self._held_out = held_out_examples(self.recipe, self.settings.n_validation, self.spec.needs_start, self.device)
        self._stream = stream
        return self.take_steps(listener)

    def _step(self) -> float:
        step = self.state.step
        first = step * self.batch
        examples = [self._stream.shown(showing) for showing in range(first, first + self.batch)]
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        # Seeded by the step, so that dropout goes on after a stop as it would have.
        torch.manual_seed(self.settings.seed * 1_000_003 + step)
        loss = self._loss(examples)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        gradient = nn.utils.clip_grad_norm_(self.network.parameters(), _LARGEST_GRADIENT)
        value = float(loss.detach())
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
        past = [row["typical_nrmse"] for row in self.state.history]
        factor = self.plan.schedule(self.progress, self.state.step)
        return self.plan.rate * factor * plateau_factor(past, self.plan.plateau_patience)

    def _loss(self, examples: Sequence[Example]) -> Tensor:
        prepared = [self.spec.prepare(example.sample, example.start) for example in examples]
        contexts = [context for _, context in prepared]
        channels = in_fast_layout(torch.stack([channels for channels, _ in prepared]))
        with self._autocast:
            outputs = self.spec.run(self.network, channels, contexts)
        maps = [self.spec.finish(output, context) for output, context in zip(outputs, contexts, strict=True)]
        return LOSSES[self.plan.loss](torch.stack(maps), wanted_of(examples))

    def _validate(self) -> None:
        maps = network_maps(self.spec, self.average, self._held_out, self._autocast)
        found = scores(maps, self._held_out)
        row = {
            "step": float(self.state.step),
            "hours": self.state.seconds / 3600,
            "loss": self.state.loss,
            "rate": self._rate(),
            "nrmse": found.mean_nrmse,
            "typical_nrmse": found.typical_nrmse,
            "slope": found.mean_slope,
        }
        if self.spec.needs_start:
            before = scores([one.start[-1] for one in self._held_out if one.start is not None], self._held_out)
            row |= {
                "start_nrmse": before.mean_nrmse,
                "start_typical_nrmse": before.typical_nrmse,
                "better_share": found.share_better_than(before),
            }
        past = [entry["typical_nrmse"] for entry in self.state.history]
        self.state.history.append(row)
        if not past or row["typical_nrmse"] < min(past):
            self.state.best_step = self.state.step
            self.state.best = {name: value.detach().clone() for name, value in self.average.state_dict().items()}


def follow(average: nn.Module, network: nn.Module, step: int) -> None:
    """Move a running mean of weights towards a network's; its memory grows to a thousand steps.

    Parameters
    ----------
    average
        Changed; buffers are copied.
    network
        Left as it is.
    step
        Steps taken.
    """
    share = 1 - min(_LONGEST_MEMORY, (1 + step) / (10 + step))
    with torch.no_grad():
        for mean, value in zip(average.parameters(), network.parameters(), strict=True):
            mean.lerp_(value, share)
        for kept, buffer in zip(average.buffers(), network.buffers(), strict=True):
            kept.copy_(buffer)


def wanted_of(examples: Sequence[Example]) -> Wanted:
    """Return what the maps of some examples of one shape should be.

    One unit is the deviation of the training material; where a network mends start maps, it is the mean absolute error
    of the last of them, so that easy samples, whose errors are small, weigh as much as hard ones.
    """
    drawn = [example.sample for example in examples]
    truth = torch.stack([one.susceptibility for one in drawn])
    unit = truth.new_full((len(drawn), 1, 1, 1), TRAINING_SCALING.susceptibility_deviation)
    field_unit = truth.new_full((len(drawn), 1, 1, 1), TRAINING_SCALING.field_deviation)
    for row, example in zip(unit, examples, strict=True):
        if example.start is not None:
            row.fill_(_error_of_start(example, example.start[-1]))
    return Wanted(
        truth,
        torch.stack([one.local_field for one in drawn]),
        torch.stack([relative_precision(one.mask, one.field_noise, one.local_field).sqrt() for one in drawn]),
        torch.stack([one.mask for one in drawn]).to(truth.dtype),
        unit,
        field_unit,
        [one.grid for one in drawn],
    )


def _error_of_start(example: Example, start: Tensor) -> Tensor:
    inside = example.sample.mask
    error = start[inside] - example.sample.susceptibility[inside]
    contrast = example.sample.susceptibility[inside].abs().mean()
    return (error - error.mean()).abs().mean().clamp(min=float(_LEAST_START_ERROR * contrast) + _TINY_PPM)


def weights_to_keep(checkpoint: Checkpoint) -> State:
    """Return the mean weights at the end of a complete training, else those that validated best."""
    return checkpoint.average if checkpoint.kept_step == checkpoint.step else checkpoint.best


def _optimiser(plan: TrainingPlan, network: nn.Module) -> torch.optim.Optimizer:
    if plan.optimiser == "rmsprop":
        return torch.optim.RMSprop(
            network.parameters(), lr=plan.rate, alpha=_RMSPROP_MEMORY, weight_decay=plan.weight_decay
        )
    return torch.optim.Adam(network.parameters(), lr=plan.rate, weight_decay=plan.weight_decay)
