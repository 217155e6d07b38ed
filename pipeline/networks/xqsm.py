"""xQSM: a U-Net of octave convolutions, which carry half of the channels at half of the resolution."""

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 64
_INITIAL_DEVIATION = 0.01


def _convolution(n_inputs: int, n_outputs: int) -> nn.Conv3d:
    return nn.Conv3d(n_inputs, n_outputs, 3, padding=1)


class OctaveConvolution(nn.Module):
    """An octave convolution with as many channels at the fine as at the coarse resolution; each path normalised.

    Fine from coarse is grown by a transposed convolution, coarse from fine shrunk by the mean over 2³ voxels.

    Source: Chen 2019, doi:10.1109/ICCV.2019.00353; Gao 2021, doi:10.1002/nbm.4461.
    """

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        inside, outside = n_inputs // 2, n_outputs // 2
        self.fine_to_fine = _convolution(inside, outside)
        self.coarse_to_coarse = _convolution(inside, outside)
        self.fine_to_coarse = _convolution(inside, outside)
        self.coarse_to_fine = _convolution(inside, outside)
        self.grow = nn.ConvTranspose3d(outside, outside, 2, stride=2)
        self.norms = nn.ModuleList(nn.BatchNorm3d(outside) for _ in range(4))

    def forward(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Return fine and coarse features of the sizes that came in."""
        shrunk = functional.avg_pool3d(fine, 2)
        fine_out = self.norms[0](self.fine_to_fine(fine)) + self.norms[1](self.grow(self.coarse_to_fine(coarse)))
        coarse_out = self.norms[2](self.coarse_to_coarse(coarse)) + self.norms[3](self.fine_to_coarse(shrunk))
        return torch.relu(fine_out), torch.relu(coarse_out)


class FirstOctave(nn.Module):
    """The octave convolution that splits the field into both resolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_fine = _convolution(1, width // 2)
        self.to_coarse = _convolution(1, width // 2)
        self.norms = nn.ModuleList(nn.BatchNorm3d(width // 2) for _ in range(2))

    def forward(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """Return fine features of the field's size and coarse ones of half of it."""
        coarse = self.norms[1](self.to_coarse(functional.avg_pool3d(field, 2)))
        return torch.relu(self.norms[0](self.to_fine(field))), torch.relu(coarse)


class LastOctave(nn.Module):
    """The octave convolution that joins both resolutions, and the 1³ convolution to one map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.from_fine = _convolution(width // 2, width)
        self.from_coarse = _convolution(width // 2, width)
        self.grow = nn.ConvTranspose3d(width, width, 2, stride=2)
        self.norms = nn.ModuleList(nn.BatchNorm3d(width) for _ in range(2))
        self.last = nn.Conv3d(width, 1, 1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Return one map of the fine size."""
        grown = self.norms[1](self.grow(self.from_coarse(coarse)))
        return self.last(torch.relu(self.norms[0](self.from_fine(fine)) + grown))


class OctaveGrowth(nn.Module):
    """The step up: both resolutions doubled, and each added to what the other one becomes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.fine_to_fine = nn.ConvTranspose3d(half, half, 2, stride=2)
        self.coarse_to_fine = nn.ConvTranspose3d(half, half, 4, stride=4)
        self.coarse_to_coarse = nn.ConvTranspose3d(half, half, 2, stride=2)
        # The fine size before the step is the coarse size after it, so this path needs no pooling.
        self.fine_to_coarse = _convolution(half, half)
        self.norms = nn.ModuleList(nn.BatchNorm3d(half) for _ in range(2))

    def forward(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Return features of twice the sizes that came in."""
        fine_out = self.norms[0](self.fine_to_fine(fine) + self.coarse_to_fine(coarse))
        coarse_out = self.norms[1](self.coarse_to_coarse(coarse) + self.fine_to_coarse(fine))
        return torch.relu(fine_out), torch.relu(coarse_out)


class OctavePair(nn.Module):
    """Two octave convolutions."""

    def __init__(self, n_inputs: int, n_between: int, n_outputs: int) -> None:
        super().__init__()
        self.first = OctaveConvolution(n_inputs, n_between)
        self.second = OctaveConvolution(n_between, n_outputs)

    def forward(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Return fine and coarse features of the sizes that came in."""
        fine, coarse = self.first(fine, coarse)
        pair: tuple[Tensor, Tensor] = self.second(fine, coarse)
        return pair


class XQsm(nn.Module):
    """Two poolings, 64-128-256 channels, half of them coarse; the field is added to the output.

    There are 13 octave convolutions: two at the input, four on the way down, two at the bottom, four on the way up and
    the last one. Every size must be divisible by 8.

    Source: Gao 2021, doi:10.1002/nbm.4461; trained on single patches as in Zhu 2022 (xQSM, Individual mode).
    """

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.first = FirstOctave(width)
        self.second = OctaveConvolution(width, width)
        self.down = nn.ModuleList((OctavePair(width, width, width), OctavePair(width, 2 * width, 2 * width)))
        self.bottom = OctavePair(2 * width, 4 * width, 2 * width)
        self.grow = nn.ModuleList((OctaveGrowth(2 * width), OctaveGrowth(width)))
        self.up = nn.ModuleList((OctavePair(4 * width, 2 * width, width), OctavePair(2 * width, width, width)))
        self.last = LastOctave(width)
        self.apply(_initialise)

    def forward(self, field: Tensor) -> Tensor:
        """Return a map `(batch, 1, z, y, x)` [ppm] from a field of the same shape [ppm]."""
        fine, coarse = self.second(*self.first(field))
        kept = []
        for level in self.down:
            fine, coarse = level(fine, coarse)
            kept.append((fine, coarse))
            fine, coarse = functional.max_pool3d(fine, 2), functional.max_pool3d(coarse, 2)
        fine, coarse = self.bottom(fine, coarse)
        for grow, level, skipped in zip(self.grow, self.up, reversed(kept), strict=True):
            fine, coarse = grow(fine, coarse)
            fine, coarse = level(torch.cat((fine, skipped[0]), dim=1), torch.cat((coarse, skipped[1]), dim=1))
        susceptibility: Tensor = field + self.last(fine, coarse)
        return susceptibility


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.normal_(module.weight, std=_INITIAL_DEVIATION)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
