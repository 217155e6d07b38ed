"""k-QSM: a network in k-space that fills the cone which truncated division leaves open."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pipeline.errors import UnusableInput
from pipeline.networks.blocks import LEAK
from pipeline.networks.inputs import Context, FieldScan, Window, masked_field
from pipeline.operators.dipole import AXES, dipole_kernel
from pipeline.operators.padding import fast_even_size

WIDTH = 32
_N_BLOCKS = 8
_DROPOUT = 0.2


class _ResidualBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(WIDTH, WIDTH, 3, padding=1),
            nn.LeakyReLU(LEAK),
            nn.Dropout3d(_DROPOUT),
            nn.Conv3d(WIDTH, WIDTH, 3, padding=1),
        )
        self.activation = nn.LeakyReLU(LEAK)

    def forward(self, features: Tensor) -> Tensor:
        return self.activation(features + self.body(features))


class KQsm(nn.Sequential):
    """Twenty 3³ convolutions over k-space: three channels in (real, imaginary, dipole kernel), two out.

    The last one starts at zero, so that training starts from the truncated division.

    Source: He 2022, doi:10.3389/fnins.2022.837721.
    """

    def __init__(self) -> None:
        super().__init__(
            nn.Conv3d(3, WIDTH, 3, padding=1),
            nn.LeakyReLU(LEAK),
            *(_ResidualBlock() for _ in range(_N_BLOCKS)),
            nn.Conv3d(WIDTH, WIDTH, 3, padding=1),
            nn.LeakyReLU(LEAK),
            nn.Conv3d(WIDTH, WIDTH, 3, padding=1),
            nn.LeakyReLU(LEAK),
            nn.Conv3d(WIDTH, 2, 3, padding=1),
        )
        for parameter in self[-1].parameters():
            nn.init.zeros_(parameter)


@dataclass(frozen=True)
class SpectrumPreparation:
    """The spectrum of the map by truncated division; the network's output is added inside the cone alone.

    Our choices, where the paper leaves them open or its statement is not exact:

    - The FFT is orthonormal with k = 0 in the middle, over the whole volume with a margin and not over patches.
    - The truncated kernel keeps its sign, and where it vanishes it counts as positive.
    - Every frequency is divided by an envelope (1 + (|k|/k₀)²)^(−p/2) and by one scale of the volume that follows the
      field: the network sees values near one at all frequencies, and twice the field gives twice the map.
    - Where |D| is at least the threshold the spectrum of the division stays as it is; this is what the paper's second
      loss asks for, made exact. k = 0 stays zero.
    - The map is the real part of the inverse FFT: that is the map whose spectrum is closest to the output. The paper's
      absolute value with the sign of the real part would change measured frequencies too.

    Attributes
    ----------
    threshold
        Least absolute value of the dipole kernel that counts as measured.
    corner_per_mm
        k₀ of the envelope [1/mm].
    power
        p of the envelope.
    margin
        Zeros around the volume [voxels].
    """

    threshold: float
    corner_per_mm: float = 0.02
    power: float = 1.5
    margin: int = 4

    def prepare(self, scan: FieldScan, start: Tensor | None) -> tuple[Tensor, Context]:
        """Return the scaled spectrum and the kernel `(3, z, y, x)`, with k = 0 in the middle."""
        field = masked_field(scan)
        depth, height, columns = (fast_even_size(size + 2 * self.margin) for size in scan.grid.shape)
        window = Window(scan.grid.shape, (depth, height, columns))
        grid = replace(scan.grid, shape=window.padded_shape)
        half_kernel = dipole_kernel(grid, dtype=field.dtype, device=field.device)
        inverse = half_kernel.abs().clamp_(min=self.threshold).reciprocal_().copysign_(half_kernel)
        inverse[0, 0, 0] = 0.0
        half = torch.fft.rfftn(window.pad(field), dim=AXES, norm="ortho") * inverse
        kernel = torch.fft.fftshift(whole_spectrum(half_kernel, columns))
        spectrum = torch.fft.fftshift(whole_spectrum(half, columns))
        envelope = self._envelope(window.padded_shape, grid.voxel_size_mm, field)
        is_measured = kernel.abs() >= self.threshold
        flattened = spectrum / envelope
        scale = flattened[is_measured].abs().square().mean().sqrt().clamp(min=torch.finfo(field.dtype).tiny)
        channels = torch.stack((flattened.real / scale, flattened.imag / scale, kernel))
        is_open = (~is_measured).to(field.dtype)
        is_open[tuple(size // 2 for size in window.padded_shape)] = 0.0
        context = Context(window, scan.mask, scale, base=spectrum, gain=is_open * envelope * scale)
        return channels, context

    def finish(self, output: Tensor, context: Context) -> Tensor:
        """Return the susceptibility `(z, y, x)` [ppm], zero outside the mask."""
        spectrum = self.filled_spectrum(output, context)
        volume = torch.fft.ifftn(torch.fft.ifftshift(spectrum), dim=AXES, norm="ortho").real
        return context.window.crop(volume) * context.mask

    def filled_spectrum(self, output: Tensor, context: Context) -> Tensor:
        """Return the whole spectrum with the cone filled, k = 0 in the middle; its inverse FFT need not be real.

        Raises
        ------
        UnusableInput
            The context is another network's.
        """
        if context.base is None or context.gain is None:
            raise UnusableInput("The context was prepared for another network: prepare the scan by k-QSM's own table.")
        real, imaginary = output.to(context.gain.dtype)
        return context.base + context.gain * torch.complex(real, imaginary)

    def _envelope(self, shape: tuple[int, ...], voxel_size_mm: tuple[float, ...], like: Tensor) -> Tensor:
        squared = like.new_zeros(())
        for axis, (size, step) in enumerate(zip(shape, voxel_size_mm, strict=True)):
            frequencies = torch.fft.fftshift(torch.fft.fftfreq(size, step, dtype=like.dtype, device=like.device))
            squared = squared + frequencies.square().reshape([-1 if other == axis else 1 for other in range(3)])
        return (1 + squared / self.corner_per_mm**2).pow(-self.power / 2)


def whole_spectrum(half: Tensor, width: int) -> Tensor:
    """Return the spectrum `(z, y, x)` of a real volume of which a half `(z, y, x // 2 + 1)` is known."""
    inner = half[..., 1 : (width + 1) // 2]
    mirrored = inner.flip(AXES).roll((1, 1), dims=(-3, -2))
    return torch.cat((half, mirrored.conj() if mirrored.is_complex() else mirrored), dim=-1)
