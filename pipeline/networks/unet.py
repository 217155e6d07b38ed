"""The U-Net in three dimensions, in the widths and kernels of the papers that use it."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from pipeline.networks.blocks import NormalisedConvolution, relu

Convolution = Callable[[int, int, int, Callable[[], nn.Module]], nn.Module]


class UNet(nn.Module):
    """Two convolutions per level, 2³ maximum pooling down, 2³ transposed convolutions up, features concatenated.

    Parameters
    ----------
    widths
        Channels of every level, the last one the bottom; every size must be divisible by 2 to the number of poolings.
    kernel_size
        Edge of every convolution [voxels].
    convolution
        What one convolution with its normalisation and rectifier is.
    activation
        The rectifier.
    """

    def __init__(
        self,
        widths: Sequence[int],
        kernel_size: int = 3,
        convolution: Convolution = NormalisedConvolution,
        activation: Callable[[], nn.Module] = relu,
    ) -> None:
        super().__init__()

        def pair(n_inputs: int, n_outputs: int) -> nn.Sequential:
            return nn.Sequential(
                convolution(n_inputs, n_outputs, kernel_size, activation),
                convolution(n_outputs, n_outputs, kernel_size, activation),
            )

        self.down = nn.ModuleList(pair(fewer, more) for fewer, more in pairwise([1, *widths]))
        self.up = nn.ModuleList(nn.ConvTranspose3d(more, fewer, 2, stride=2) for fewer, more in pairwise(widths))
        self.merge = nn.ModuleList(pair(2 * width, width) for width in widths[:-1])
        self.pool = nn.MaxPool3d(2)
        self.last = nn.Conv3d(widths[0], 1, 1)

    def forward(self, field: Tensor) -> Tensor:
        """Return a map `(batch, 1, z, y, x)` from a field of the same shape."""
        kept = []
        features = field
        for level in self.down[:-1]:
            features = level(features)
            kept.append(features)
            features = self.pool(features)
        features = self.down[-1](features)
        for grow, merge, skipped in zip(reversed(self.up), reversed(self.merge), reversed(kept), strict=True):
            features = merge(torch.cat((skipped, grow(features)), dim=1))
        return self.last(features)


def unet_of_df_qsm() -> UNet:
    """Return the network that DF-QSM refines: 3³ kernels, 16-32-64-128 channels and 256 at the bottom.

    Source: Paluru 2025 (DF-QSM), section 2.2 and figure 3.
    """
    return UNet((16, 32, 64, 128, 256))
