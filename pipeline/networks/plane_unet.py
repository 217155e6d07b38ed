"""The U-Net of the reconstructions: no bias anywhere, so that its output scales with its input."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

ALL_AXES = (2, 2, 2)
PHASE_ENCODINGS = (2, 2, 1)
"""Pooling of z and y alone: along the readout x everything was measured, and slabs may be thin."""


class Pair(nn.Sequential):
    """A 3³ convolution and one of 3 × 3 × 1 along `(z, y, x)`, each with a rectifier and without bias."""

    def __init__(self, n_inputs: int, n_outputs: int, second: tuple[int, int, int]) -> None:
        super().__init__(
            nn.Conv3d(n_inputs, n_outputs, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.Conv3d(
                n_outputs, n_outputs, second, padding=(second[0] // 2, second[1] // 2, second[2] // 2), bias=False
            ),
            nn.ReLU(),
        )


class PlaneUNet(nn.Module):
    """Two convolutions per level, mean pooling down, repetition up, features concatenated; positively homogeneous.

    Parameters
    ----------
    n_inputs, n_outputs
        Channels.
    widths
        Channels of every level, the last one the bottom.
    pooling
        Factors along `(z, y, x)` between levels.
    """

    def __init__(
        self, n_inputs: int, n_outputs: int, widths: Sequence[int], pooling: tuple[int, int, int] = PHASE_ENCODINGS
    ) -> None:
        super().__init__()
        second = (3, 3, 3 if pooling[2] > 1 else 1)
        self.factors = tuple(factor ** (len(widths) - 1) for factor in pooling)
        self.down = nn.ModuleList(Pair(fewer, more, second) for fewer, more in pairwise([n_inputs, *widths]))
        self.narrow = nn.ModuleList(nn.Conv3d(more, fewer, 1, bias=False) for fewer, more in pairwise(widths))
        self.merge = nn.ModuleList(Pair(2 * width, width, second) for width in widths[:-1])
        self.pool = nn.AvgPool3d(pooling)
        self.grow = nn.Upsample(scale_factor=tuple(float(factor) for factor in pooling), mode="nearest")
        self.last = nn.Conv3d(widths[0], n_outputs, 1, bias=False)
        nn.init.zeros_(self.last.weight)

    def forward(self, channels: Tensor) -> Tensor:
        """Return `(batch, n_outputs, z, y, x)` for channels `(batch, n_inputs, z, y, x)` of any size."""
        size = channels.shape[-3:]
        missing = [-length % factor for length, factor in zip(size, self.factors, strict=True)]
        features = nn.functional.pad(channels, (0, missing[2], 0, missing[1], 0, missing[0]))
        kept = []
        for level in self.down[:-1]:
            features = level(features)
            kept.append(features)
            features = self.pool(features)
        features = self.down[-1](features)
        for narrow, merge, skipped in zip(reversed(self.narrow), reversed(self.merge), reversed(kept), strict=True):
            features = merge(torch.cat((skipped, self.grow(narrow(features))), dim=1))
        output: Tensor = self.last(features)
        return output[..., : size[0], : size[1], : size[2]]


def as_channels(images: Tensor) -> Tensor:
    """Return complex images `(batch, z, y, x)` as channels `(batch, 2, z, y, x)`, real and imaginary."""
    return torch.stack((images.real, images.imag), dim=1)


def as_complex(channels: Tensor) -> Tensor:
    """Return channels `(batch, 2, z, y, x)` as complex images `(batch, z, y, x)` in single precision."""
    wide = channels.float()
    return torch.complex(wide[:, 0], wide[:, 1])
