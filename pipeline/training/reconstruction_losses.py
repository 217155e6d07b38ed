"""What a training of reconstructions makes small: distances of complex images, of their phase most of all."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.networks.plane_unet import as_channels
from pipeline.training.datasets.kspace_slabs import KspaceExample

SQUARE_SHARE, ACROSS_SHARE, REGION_SHARE = 1.0, 0.5, 2.0
_REGION = (2, 4, 4)
"""Voxels whose mean error counts."""
_OUTSIDE = 0.05
"""What a voxel without signal weighs against one with it."""
_EARLIER_POWER = 3
_VOLUME = (1, 2, 3)
_TINY = 1e-9


def reconstruction_loss(iterates: Sequence[Tensor], example: KspaceExample) -> Tensor:
    """Return L1 + root mean square + 0.5 · L1 across the truth + 2 · L1 of blocks, of every iterate's complex error.

    The part of an error across the truth turns its phase, which is what a susceptibility is computed from; the mean
    error of a block of voxels is what a nucleus loses of its contrast. One unit is the mean absolute error of the first
    iterate, so that easy examples weigh as much as hard ones; the n-th iterate weighs as n³.

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
    # What is lost of a nucleus' contrast is small in every voxel beside the noise, but the same in all of them.
    means = nn.functional.avg_pool3d(as_channels(error * example.inside), _REGION, _REGION)
    regions = means.square().sum(1).add(_TINY).sqrt().mean()
    towards = example.truth / example.truth.abs().clamp_min(_TINY)
    across = (error * towards.conj()).imag.abs() * example.inside
    # Written with the parts: the gradient of a complex number's magnitude is not a number at 0.
    squares = error.real.square() + error.imag.square()
    root = (squares * trust).mean(_VOLUME).add(_TINY).sqrt().mean()
    plain = ((squares + _TINY).sqrt() * trust).mean()
    return plain + SQUARE_SHARE * root + ACROSS_SHARE * across.mean() + REGION_SHARE * regions
