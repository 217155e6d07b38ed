"""How noise of the samples becomes noise of the images: reconstructions of the same scan with more noise added."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from pipeline.reconstruction.kspace import Kspace
from pipeline.reconstruction.noise_whitening import noise_level
from pipeline.susceptibility.smoothing import weighted_gaussian

_SMOOTHED_VOXELS = 2.0


def noise_map(
    kspace: Kspace,
    reconstruct: Callable[[Kspace], Tensor],
    n_replicas: int,
    chance: torch.Generator,
    inside: Tensor,
) -> Tensor:
    """Return the noise of the first echo's image by pseudo-replicas.

    Parameters
    ----------
    kspace
        A whitened scan.
    reconstruct
        Returns images `(echo, z, y, x)` of a scan.
    n_replicas
        How many noisy copies are reconstructed; few suffice, since the map is smooth and is smoothed.
    chance
        Makes the noise.
    inside
        Voxels to be mapped, bool `(z, y, x)`.

    Returns
    -------
    Standard deviation of real or imaginary part `(z, y, x)`, in units of the image; 0 outside.

    Source: Robson 2008, doi:10.1002/mrm.21728.
    """
    one = replace(
        kspace, samples=kspace.samples[:1], measured=kspace.measured[:1], echo_times_s=kspace.echo_times_s[:1]
    )
    clean = reconstruct(one)[0]
    level = noise_level(kspace)
    power = torch.zeros_like(clean.real)
    lines = one.measured[0][:, :, None]
    for _ in range(n_replicas):
        added = torch.randn(*one.samples.shape[1:], 2, generator=chance, device=chance.device)
        noise = torch.view_as_complex(added).to(one.samples) * (lines * (level * math.sqrt(0.5)))
        noisy = reconstruct(replace(one, samples=one.samples + noise))[0]
        power += (noisy - clean).abs().square()
    sigma_mm = _SMOOTHED_VOXELS * min(kspace.grid.voxel_size_mm)
    mean = weighted_gaussian(power / (2 * n_replicas), inside.float(), sigma_mm, kspace.grid)
    return mean.clamp_min(0).sqrt() * inside


def geometry_factor(noise: Tensor, sensitivities: Tensor, level: float, acceleration: float) -> Tensor:
    """Return by how much noise exceeds that of a fully sampled scan times the root of the acceleration.

    Parameters
    ----------
    noise
        Standard deviation of real or imaginary part `(z, y, x)`.
    sensitivities
        Complex `(coil, z, y, x)`.
    level
        Root mean power of the noise of one complex sample.
    acceleration
        Lines of the grid over lines measured.

    Returns
    -------
    The factor `(z, y, x)`, 0 where there are no sensitivities; regularised images can have less than 1.

    Source: Pruessmann 1999, doi:10.1002/(SICI)1522-2594(199911)42:5<952::AID-MRM16>3.0.CO;2-S.
    """
    length = torch.linalg.vector_norm(sensitivities, dim=0)
    return noise * length / (level * math.sqrt(0.5 * acceleration))
