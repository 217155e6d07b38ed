"""The super-resolution network: adds what may lie beyond the measured band to complex images of twice the size."""

import torch
from torch import Tensor, nn

from pipeline.networks.plane_unet import ALL_AXES, PlaneUNet, as_channels, as_complex
from pipeline.operators.centred_fourier import to_image, to_kspace

FACTOR = 2
WIDTHS = (16, 32, 64)


class SuperResolution(nn.Module):
    """A U-Net on the zero-filled images; the measured band is put back untouched by `with_measured_band`.

    Source: the ×2 super-resolution of the 3D-EPI study of multiple sclerosis is not published; this network is ours.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.extrapolator = PlaneUNet(2, 2, widths, ALL_AXES)

    def forward(self, images: Tensor) -> Tensor:
        """Return images `(batch, z, y, x)` with detail added, from complex zero-filled images of the same shape."""
        return self.iterates(images)[-1]

    def iterates(self, images: Tensor) -> list[Tensor]:
        """Return the zero-filled images and those with detail added."""
        return [images, images + as_complex(self.extrapolator(as_channels(images)))]


def zero_filled_twice(images: Tensor) -> Tensor:
    """Return complex images `(..., z, y, x)` on a grid twice as fine: their k-space, surrounded by zeros.

    Values keep their size; the fine voxel `(2 z, 2 y, 2 x)` has the place of the coarse voxel `(z, y, x)`.
    """
    return with_measured_band(images.new_zeros((*images.shape[:-3], *fine_shape(images))), images)


def with_measured_band(fine: Tensor, coarse: Tensor) -> Tensor:
    """Return fine images `(..., z, y, x)` whose inner half of k-space is that of coarse images, sample by sample.

    Parameters
    ----------
    fine
        Complex, of twice the size of `coarse` along each axis.
    coarse
        Complex, as measured.
    """
    spectrum = to_kspace(fine)
    place = measured_band(coarse)
    spectrum[(..., *place)] = to_kspace(coarse) * _scale()
    return to_image(spectrum)


def coarse_again(fine: Tensor) -> Tensor:
    """Return the coarse images whose k-space is the inner half of that of fine images of even size."""
    shape = torch.Size(size // FACTOR for size in fine.shape[-3:])
    place = _band(shape)
    return to_image(to_kspace(fine)[(..., *place)]) / _scale()


def fine_shape(images: Tensor) -> tuple[int, int, int]:
    """Return twice the shape `(z, y, x)` of images."""
    z, y, x = (FACTOR * size for size in images.shape[-3:])
    return z, y, x


def measured_band(coarse: Tensor) -> tuple[slice, slice, slice]:
    """Return where the k-space of coarse images lies in that of fine ones."""
    return _band(coarse.shape[-3:])


def _band(shape: torch.Size) -> tuple[slice, slice, slice]:
    z, y, x = (slice(size - size // 2, size - size // 2 + size) for size in shape)
    return z, y, x


def _scale() -> float:
    """Return by what unitary k-space grows when its grid does."""
    return float(FACTOR**1.5)
