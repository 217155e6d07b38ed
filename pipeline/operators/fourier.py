"""Real FFTs in place and in pieces: a volume and its half spectrum share one memory, every pass stays in the cache.

The library's transforms over several axes, and its products of complex with real values, make whole copies beside.
"""

import torch
from torch import Tensor

_SLAB_VALUES = 50_000


def inverse_transform(spectrum: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Return the real volume of a half spectrum, in the memory of the spectrum, which is lost.

    Parameters
    ----------
    spectrum
        Half spectrum `(z, y, x // 2 + 1)` of a real volume.
    shape
        Shape `(z, y, x)` of the volume.

    Returns
    -------
    Shape `(z, y, x)`; `transform_over` takes it back.
    """
    if spectrum.is_cuda:
        torch.fft.ifftn(spectrum, dim=(0, 1), out=spectrum)
        return torch.fft.irfft(spectrum, n=shape[2], dim=2)
    spectrum = spectrum.contiguous()
    for rows in _slabs(shape[1], shape[0] * shape[2]):
        spectrum[:, rows] = torch.fft.ifft(spectrum[:, rows], dim=0)
    volume = torch.view_as_real(spectrum).flatten()[: shape[0] * shape[1] * shape[2]].view(shape)
    # Rows of the volume are shorter than those of the spectrum: what is written lies where all has been read.
    for planes in _slabs(shape[0], shape[1] * shape[2]):
        volume[planes] = torch.fft.irfft(torch.fft.ifft(spectrum[planes], dim=1), n=shape[2], dim=2)
    return volume


def forward_transform(volume: Tensor) -> Tensor:
    """Return the half spectrum `(z, y, x // 2 + 1)` of a real volume `(z, y, x)`, with one spectrum of memory."""
    if volume.is_cuda:
        return torch.fft.rfftn(volume, dim=(0, 1, 2))
    kind = torch.promote_types(volume.dtype, torch.complex64)
    return _transformed(volume, torch.empty(*volume.shape[:2], volume.shape[2] // 2 + 1, dtype=kind))


def volume_with_room(shape: tuple[int, int, int], like: Tensor) -> Tensor:
    """Return a volume `(z, y, x)` of any values that `transform_over` takes, in the precision and on the device of
    a tensor.
    """
    values = like.new_empty(shape[0] * shape[1] * 2 * (shape[2] // 2 + 1))
    return values[: shape[0] * shape[1] * shape[2]].view(shape)


def transform_over(volume: Tensor) -> Tensor:
    """Return the half spectrum of a real volume, in the memory of the volume, which is lost.

    Parameters
    ----------
    volume
        Shape `(z, y, x)`, as `inverse_transform` or `volume_with_room` made it.

    Returns
    -------
    Shape `(z, y, x // 2 + 1)`.

    Raises
    ------
    ValueError
        There is no room behind the volume.
    """
    if volume.is_cuda:
        return torch.fft.rfftn(volume, dim=(0, 1, 2))
    depth, height, width = volume.shape
    size = (depth, height, width // 2 + 1, 2)
    room = volume.untyped_storage().nbytes() // volume.element_size() - volume.storage_offset()
    if not volume.is_contiguous() or room < size[0] * size[1] * size[2] * 2:
        raise ValueError("A volume can be transformed over only where its memory has room for its spectrum.")
    strides = (height * size[2] * 2, size[2] * 2, 2, 1)
    return _transformed(volume, torch.view_as_complex(volume.as_strided(size, strides)))


def _transformed(volume: Tensor, spectrum: Tensor) -> Tensor:
    """Fill a half spectrum, from the last plane on, since it may lie over the volume."""
    depth, height, width = volume.shape
    for planes in reversed(_slabs(depth, height * width)):
        spectrum[planes] = torch.fft.fft(torch.fft.rfft(volume[planes], dim=2), dim=1)
    for rows in _slabs(height, depth * width):
        spectrum[:, rows] = torch.fft.fft(spectrum[:, rows], dim=0)
    return spectrum


def scale_spectrum(spectrum: Tensor, factor: Tensor) -> Tensor:
    """Multiply a complex spectrum by real factors of the same shape, in place, and return it."""
    for planes in _planes(spectrum):
        spectrum[planes].mul_(factor[planes])
    return spectrum


def _planes(volume: Tensor) -> list[slice]:
    return [slice(None)] if volume.is_cuda else _slabs(volume.shape[0], 2 * volume[0].numel())


def _slabs(count: int, values: int) -> list[slice]:
    """Return slices that cut `count` planes of so many values each into pieces that stay in the cache."""
    thickness = max(1, _SLAB_VALUES // values)
    return [slice(start, start + thickness) for start in range(0, count, thickness)]
