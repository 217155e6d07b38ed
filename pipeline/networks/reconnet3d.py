"""ReconNet3D: five blocks of five 3-D convolutions, each followed by data consistency, for every coil on its own."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from pipeline.networks.plane_unet import as_channels, as_complex

N_BLOCKS, N_CONVOLUTIONS, WIDTH = 5, 5, 32
_PHASE_ENCODINGS = (-3, -2)
_FIRST_TRUST = 4.0


class ReconNet3D(nn.Module):
    """A cascade that knows neither sensitivities nor the other coils.

    After every block the measured samples k₀ take the place of the block's k as (k + λ k₀) / (1 + λ), with one λ per
    block that is learned. Width, residual blocks and the missing biases are our choice: the paper does not tell them.

    Source: Zhou 2025, Front Neurosci 19:1522227, section 2.2.
    """

    def __init__(self, width: int = WIDTH, n_blocks: int = N_BLOCKS) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(width) for _ in range(n_blocks))
        self.log_trust = nn.Parameter(torch.full((n_blocks,), _FIRST_TRUST))

    def forward(self, samples: Tensor, mask: Tensor) -> Tensor:
        """Return the coil images `(batch, z, y, x)`; see `iterates`."""
        return self.iterates(samples, mask)[-1]

    def iterates(self, samples: Tensor, mask: Tensor) -> list[Tensor]:
        """Return the zero-filled coil images and those after every block.

        Parameters
        ----------
        samples
            Complex `(batch, z, y, x)`: k-space along z and y, k = 0 at index 0, image along x; 0 where not measured.
        mask
            Measured (1) or not (0) `(batch, z, y)`, with k = 0 at index 0.
        """
        image = torch.fft.ifft2(samples, dim=_PHASE_ENCODINGS, norm="ortho")
        found = [image]
        for block, log_trust in zip(self.blocks, self.log_trust, strict=True):
            image = image + as_complex(block(as_channels(image)))
            share = mask[..., None] * torch.sigmoid(log_trust)
            spectrum = torch.fft.fft2(image, dim=_PHASE_ENCODINGS, norm="ortho")
            image = torch.fft.ifft2(spectrum + share * (samples - spectrum), dim=_PHASE_ENCODINGS, norm="ortho")
            found.append(image)
        return found


class _Block(nn.Sequential):
    """Five 3³ convolutions without bias, rectifiers between them."""

    def __init__(self, width: int) -> None:
        widths = [2, *[width] * (N_CONVOLUTIONS - 1), 2]
        layers: list[nn.Module] = []
        for fewer, more in pairwise(widths):
            layers += [nn.Conv3d(fewer, more, 3, padding=1, bias=False), nn.ReLU()]
        super().__init__(*layers[:-1])
        last = self[-1]
        assert isinstance(last, nn.Conv3d)
        nn.init.zeros_(last.weight)
