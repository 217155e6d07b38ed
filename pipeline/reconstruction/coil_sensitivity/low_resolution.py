"""Coil sensitivities from low-resolution images of every coil, divided by their root sum of squares."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.method import setting
from pipeline.reconstruction.coil_sensitivity.calibration import calibration_kspace, low_resolution_images
from pipeline.reconstruction.kspace import Kspace


@dataclass(frozen=True)
class LowResolutionSettings:
    """Choices of the low-resolution sensitivities."""

    calibration_size: int = setting(24, "samples", "middle of k-space that is taken along each axis", minimum=4)


def low_resolution(kspace: Kspace, settings: LowResolutionSettings | None = None) -> Tensor:
    """Divide each coil's windowed low-resolution image by the root sum of squares of all.

    Parameters
    ----------
    kspace
        The scan.
    settings
        How much of k-space is taken.

    Returns
    -------
    Complex sensitivities `(coil, z, y, x)` whose squares sum to 1, in the phase of the coils' strongest common mode.

    Raises
    ------
    MissingCalibration
        Too little of the centre was measured.

    Source: McKenzie 2002, doi:10.1002/mrm.10087; Bydder 2002, doi:10.1002/mrm.10092.
    """
    settings = settings or LowResolutionSettings()
    calibration = calibration_kspace(kspace, settings.calibration_size)
    images = low_resolution_images(calibration, kspace.grid.shape)
    length = torch.linalg.vector_norm(images, dim=0)
    return in_phase_of_mode(images / length.clamp_min(torch.finfo(length.dtype).tiny), strongest_mode(calibration))


def strongest_mode(calibration: Tensor) -> Tensor:
    """Return the weights `(coil)` of the combination of coils that receives most: a virtual body coil."""
    flat = calibration.flatten(1)
    return torch.linalg.eigh(flat @ flat.mH).eigenvectors[:, -1]


def in_phase_of_mode(sensitivities: Tensor, mode: Tensor) -> Tensor:
    """Turn the phases that sensitivities leave open so that a combination of coils has none.

    All coils of a voxel are turned alike, and all echoes share the sensitivities: differences of echoes stay the same.
    """
    received = torch.einsum("c,c...->...", mode.conj(), sensitivities)
    size = received.abs()
    turned = torch.where(size > 0, received.conj() / size.clamp_min(torch.finfo(size.dtype).tiny), 1)
    return sensitivities * turned
