"""Coil sensitivities as the eigenvectors that the local correlations of k-space leave unchanged (ESPIRiT)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.method import setting
from pipeline.operators.centred_fourier import to_image
from pipeline.reconstruction.coil_sensitivity.calibration import calibration_kspace, padded_kspace
from pipeline.reconstruction.coil_sensitivity.interpolation import spread
from pipeline.reconstruction.coil_sensitivity.low_resolution import in_phase_of_mode, strongest_mode
from pipeline.reconstruction.kspace import Kspace
from pipeline.reconstruction.noise_whitening import noise_level

_APART = 2
_MOST_COLUMNS = 2100
"""Samples of a neighbourhood in all coils; the time that its correlations take grows with the third power."""


@dataclass(frozen=True)
class EspiritSettings:
    """Choices of ESPIRiT."""

    calibration_size: int = setting(24, "samples", "middle of k-space that is taken along each axis", minimum=4)
    kernel_size: int = setting(
        5, "samples", "size of the neighbourhoods in k-space; less for many coils", minimum=2, maximum=9
    )
    noise_margin: float = setting(
        2.5, "1", "singular values below so many times those of the noise alone are noise", minimum=0.0, maximum=100.0
    )
    null_share: float = setting(
        0.002, "1", "those below this share of the largest are left out in any case", minimum=0.0, maximum=0.9
    )
    support: float = setting(
        0.95,
        "1",
        "voxels whose eigenvalue is less hold no signal; there all sensitivities are 0",
        minimum=0.0,
        maximum=1.0,
    )
    grid_factor: float = setting(
        1.5, "1", "points per calibration sample on which eigenvectors are found", minimum=1.0, maximum=8.0
    )


def espirit(kspace: Kspace, settings: EspiritSettings | None = None) -> Tensor:
    """Find the sensitivities under which the calibration data explain themselves.

    Parameters
    ----------
    kspace
        The scan.
    settings
        Sizes and thresholds.

    Returns
    -------
    Complex sensitivities `(coil, z, y, x)` whose squares sum to 1 where there is signal, and 0 elsewhere.

    Raises
    ------
    MissingCalibration
        Too little of the centre was measured.

    Notes
    -----
    Eigenvectors are found on a grid somewhat finer than the calibration's and interpolated by cubics: they change no
    faster than the calibration can show. Which neighbourhoods are signal follows from the noise: with a fixed share of
    the largest singular value either little of a loud scan is explained or all of a faint one's noise.

    Source: Uecker 2014, doi:10.1002/mrm.24751.
    """
    settings = settings or EspiritSettings()
    calibration = calibration_kspace(kspace, settings.calibration_size)
    mode = strongest_mode(calibration)
    noise = noise_level(kspace)
    n_z, n_y, n_x = kspace.grid.shape
    if n_z == _APART:
        # Two samples have no neighbourhood to learn from along their axis, so each slice is a scan of its own.
        slices = to_image(calibration, axes=(1,)).unbind(1)
        return torch.cat([_found(one[:, None], (1, n_y, n_x), mode, noise, settings) for one in slices], dim=1)
    return _found(calibration, (n_z, n_y, n_x), mode, noise, settings)


def _found(
    calibration: Tensor, shape: tuple[int, int, int], mode: Tensor, noise: float, settings: EspiritSettings
) -> Tensor:
    """Return the sensitivities `(coil, z, y, x)` on a grid from the middle of k-space, in the phase of a mode."""
    widest = min(settings.kernel_size, max(2, int((_MOST_COLUMNS / len(calibration)) ** (1 / 3) + 1e-9)))
    # Of fewer than half the samples, or a short axis has next to no neighbourhoods to learn from.
    kernel = [min(widest, max(2, size // 2), size) for size in calibration.shape[1:]]
    lags = _correlations(_signal_kernels(calibration, kernel, noise, settings))
    coarse = [
        min(full, max(round(settings.grid_factor * size), lag))
        for full, size, lag in zip(shape, calibration.shape[1:], lags.shape[2:], strict=True)
    ]
    values, vectors = _eigenvectors(lags, (coarse[0], coarse[1], coarse[2]))
    vectors = in_phase_of_mode(vectors, mode)
    eigenvalue = spread(values.to(vectors.dtype), shape).real
    sensitivities = spread(vectors, shape)
    length = torch.linalg.vector_norm(sensitivities, dim=0).clamp_min(torch.finfo(values.dtype).tiny)
    return sensitivities * ((eigenvalue >= settings.support) / length)


def _signal_kernels(calibration: Tensor, kernel: list[int], noise: float, settings: EspiritSettings) -> Tensor:
    """Return the neighbourhoods `(n, coil, z, y, x)` of which the calibration is made, as an orthonormal set."""
    windows = calibration
    for axis, size in enumerate(kernel, start=1):
        windows = windows.unfold(axis, size, 1)
    rows = windows.permute(1, 2, 3, 0, 4, 5, 6).reshape(-1, calibration.shape[0] * kernel[0] * kernel[1] * kernel[2])
    energies, vectors = torch.linalg.eigh(rows.mH @ rows)
    # Noise alone has about the same energy in every combination: its power times the number of neighbourhoods.
    of_noise = settings.noise_margin * noise * len(rows) ** 0.5
    least = max(of_noise, settings.null_share * float(energies[-1].clamp_min(0).sqrt()))
    kept = energies.clamp_min(0).sqrt() > least
    # The rows are combinations of the conjugate vectors.
    return vectors[:, kept].mH.reshape(-1, calibration.shape[0], *kernel)


def _correlations(kernels: Tensor) -> Tensor:
    """Return how the coils of the kernels are correlated at every lag, complex `(coil, coil, z, y, x)`, centre first.

    The transform of the lags along z, y and x is the matrix whose eigenvectors are the sensitivities of each voxel.
    """
    sizes = [2 * size - 1 for size in kernels.shape[2:]]
    spectra = torch.fft.fftn(kernels, s=sizes, dim=(-3, -2, -1)).flatten(2)
    products = torch.einsum("nap,nbp->abp", spectra, spectra.conj()) / kernels[0, 0].numel()
    return torch.fft.ifftn(products.unflatten(-1, sizes), dim=(-3, -2, -1))


def _eigenvectors(lags: Tensor, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Return the largest eigenvalues `(z, y, x)` and their eigenvectors `(coil, z, y, x)` on a grid."""
    centred = torch.fft.fftshift(lags, dim=(-3, -2, -1))
    scale = (shape[0] * shape[1] * shape[2]) ** 0.5
    matrices = to_image(padded_kspace(centred, shape)).flatten(2).permute(2, 0, 1) * scale
    values, vectors = torch.linalg.eigh(matrices)
    return values[:, -1].reshape(shape), vectors[..., -1].T.reshape(-1, *shape)
