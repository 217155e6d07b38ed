"""A contact sheet of samples, so that a person sees what a network will be shown."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.training.datasets.recipe import DataRecipe
from pipeline.training.datasets.sample import Sample
from pipeline.training.datasets.stream import sample

_SUSCEPTIBILITY_PPM, _FIELD_PPM = 0.15, 0.06
"""What is drawn black and white, unless a sample's own spread is larger or smaller."""
_GAP = 2


def preview(recipe: DataRecipe, seed: int, n_samples: int = 8) -> NDArray[np.uint8]:
    """Return a grey picture: a row for each sample, and in it three cuts of susceptibility, then field and magnitude.

    Each map is drawn from −3 to +3 of its own robust spread, zero in the middle of the grey.
    """
    rows = [_row(sample(recipe, seed, index)) for index in range(n_samples)]
    return np.concatenate(rows)


def _row(drawn: Sample) -> NDArray[np.uint8]:
    chi = _grey(drawn.susceptibility, drawn.mask)
    field = _grey(drawn.local_field, drawn.mask)
    magnitude = (drawn.magnitude / (2 * drawn.magnitude[drawn.mask].median())).clamp(0, 1)
    cuts = [_cut(chi, axis) for axis in range(3)] + [_cut(field, axis) for axis in range(2)] + [_cut(magnitude, 0)]
    height = max(cut.shape[0] for cut in cuts)
    tiles = [torch.nn.functional.pad(cut, (0, _GAP, 0, height + _GAP - cut.shape[0])) for cut in cuts]
    return torch.cat(tiles, 1).mul(255).to(torch.uint8).numpy()


def _grey(values: Tensor, mask: Tensor) -> Tensor:
    spread = values[mask].abs().quantile(0.95).clamp_min(1e-9) if bool(mask.any()) else values.new_tensor(1.0)
    return (values / (3 * spread) * 1.5 + 0.5).clamp(0, 1)


def _cut(volume: Tensor, axis: int) -> Tensor:
    """Return the middle cut across an axis, the first axis upwards."""
    cut = volume.select(axis, volume.shape[axis] // 2)
    return cut if axis == 0 else cut.flip(0)
