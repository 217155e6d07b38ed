"""Real FFTs of a volume in pieces: half the memory of the library's, the pass along x in the cache."""

import torch
from torch import Tensor

_SLAB_VALUES = 200_000


def inverse_transform(spectrum: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Return the real volume of a half spectrum, which is overwritten.

    Parameters
    ----------
    spectrum
        Half spectrum `(z, y, x // 2 + 1)` of a real volume; holds something else afterwards.
    shape
        Shape `(z, y, x)` of the volume.

    Returns
    -------
    Shape `(z, y, x)`.
    """
    torch.fft.ifftn(spectrum, dim=(0, 1), out=spectrum)
    if spectrum.is_cuda:
        return torch.fft.irfft(spectrum, n=shape[2], dim=2)
    volume = torch.empty(shape, dtype=spectrum.real.dtype)
    thickness = max(1, _SLAB_VALUES // (shape[1] * shape[2]))
    for start in range(0, shape[0], thickness):
        slab = slice(start, start + thickness)
        torch.fft.irfft(spectrum[slab], n=shape[2], dim=2, out=volume[slab])
    return volume


def forward_transform(volume: Tensor) -> Tensor:
    """Return the half spectrum `(z, y, x // 2 + 1)` of a real volume `(z, y, x)`, with one spectrum of memory."""
    if volume.is_cuda:
        return torch.fft.rfftn(volume, dim=(0, 1, 2))
    depth, height, width = volume.shape
    kind = torch.promote_types(volume.dtype, torch.complex64)
    spectrum = torch.empty((depth, height, width // 2 + 1), dtype=kind)
    thickness = max(1, _SLAB_VALUES // (height * width))
    for start in range(0, depth, thickness):
        slab = slice(start, start + thickness)
        torch.fft.rfft(volume[slab], dim=2, out=spectrum[slab])
    return torch.fft.fftn(spectrum, dim=(0, 1), out=spectrum)
