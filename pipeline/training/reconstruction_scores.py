"""Slabs of the held-out family: how far a reconstruction network's images are from the truth, and its start's."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.kspace_heads import head_material
from pipeline.training.datasets.kspace_slabs import KspaceExample, MakeExample
from pipeline.training.held_out import SEED, Scores

_SLABS_PER_HEAD = 4


def held_out_slabs(make: MakeExample, patch: int, count: int) -> list[KspaceExample]:
    """Make the held-out examples; they are the same in every training with the same kind of example.

    Parameters
    ----------
    make
        Makes one example.
    patch
        Thickness of a slab or edge of a cube [voxel].
    count
        How many.
    """
    examples = []
    for number in range(count):
        material = head_material("validation", SEED, number // _SLABS_PER_HEAD)
        examples.append(make(material, Chance(f"kspace slab/validation/{number}", torch.device("cpu")), patch))
    return examples


@torch.no_grad()
def image_scores(
    network: nn.Module,
    examples: Sequence[KspaceExample],
    autocast: torch.autocast,
    shortening: Mapping[str, int] | None = None,
) -> tuple[Scores, Scores]:
    """Return the errors of a network's last images and of those it begins with, where there is signal.

    `shortening` is told to `iterates` beside its inputs.
    """
    last, first = [], []
    for example in examples:
        with autocast:
            iterates = network.iterates(*example.inputs, **(shortening or {}))  # type: ignore[operator]
        last.append(_error(iterates[-1], example))
        first.append(_error(iterates[0], example))
    return tuple(Scores(*zip(*pairs, strict=True)) for pairs in (last, first))  # type: ignore[return-value]


def _error(image: Tensor, example: KspaceExample) -> tuple[float, float]:
    truth, found = example.truth[example.inside], image[example.inside]
    power = float(truth.abs().square().sum())
    error = float((found - truth).abs().square().sum())
    return 100 * (error / power) ** 0.5, float((truth.conj() * found).real.sum()) / power
