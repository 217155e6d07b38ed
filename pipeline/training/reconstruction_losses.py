"""What a training of reconstructions makes small: distances of complex images, of their phase most of all."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.training.datasets.kspace_slabs import KspaceExample

SQUARE_SHARE, ACROSS_SHARE = 1.0, 0.5
_OUTSIDE = 0.05
"""What a voxel without signal weighs against one with it."""
_EARLIER_POWER = 3
_VOLUME = (1, 2, 3)
_TINY = 1e-9


def reconstruction_loss(iterates: Sequence[Tensor], example: KspaceExample) -> Tensor:
    """Return L1 + root mean square + 0.5 · L1 across the truth of every iterate's complex error, weighted.

    The part of an error across the truth turns its phase, which is what a susceptibility is computed from. One unit is
    the mean absolute error of the first iterate, so that easy examples weigh as much as hard ones; the n-th iterate
    weighs as n³.

    Parameters
    ----------
    iterates
        The start and what came after it: complex `(batch, z, y, x)`.
    example
        Holds the truth.
    """
    trust = example.inside + _OUTSIDE
    trust = trust / trust.mean(_VOLUME, keepdim=True)
    first = (iterates[0] - example.truth).detach().abs() * trust
    unit = first.mean(_VOLUME, keepdim=True).clamp_min(_TINY)
    shares = [float(number**_EARLIER_POWER) for number in range(1, len(iterates))]
    losses = [share * _distance(image, example, unit, trust) for share, image in zip(shares, iterates[1:], strict=True)]
    return torch.stack(losses).sum() / sum(shares)


def _distance(image: Tensor, example: KspaceExample, unit: Tensor, trust: Tensor) -> Tensor:
    error = (image - example.truth) / unit
    towards = example.truth / example.truth.abs().clamp_min(_TINY)
    across = (error * towards.conj()).imag.abs() * example.inside
    # Written with the parts: the gradient of a complex number's magnitude is not a number at 0.
    squares = error.real.square() + error.imag.square()
    root = (squares * trust).mean(_VOLUME).add(_TINY).sqrt().mean()
    return ((squares + _TINY).sqrt() * trust).mean() + SQUARE_SHARE * root + ACROSS_SHARE * across.mean()
