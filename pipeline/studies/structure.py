"""Metrics that compare neighbourhoods of two maps: high frequencies, gradients, structural similarity.

Both maps are freed of their mean in the mask and set to zero outside before any filter sees them: a filter that finds
the edge of one mask, or a constant that the field cannot tell, measures nothing else.
"""

import torch
from scipy import ndimage
from torch import Tensor

from pipeline.studies.metrics import centred

_LOG_SIGMA_VOXELS = 1.5
_SSIM_WINDOW, _SSIM_K1, _SSIM_K2 = 7, 0.01, 0.03
_XSIM_WINDOW, _XSIM_K1, _XSIM_K2, _XSIM_RANGE_PPM = 5, 0.01, 0.001, 1.0
_RIM_VOXELS = 8


def hfen(estimate: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Return the error of high frequencies: the NRMSE of both maps after a Laplacian of Gaussian of 1.5 voxels [%].

    Parameters
    ----------
    estimate, truth
        Maps of one unit, `(z, y, x)`.
    mask
        Where to compare, bool, same shape.

    Raises
    ------
    UnusableInput
        Shapes disagree, the mask is empty, or the truth is constant in it.

    References
    ----------
    Langkammer 2018, doi:10.1002/mrm.26830.
    """
    found, wanted, inside = _masked(estimate, truth, mask)
    edges = [
        torch.from_numpy(ndimage.gaussian_laplace(values.numpy(), _LOG_SIGMA_VOXELS, truncate=5.0))[inside]
        for values in (found, wanted)
    ]
    return 100 * float((edges[0] - edges[1]).norm() / edges[1].norm())


def gradient_error(estimate: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Return the gradient difference error (GXE): the rms difference of central differences [unit of the maps / voxel].

    The mean goes over the mask and the three axes. Parameters and errors are those of `hfen`.

    References
    ----------
    The metric GXE of QSM-CI and of the FANSI toolbox's gradient domain: Milovic 2018, doi:10.1002/mrm.27073.
    """
    found, wanted, inside = _masked(estimate, truth, mask)
    slopes = torch.gradient(found - wanted)
    return float(torch.stack([slope[inside] for slope in slopes]).square().mean().sqrt())


def ssim(estimate: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Return the mean structural similarity in windows of 7³ voxels; the dynamic range is that of the truth.

    Parameters and errors are those of `hfen`.

    References
    ----------
    Wang 2004, doi:10.1109/TIP.2003.819861.
    """
    found, wanted, inside = _masked(estimate, truth, mask)
    extent = float(wanted[inside].max() - wanted[inside].min())
    n_samples = _SSIM_WINDOW**3
    stabilisers = ((_SSIM_K1 * extent) ** 2, (_SSIM_K2 * extent) ** 2)
    return _similarity(found, wanted, inside, _SSIM_WINDOW, stabilisers, n_samples / (n_samples - 1))


def xsim(estimate: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Return the structural similarity made for susceptibility: windows of 5³ voxels, a fixed range of 1 ppm, K2 0.001.

    Parameters and errors are those of `hfen`; both maps in ppm.

    References
    ----------
    Milovic 2024, doi:10.1002/mrm.30271.
    """
    found, wanted, inside = _masked(estimate, truth, mask)
    stabilisers = ((_XSIM_K1 * _XSIM_RANGE_PPM) ** 2, (_XSIM_K2 * _XSIM_RANGE_PPM) ** 2)
    return _similarity(found, wanted, inside, _XSIM_WINDOW, stabilisers, 1.0)


def _masked(estimate: Tensor, truth: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return both maps, centred and zero outside the mask, and the mask, cut to its box with a rim of zeros.

    Where the mask reaches the volume's edge there is no rim; the filters then see the edge as in the whole volume.
    """
    values = centred(estimate, truth, mask)
    inside = mask.cpu().bool()
    places = inside.nonzero()
    low, high = places.amin(0).tolist(), places.amax(0).tolist()
    box = tuple(
        slice(max(0, first - _RIM_VOXELS), last + 1 + _RIM_VOXELS) for first, last in zip(low, high, strict=True)
    )
    volumes = []
    for part in values:
        volume = torch.zeros(inside.shape, dtype=torch.float64)
        volume[inside] = part.cpu()
        volumes.append(volume[box])
    return volumes[0], volumes[1], inside[box]


def _similarity(
    found: Tensor, wanted: Tensor, inside: Tensor, window: int, stabilisers: tuple[float, float], unbiased: float
) -> float:
    """Return the mean over the mask of luminance times contrast and structure, from means over cubic windows."""
    mean_found, mean_wanted = _window_mean(found, window), _window_mean(wanted, window)
    variance_found = unbiased * (_window_mean(found * found, window) - mean_found.square())
    variance_wanted = unbiased * (_window_mean(wanted * wanted, window) - mean_wanted.square())
    covariance = unbiased * (_window_mean(found * wanted, window) - mean_found * mean_wanted)
    of_means, of_contrasts = stabilisers
    shared = (2 * mean_found * mean_wanted + of_means) * (2 * covariance + of_contrasts)
    apart = (mean_found.square() + mean_wanted.square() + of_means) * (variance_found + variance_wanted + of_contrasts)
    return float((shared / apart)[inside].mean())


def _window_mean(values: Tensor, window: int) -> Tensor:
    """Return the mean over the part of a cube around every voxel that lies in the volume."""
    for axis in range(3):
        along = values.movedim(axis, -1)
        flat = along.reshape(1, -1, along.shape[-1])
        mean = torch.nn.functional.avg_pool1d(flat, window, stride=1, padding=window // 2, count_include_pad=False)
        values = mean.reshape(along.shape).movedim(-1, axis)
    return values
