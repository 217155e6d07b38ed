"""Our own network: it corrects a model-based map by what physics says of it, at any orientation and voxel size."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from pipeline.errors import UnusableInput
from pipeline.networks.blocks import LEAK
from pipeline.networks.inputs import Context, FieldScan, Window, masked_field, window_of_multiples
from pipeline.operators.dipole import AXES, dipole_kernel
from pipeline.operators.gradient import laplacian_spectrum
from pipeline.operators.padding import fast_even_size

WIDTHS = (16, 24, 40, 64)
N_CHANNELS = 6
N_STARTS = 2
_GREATEST_WEIGHT = 4.0
_GREATEST_RELATIVE_NOISE = 1.0
# Gradient, residual and noise are a few hundredths of the contrast; multiplied, they weigh as much as the maps.
_GAIN = 16.0


class LodestoneNet(nn.Module):
    """A residual U-Net without biases and normalisation: an input twice as large gives an output twice as large.

    Two convolutions per level with the level's input added, strided convolutions down, and nearest neighbours with a
    1³ convolution up, added to what was kept. The last convolution starts at zero, so that an untrained network leaves
    the map as it is.

    Parameters
    ----------
    widths
        Channels of every level; each size must be divisible by 2 to the number of levels below the first.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.first = nn.Conv3d(N_CHANNELS, widths[0], 3, padding=1, bias=False)
        self.down = nn.ModuleList(_Pair(width) for width in widths)
        self.shrink = nn.ModuleList(nn.Conv3d(fewer, more, 2, stride=2, bias=False) for fewer, more in pairwise(widths))
        self.narrow = nn.ModuleList(nn.Conv3d(more, fewer, 1, bias=False) for fewer, more in pairwise(widths))
        self.merge = nn.ModuleList(nn.Conv3d(2 * width, width, 1, bias=False) for width in widths[:-1])
        self.up = nn.ModuleList(_Pair(width) for width in widths[:-1])
        self.last = nn.Conv3d(widths[0], 1, 3, padding=1, bias=False)
        nn.init.zeros_(self.last.weight)

    def forward(self, channels: Tensor) -> Tensor:
        """Return a correction `(batch, 1, z, y, x)` of channels `(batch, 6, z, y, x)`."""
        features = self.first(channels)
        kept = []
        for level, shrink in zip(self.down[:-1], self.shrink, strict=True):
            features = level(features)
            kept.append(features)
            features = shrink(features)
        features = self.down[-1](features)
        for narrow, merge, level, skipped in zip(
            reversed(self.narrow), reversed(self.merge), reversed(self.up), reversed(kept), strict=True
        ):
            grown = nn.functional.interpolate(narrow(features), scale_factor=2.0, mode="nearest")
            features = level(merge(torch.cat((skipped, grown), dim=1)))
        return self.last(features)


