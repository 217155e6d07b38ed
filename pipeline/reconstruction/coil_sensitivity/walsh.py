"""Coil sensitivities as the strongest pattern of low-resolution coil images in each neighbourhood (adaptive, Walsh)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.method import setting
from pipeline.reconstruction.coil_sensitivity.calibration import calibration_kspace, low_resolution_images
from pipeline.reconstruction.coil_sensitivity.interpolation import spread
from pipeline.reconstruction.coil_sensitivity.low_resolution import in_phase_of_mode, strongest_mode
from pipeline.reconstruction.kspace import Kspace


@dataclass(frozen=True)
class WalshSettings:
    """Choices of the adaptive sensitivities."""

    calibration_size: int = setting(24, "samples", "middle of k-space that is taken along each axis", minimum=4)
    neighbourhood: int = setting(
        3,
        "points",
        "size of the neighbourhoods, in points as far apart as the calibration resolves",
        minimum=1,
        maximum=9,
    )


def walsh(kspace: Kspace, settings: WalshSettings | None = None) -> Tensor:
    """Correlate the coils in each neighbourhood and take the strongest common pattern.

    Parameters
    ----------
    kspace
        The scan.
    settings
        Sizes.

    Returns
    -------
    Complex sensitivities `(coil, z, y, x)` whose squares sum to 1 everywhere, noise included.

    Raises
    ------
    MissingCalibration
        Too little of the centre was measured.

    Source: Walsh 2000, doi:10.1002/(SICI)1522-2594(200005)43:5<682::AID-MRM10>3.0.CO;2-G.
    """
    settings = settings or WalshSettings()
    calibration = calibration_kspace(kspace, settings.calibration_size)
    shape = [min(2 * size, full) for size, full in zip(calibration.shape[1:], kspace.grid.shape, strict=True)]
    images = low_resolution_images(calibration, (shape[0], shape[1], shape[2]))
    flat = images.flatten(1)
    correlations = (flat[:, None] * flat.conj()[None]).unflatten(-1, shape)
    reach = settings.neighbourhood
    for axis in (-3, -2, -1):
        total = correlations
        for step in range(1, min(reach, correlations.shape[axis] // 2 + 1)):
            total = total + correlations.roll(step, axis) + correlations.roll(-step, axis)
        correlations = total
    vectors = torch.linalg.eigh(correlations.flatten(2).permute(2, 0, 1)).eigenvectors[..., -1]
    patterns = in_phase_of_mode(vectors.T.reshape(-1, *shape), strongest_mode(calibration))
    fine = spread(patterns, kspace.grid.shape)
    return fine / torch.linalg.vector_norm(fine, dim=0).clamp_min(torch.finfo(fine.real.dtype).tiny)
