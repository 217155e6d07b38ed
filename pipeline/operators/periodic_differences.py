"""Differences of complex volumes to their next neighbours on a periodic grid, and the adjoint."""

from collections.abc import Sequence

import torch
from torch import Tensor

_AXES = (-3, -2, -1)


def differences(volumes: Tensor, weights: Sequence[float]) -> Tensor:
    """Return the weighted differences of volumes `(..., a, b, c)` along their last three axes, `(3, ..., a, b, c)`."""
    return torch.stack([(volumes.roll(-1, axis) - volumes) * w for axis, w in zip(_AXES, weights, strict=True)])


def differences_adjoint(edges: Tensor, weights: Sequence[float]) -> Tensor:
    """Return the adjoint of `differences` on `(3, ..., a, b, c)`, shape `(..., a, b, c)`."""
    parts = [(part.roll(1, axis) - part) * w for part, axis, w in zip(edges, _AXES, weights, strict=True)]
    return parts[0] + parts[1] + parts[2]
