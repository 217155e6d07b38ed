"""The noise of the coils: its covariance from a scan without signal, whitening by it, and the level of one sample."""

from dataclasses import replace

import torch
from torch import Tensor

from pipeline.errors import SingularNoise
from pipeline.reconstruction.kspace import Kspace

_FEWEST_PER_COIL = 4
_LARGEST_CONDITION = 1e6
_OUTER_SHARE = 0.8
_MEDIAN_OF_UNIT_POWER = 0.6931471805599453


def noise_covariance(noise: Tensor) -> Tensor:
    """Return the covariance `(coil, coil)` of noise samples `(coil, n)`.

    Raises
    ------
    SingularNoise
        There are too few samples, or coils without noise or with the same noise.
    """
    n_coils, count = noise.shape
    if count < _FEWEST_PER_COIL * n_coils:
        raise SingularNoise(
            f"The noise scan holds {count} samples for {n_coils} coils; {_FEWEST_PER_COIL * n_coils} are the fewest."
        )
    centred = (noise - noise.mean(1, keepdim=True)).to(torch.complex128)
    covariance = centred @ centred.mH / (count - 1)
    values = torch.linalg.eigvalsh(covariance)
    if not float(values[0]) * _LARGEST_CONDITION > float(values[-1]):
        raise SingularNoise(
            "The noise covariance of the coils is singular: a coil holds no noise or the same as another. "
            "Leave that coil out, or repeat the noise scan."
        )
    return covariance


def whiten(kspace: Kspace) -> Kspace:
    """Mix the coils so that their noise is independent and has power 1 in each sample.

    Parameters
    ----------
    kspace
        A scan with noise samples; without them only the scale changes, by the level that the samples show.

    Returns
    -------
    The scan in units of its noise.

    Raises
    ------
    SingularNoise
        The covariance cannot be inverted.

    Source: Roemer 1990, doi:10.1002/mrm.1910160203; Pruessmann 2001, doi:10.1002/mrm.1241.
    """
    if kspace.noise is None:
        level = noise_level(kspace)
        mixing = torch.eye(kspace.n_coils, dtype=torch.complex128) / level
    else:
        factor = torch.linalg.cholesky(noise_covariance(kspace.noise))
        unit = torch.eye(kspace.n_coils, dtype=factor.dtype, device=factor.device)
        mixing = torch.linalg.solve_triangular(factor, unit, upper=False)
    return mix_coils(kspace, mixing.to(kspace.samples))


def mix_coils(kspace: Kspace, mixing: Tensor) -> Kspace:
    """Return the scan with new coils that are sums of the old, by a matrix `(new coil, coil)`."""

    def mixed(values: Tensor | None, axis: int) -> Tensor | None:
        if values is None:
            return None
        return torch.movedim(torch.tensordot(mixing, values, dims=([1], [axis])), 0, axis)

    samples = torch.stack([torch.tensordot(mixing, echo, dims=1) for echo in kspace.samples])
    return replace(kspace, samples=samples, noise=mixed(kspace.noise, 0), calibration=mixed(kspace.calibration, 0))


def noise_level(kspace: Kspace) -> float:
    """Return the root mean power of the noise in one complex sample, 1 after whitening.

    Without a noise scan it is told from the corners of k-space, where signal is weakest: the outer ends of the
    outermost lines of the last echo. The median of their power is that of noise.
    """
    if kspace.noise is not None:
        return float(kspace.noise.abs().square().mean().sqrt())
    lines = kspace.measured[-1].nonzero()
    middle = torch.tensor(kspace.measured.shape[1:], device=lines.device) // 2
    radii = ((lines - middle).abs() / middle.clamp_min(1)).square().sum(1)
    z, y = lines[radii >= radii.float().quantile(_OUTER_SHARE)].T
    readouts = kspace.samples[-1][:, z, y]
    n_x = readouts.shape[-1]
    edge = max(1, int((1 - _OUTER_SHARE) / 2 * n_x))
    outer = torch.cat((readouts[..., :edge], readouts[..., n_x - edge :]), -1).abs().square()
    return max((float(outer.median()) / _MEDIAN_OF_UNIT_POWER) ** 0.5, torch.finfo(torch.float32).tiny)
