"""The pieces that several architectures share: convolutions with normalisation, and wide residual blocks."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

LEAK = 0.1


def relu() -> nn.Module:
    """Return the rectifier of most of the papers."""
    return nn.ReLU()


def leaky_relu() -> nn.Module:
    """Return the rectifier that keeps a tenth of negative values; it is positively homogeneous, as the other is."""
    return nn.LeakyReLU(LEAK)


class NormalisedConvolution(nn.Sequential):
    """A convolution that keeps the size, batch normalisation, and a rectifier."""

    def __init__(
        self, n_inputs: int, n_outputs: int, kernel_size: int = 3, activation: Callable[[], nn.Module] = relu
    ) -> None:
        super().__init__(
            nn.Conv3d(n_inputs, n_outputs, kernel_size, padding=kernel_size // 2),
            nn.BatchNorm3d(n_outputs),
            activation(),
        )


class PlainConvolution(nn.Sequential):
    """A convolution that keeps the size, and a rectifier; nothing is normalised."""

    def __init__(
        self, n_inputs: int, n_outputs: int, kernel_size: int = 3, activation: Callable[[], nn.Module] = relu
    ) -> None:
        super().__init__(nn.Conv3d(n_inputs, n_outputs, kernel_size, padding=kernel_size // 2), activation())


class WideResidualBlock(nn.Module):
    """Two convolutions without bias, each normalised, with dropout between them and the input added.

    Source: Lai 2020, doi:10.1007/978-3-030-59713-9_13, after Zagoruyko & Komodakis, BMVC 2016.
    """

    def __init__(self, width: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.first = nn.Conv3d(width, width, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm3d(width)
        self.dropout = nn.Dropout3d(dropout)
        self.second = nn.Conv3d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm3d(width)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape `(batch, width, z, y, x)`."""
        hidden = self.dropout(torch.relu(self.first_norm(self.first(features))))
        return torch.relu(features + self.second_norm(self.second(hidden)))


class ProximalNetwork(nn.Sequential):
    """The denoiser of the unrolled methods: one convolution, eight wide residual blocks, three 1³ convolutions.

    Source: Lai 2020, doi:10.1007/978-3-030-59713-9_13; Feng 2021, doi:10.1016/j.neuroimage.2021.118376.
    """

    def __init__(self, n_channels: int, *, final_bias: bool, width: int = 32, n_blocks: int = 8) -> None:
        super().__init__(
            nn.Conv3d(n_channels, width, 3, padding=1, bias=False),
            nn.ReLU(),
            *(WideResidualBlock(width) for _ in range(n_blocks)),
            nn.Conv3d(width, width, 1, bias=False),
            nn.ReLU(),
            nn.Conv3d(width, width, 1, bias=False),
            nn.ReLU(),
            nn.Conv3d(width, n_channels, 1, bias=final_bias),
        )


def count_parameters(network: nn.Module) -> int:
    """Return the number of trainable values; running means of normalisations are none."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
