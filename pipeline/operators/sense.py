"""Parallel imaging after the readout is transformed: one small problem in `(z, y)` for every x, all with one mask.

Images lie as `(x, z, y)` and coils as `(x, coil, z, y)` with the zero of both phase encodings at index 0, so that a
slab of x stays in the processor's cache and no transform needs a shift.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pipeline.operators.centred_fourier import to_image

_SLAB_VALUES = 60_000
"""Half a megabyte: stays in the cache, and the C library gives it again without asking the system for new pages."""
_SLAB_VALUES_ON_DEVICE = 100_000_000
_PHASE_ENCODINGS = (-2, -1)


def coils_by_readout(coil_volumes: Tensor) -> Tensor:
    """Return coil images or sensitivities `(coil, z, y, x)` as `(x, coil, z, y)` with the centre at index 0."""
    return torch.fft.ifftshift(coil_volumes, dim=(-3, -2)).movedim(-1, 0).contiguous()


def images_by_readout(images: Tensor) -> Tensor:
    """Return images `(..., z, y, x)` as `(..., x, z, y)` with the centre at index 0."""
    return torch.fft.ifftshift(images, dim=(-3, -2)).movedim(-1, -3).contiguous()


def images_of_readouts(images: Tensor) -> Tensor:
    """Return images `(..., x, z, y)` as `(..., z, y, x)`: the inverse of `images_by_readout`."""
    return torch.fft.fftshift(images, dim=_PHASE_ENCODINGS).movedim(-3, -1).contiguous()


class SenseOperator:
    """How an image becomes the measured samples of every coil, for one pattern of measured lines.

    Source: Pruessmann 2001, doi:10.1002/mrm.1241.
    """

    def __init__(self, sensitivities: Tensor, measured: Tensor) -> None:
        """Take sensitivities as `coils_by_readout` returns them and the measured lines, bool `(z, y)`."""
        self.sensitivities = sensitivities
        self.measured = torch.fft.ifftshift(measured)
        self.axes = _undersampled_axes(self.measured)
        lines = self.measured
        for axis in set(_PHASE_ENCODINGS) - set(self.axes):
            lines = lines.narrow(axis, 0, 1)
        self._weights = lines.to(sensitivities.real.dtype)

    def adjoint(self, samples: Tensor) -> Tensor:
        """Return the images `(x, z, y)` that the measured samples `(coil, z, y, x)` of one echo project back to."""
        images = self.sensitivities.new_empty((self.sensitivities.shape[0], *self.measured.shape))
        hybrid = to_image(samples, (-1,)).movedim(-1, 0)
        for slab in self._slabs():
            coils = torch.fft.ifftshift(hybrid[slab], dim=_PHASE_ENCODINGS).mul_(self.measured)
            coils = torch.fft.ifftn(coils, dim=_PHASE_ENCODINGS, norm="ortho")
            images[slab] = torch.linalg.vecdot(self.sensitivities[slab], coils, dim=1)
        return images

    def forward(self, images: Tensor) -> Tensor:
        """Return the samples `(coil, z, y, x)`, zero where not measured, of images `(x, z, y)`."""
        n_x, n_coils = self.sensitivities.shape[:2]
        hybrid = images.new_empty((n_coils, *self.measured.shape, n_x))
        for slab in self._slabs():
            coils = self.sensitivities[slab] * images[slab, None]
            coils = torch.fft.fftn(coils, dim=_PHASE_ENCODINGS, norm="ortho").mul_(self.measured)
            hybrid[..., slab] = torch.fft.fftshift(coils, dim=_PHASE_ENCODINGS).movedim(0, -1)
        shifted = torch.fft.ifftshift(hybrid, dim=-1)
        return torch.fft.fftshift(torch.fft.fft(shifted, norm="ortho"), dim=-1)

    def normal(self, images: Tensor) -> Tensor:
        """Return adjoint(forward(images)) for images `(x, z, y)`, without leaving the measured axes' transform."""
        result = torch.empty_like(images)
        for slab in self._slabs():
            for number, sensitivities in enumerate(self._coil_groups(slab)):
                coils = sensitivities * images[slab, None]
                if self.axes:
                    coils = torch.fft.fftn(coils, dim=self.axes).mul_(self._weights)
                    coils = torch.fft.ifftn(coils, dim=self.axes)
                part = torch.linalg.vecdot(sensitivities, coils, dim=1)
                result[slab] = result[slab].add_(part) if number else part
        return result

    def _coil_groups(self, slab: slice) -> Sequence[Tensor]:
        """Return the sensitivities of a slab, cut into groups of coils where one readout position is large."""
        sensitivities = self.sensitivities[slab]
        most = _SLAB_VALUES_ON_DEVICE if sensitivities.is_cuda else _SLAB_VALUES
        return sensitivities.split(max(1, most // sensitivities[:, 0].numel()), dim=1)

    def _slabs(self) -> Iterator[slice]:
        n_x, *rest = self.sensitivities.shape
        most = _SLAB_VALUES_ON_DEVICE if self.sensitivities.is_cuda else _SLAB_VALUES
        thickness = max(1, most // (rest[0] * rest[1] * rest[2]))
        for start in range(0, n_x, thickness):
            yield slice(start, start + thickness)


def _undersampled_axes(measured: Tensor) -> Sequence[int]:
    """Return the axes along which the pattern changes; along the others a transform and its inverse cancel."""
    return tuple(axis for axis in _PHASE_ENCODINGS if not bool((measured == measured.narrow(axis, 0, 1)).all()))
