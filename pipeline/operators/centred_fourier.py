"""Centred, unitary Fourier transforms between images and k-space, whose zero frequency lies at index `size // 2`."""

from collections.abc import Sequence

import torch
from torch import Tensor


def to_image(kspace: Tensor, axes: Sequence[int] = (-3, -2, -1)) -> Tensor:
    """Return the images of k-space: fftshift(ifftn(ifftshift(k))) along the given axes, scaled to keep the norm.

    Parameters
    ----------
    kspace
        Complex, any shape.
    axes
        The axes to transform.

    Returns
    -------
    Complex, the same shape.
    """
    shifted = torch.fft.ifftshift(kspace, dim=tuple(axes))
    return torch.fft.fftshift(torch.fft.ifftn(shifted, dim=tuple(axes), norm="ortho"), dim=tuple(axes))


def to_kspace(image: Tensor, axes: Sequence[int] = (-3, -2, -1)) -> Tensor:
    """Return the k-space of images: the adjoint and the inverse of `to_image`.

    Parameters
    ----------
    image
        Complex, any shape.
    axes
        The axes to transform.

    Returns
    -------
    Complex, the same shape.
    """
    shifted = torch.fft.ifftshift(image, dim=tuple(axes))
    return torch.fft.fftshift(torch.fft.fftn(shifted, dim=tuple(axes), norm="ortho"), dim=tuple(axes))