class _Pair(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(width, width, 3, padding=1, bias=False)
        self.second = nn.Conv3d(width, width, 3, padding=1, bias=False)
        self.activation = nn.LeakyReLU(LEAK)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.second(self.activation(self.first(self.activation(features))))


@dataclass(frozen=True)
class RefinementPreparation:
    """Six maps in units of the second start map's own contrast: starts, gradient, residual, smooth inversion, noise.

    - The second start map χ₀, to which the correction is added, without its mean in the mask.
    - The first start map less the second, without its mean: where the two disagree, one of them is wrong.
    - The gradient D W²(D χ₀ − f) [ppm] of the data term, W the inverse noise over its median, at most 2.
    - The residual D χ₀ − f [ppm] without its mean: what is harmonic or wild in it is no susceptibility of the mask's.
    - The closed form D f / (D² + λ|k|²) of a smooth inversion, without its mean in the mask.
    - The noise of the field; where none is given, the root mean square of D χ₀ − f.

    All are divided by the standard deviation of χ₀ in the mask, gradient, residual and noise also multiplied by 16, and
    the output is multiplied by that deviation: field, noise and start maps twice as large give a map twice as large.
    Only images reach the network, so the direction of B0 and the voxel size enter by physics alone. The start maps must
    be such as explain the field: as an inversion leaves them, before they are referenced to a region.

    Attributes
    ----------
    multiple
        Sizes are padded to multiples of this.
    margin
        Zeros around the volume in FFTs [voxels].
    regularisation
        λ of the smooth inversion [mm²].
    """

    multiple: int
    margin: int = 8
    regularisation: float = 5e-3

    def prepare(self, scan: FieldScan, start: Tensor | None) -> tuple[Tensor, Context]:
        """Return the six channels `(6, z, y, x)` of a scan and its two start maps `(2, z, y, x)`.

        Raises
        ------
        UnusableInput
            No start maps, or of another shape.
        """
        field = masked_field(scan)
        wanted = (N_STARTS, *field.shape)
        if start is None or tuple(start.shape) != wanted:
            shape = None if start is None else tuple(start.shape)
            raise UnusableInput(
                f"The network refines {N_STARTS} start maps, shape {wanted}, but was given {shape}: "
                "invert the field by other methods first."
            )
        mask = scan.mask
        closer, base = torch.where(mask, start.to(field.dtype), 0.0)
        smooth, gradient, residual, noise = self._physics(scan, field, base)
        contrast = _centred(base, mask)
        scale = contrast[mask].square().mean().sqrt()
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        relative_noise = (noise / scale).clamp(max=_GREATEST_RELATIVE_NOISE) * mask
        maps = (
            contrast / scale,
            _centred(closer - base, mask) / scale,
            gradient * mask * (_GAIN / scale),
            _centred(residual, mask) * (_GAIN / scale),
            _centred(smooth, mask) / scale,
            relative_noise * _GAIN,
        )
        window = window_of_multiples(scan.grid.shape, self.multiple)
        return window.pad(torch.stack(maps)), Context(window, mask, scale, base=base)

    def finish(self, output: Tensor, context: Context) -> Tensor:
        """Return the susceptibility `(z, y, x)` [ppm], zero outside the mask.

        Raises
        ------
        UnusableInput
            The context is another network's.
        """
        if context.base is None:
            raise UnusableInput("The context was prepared for another network: it holds no start map.")
        correction = context.window.crop(output[0]).to(context.scale.dtype) * context.scale
        return (context.base + correction) * context.mask

    def _physics(self, scan: FieldScan, field: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        depth, height, width = (fast_even_size(size + 2 * self.margin) for size in scan.grid.shape)
        frame = Window(scan.grid.shape, (depth, height, width))
        grid = replace(scan.grid, shape=frame.padded_shape)
        kernel = dipole_kernel(grid, dtype=field.dtype, device=field.device)
        divisor = laplacian_spectrum(grid, kernel) * self.regularisation + kernel.square()
        divisor[0, 0, 0] = 1.0

        def filtered(volume: Tensor, response: Tensor) -> Tensor:
            spectrum = torch.fft.rfftn(frame.pad(volume), dim=AXES) * response
            return frame.crop(torch.fft.irfftn(spectrum, s=frame.padded_shape, dim=AXES))

        smooth = filtered(field, kernel / divisor)
        residual = (filtered(start, kernel) - field) * scan.mask
        noise, weights = _noise_and_weights(scan, residual)
        return smooth, filtered(residual * weights, kernel), residual, noise


def _centred(volume: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, volume - volume[mask].mean(), 0.0)


def _noise_and_weights(scan: FieldScan, residual: Tensor) -> tuple[Tensor, Tensor]:
    mask = scan.mask
    is_known = mask if scan.field_noise is None else mask & (scan.field_noise > 0)
    if scan.field_noise is None or not bool(is_known.any()):
        return residual[mask].square().mean().sqrt() * mask, mask.to(residual.dtype)
    noise = scan.field_noise.to(residual.dtype)
    typical = noise[is_known].median()
    weights = torch.where(is_known, (typical / noise.clamp(min=torch.finfo(noise.dtype).tiny)).square(), 0.0)
    return torch.where(is_known, noise, typical) * mask, weights.clamp(max=_GREATEST_WEIGHT)
