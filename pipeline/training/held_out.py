"""Samples of the held-out generator: how well a network does on what it never trains on, beside classical methods."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.method import StepContext
from pipeline.methods import STEPS
from pipeline.networks.table import NetworkSpec
from pipeline.training.datasets.recipe import DataRecipe
from pipeline.training.datasets.sample import Sample
from pipeline.training.examples import Example, made_example

SEED = 2026
"""All trainings are judged on the same samples."""
_TINY = 1e-6
CLASSICAL = ("tkd", "l2", "total_variation", "weighted_tv")


@dataclass(frozen=True)
class Scores:
    """Errors of one method over the held-out samples, after the mean in the mask was taken from map and truth.

    Attributes
    ----------
    nrmse
        Root mean square error over the root mean square of the truth, for each sample [%].
    slope
        Regression of the map on the truth, for each sample.
    """

    nrmse: tuple[float, ...]
    slope: tuple[float, ...]

    @property
    def mean_nrmse(self) -> float:
        """Return the mean over the samples [%]."""
        return sum(self.nrmse) / len(self.nrmse)

    @property
    def typical_nrmse(self) -> float:
        """Return the geometric mean over the samples [%], which no hard sample decides alone."""
        return math.exp(sum(math.log(max(error, _TINY)) for error in self.nrmse) / len(self.nrmse))

    @property
    def mean_slope(self) -> float:
        """Return the mean over the samples."""
        return sum(self.slope) / len(self.slope)

    def share_better_than(self, other: "Scores") -> float:
        """Return on which share of the samples this method errs less."""
        return sum(mine < theirs for mine, theirs in zip(self.nrmse, other.nrmse, strict=True)) / len(self.nrmse)


def held_out_examples(
    recipe: DataRecipe, count: int, needs_start: bool, device: torch.device | str = "cpu"
) -> list[Example]:
    """Make the held-out samples of a recipe; they are the same in every training of that recipe."""
    validation = recipe.held_out()
    return [made_example(validation, SEED, index, needs_start, device) for index in range(count)]


def classical_scores(examples: Sequence[Example], methods: Sequence[str] = CLASSICAL) -> dict[str, Scores]:
    """Return the errors of classical inversions, each with its default settings."""
    return {name: scores([_inverted(name, one.sample) for one in examples], examples) for name in methods}


@torch.no_grad()
def network_maps(
    spec: NetworkSpec, network: nn.Module, examples: Sequence[Example], autocast: torch.autocast
) -> list[Tensor]:
    """Return a network's maps of the samples [ppm]; the network is left in the state that it was in."""
    was_training = network.training
    network.eval()
    maps = []
    for example in examples:
        channels, context = spec.prepare(example.sample, example.start)
        with autocast:
            output = spec.run(network, channels[None], [context])
        maps.append(spec.finish(output[0], context))
    network.train(was_training)
    return maps


def scores(maps: Sequence[Tensor], examples: Sequence[Example]) -> Scores:
    """Return the errors of maps of the samples, in the same order."""
    pairs = [_error(found, example.sample) for found, example in zip(maps, examples, strict=True)]
    return Scores(tuple(error for error, _ in pairs), tuple(slope for _, slope in pairs))


def _inverted(method: str, drawn: Sample) -> Tensor:
    chosen = STEPS["dipole_inversion"][method]
    artefacts = {
        "local_field": drawn.local_field,
        "mask": drawn.mask,
        "field_noise": drawn.field_noise,
        "magnitude": drawn.magnitude[None],
    }
    context = StepContext(drawn.grid, echo_times_s=(0.02,))
    return chosen.apply(artefacts, context, chosen.settings())["susceptibility"]


def _error(found: Tensor, drawn: Sample) -> tuple[float, float]:
    inside, truth = found[drawn.mask].double(), drawn.susceptibility[drawn.mask].double()
    inside, truth = inside - inside.mean(), truth - truth.mean()
    power = truth @ truth
    return 100 * float((inside - truth).norm() / power.sqrt()), float((inside @ truth) / power)
