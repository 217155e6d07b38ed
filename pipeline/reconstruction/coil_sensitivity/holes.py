"""Places that are bright in the coils and yet have no sensitivities: found, and filled from low-resolution images."""

import torch
from torch import Tensor

from pipeline.reconstruction.coil_sensitivity.calibration import calibration_kspace, low_resolution_images
from pipeline.reconstruction.coil_sensitivity.low_resolution import LowResolutionSettings, low_resolution
from pipeline.reconstruction.kspace import Kspace

_BRIGHT = 0.4
"""Share of the brightest voxels' signal; the blur about an object is less."""
_BRIGHTEST = 0.99
_SMALLEST_SHARE = 0.02
"""Of the bright voxels; a vessel or a voxel of air within a head is less."""


def fill_holes(kspace: Kspace, sensitivities: Tensor) -> tuple[Tensor, float]:
    """Give bright voxels without sensitivities those of the low-resolution images, where they are more than a few.

    Parameters
    ----------
    kspace
        The scan.
    sensitivities
        Complex `(coil, z, y, x)`, all 0 where a method found no signal.

    Returns
    -------
    The sensitivities, and the share of the bright voxels that was filled, 0 where they are as they were.

    Raises
    ------
    MissingCalibration
        Too little of the centre was measured.
    """
    settings = LowResolutionSettings()
    images = low_resolution_images(calibration_kspace(kspace, settings.calibration_size), kspace.grid.shape)
    brightness = torch.linalg.vector_norm(images, dim=0)
    top = brightness.flatten().kthvalue(max(1, int(_BRIGHTEST * brightness.numel()))).values
    bright = brightness > _BRIGHT * top
    lacking = bright & ~sensitivities.ne(0).any(0)
    share = float(lacking.sum()) / max(int(bright.sum()), 1)
    if share < _SMALLEST_SHARE:
        return sensitivities, 0.0
    return torch.where(lacking, low_resolution(kspace, settings), sensitivities), share
