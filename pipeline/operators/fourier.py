"""The inverse real FFT of a volume in pieces: half the memory of the library's, its last pass in the cache."""

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
