"""The stream of samples: each is decided by recipe, seed and index alone, so workers may share it in any order."""

from collections.abc import Iterator

import torch

from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.recipe import DataRecipe
from pipeline.training.datasets.sample import Sample, made


def sample(recipe: DataRecipe, seed: int, index: int, device: str | torch.device = "cpu") -> Sample:
    """Return one sample of a recipe.

    Parameters
    ----------
    recipe
        The distribution.
    seed
        Names the stream.
    index
        Names the sample within it.
    device
        Where its tensors lie. Shapes and their places are the same on every device; fine textures and noise are drawn
        by each.

    Returns
    -------
    The same bits for the same arguments on a CPU.
    """
    return made(recipe, Chance(f"{recipe.purpose}/{seed}/{index}", torch.device(device)))


def samples(
    recipe: DataRecipe, seed: int, first: int = 0, step: int = 1, device: str | torch.device = "cpu"
) -> Iterator[Sample]:
    """Yield samples without end; of several workers, each takes every `step`-th from a `first` of its own."""
    index = first
    while True:
        yield sample(recipe, seed, index, device)
        index += step
