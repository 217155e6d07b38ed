"""Training examples of the reconstructions: thin slabs across the readout, sampled by coils, with noise."""

import cmath
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.networks.super_resolution import coarse_again, zero_filled_twice
from pipeline.operators.centred_fourier import to_kspace
from pipeline.reconstruction.compressed_sensing import l1_wavelet
from pipeline.reconstruction.kspace import Kspace
from pipeline.simulation.forward import complex_noise
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.kspace_heads import N_ECHOES, HeadMaterial

_CPU = torch.device("cpu")
_PLANE = (-3, -2)
_MOST_VOXELS = 40_000
_LEAST_THICKNESS = 4
_SNR = (20.0, 120.0)
_COILS_AT_ONCE = 2
_SHARE_CALIBRATED = 0.2
"""Of the slabs whose sensitivities come from few lines; the others have the true ones, to which ESPIRiT comes near."""
_LEAST_SIGNAL = 0.02
"""Share of a slab's voxels that must be brain."""
_FLOOR = 0.05
_TINY = 1e-9
_ANY_TIME_S = 0.01


@dataclass(frozen=True)
class KspaceExample:
    """What a network's `iterates` is given, and what its last image should be.

    Attributes
    ----------
    inputs
        Each with a leading batch axis.
    truth
        Complex `(batch, z, y, x)`.
    inside
        Where errors are judged: bool, the same shape.
    """

    inputs: tuple[Tensor, ...]
    truth: Tensor
    inside: Tensor

    def to(self, device: torch.device) -> "KspaceExample":
        """Return it on a device."""
        inputs = tuple(tensor.to(device) for tensor in self.inputs)
        return KspaceExample(inputs, self.truth.to(device), self.inside.to(device))


@dataclass(frozen=True)
class _Slab:
    """One slab: noise-free coil images, noisy samples with k = 0 at index 0, and the lines that were measured."""

    coil_images: Tensor
    samples: Tensor
    mask: Tensor
    sensitivities: Tensor
    inside: Tensor
    noise: float


MakeExample = Callable[[HeadMaterial, Chance, int], KspaceExample]
"""From a head, random draws and the wanted thickness [voxel] to an example."""


def parallel_imaging_example(material: HeadMaterial, chance: Chance, thickness: int) -> KspaceExample:
    """Return a slab for the variational network: adjoint image, mask, sensitivities, wavelet-sparse start.

    Most sensitivities are the true ones, some those that the slab's own calibration block gives.
    """
    slab = _slab(material, chance, thickness)
    adjoint = (slab.sensitivities.conj() * torch.fft.ifft2(slab.samples, dim=_PLANE, norm="ortho")).sum(0)
    truth = (slab.sensitivities.conj() * slab.coil_images).sum(0)
    inputs = (adjoint[None], slab.mask[None], slab.sensitivities[None], _wavelet_sparse(slab, material)[None])
    return KspaceExample(inputs, truth[None], slab.inside[None])


def single_coil_example(material: HeadMaterial, chance: Chance, thickness: int) -> KspaceExample:
    """Return a slab as some of its coils see it, for ReconNet3D: samples and mask, a batch of coils."""
    slab = _slab(material, chance, thickness)
    strongest = slab.coil_images.abs().square().sum((1, 2, 3)).argsort(descending=True)
    half = max(_COILS_AT_ONCE, math.ceil(len(strongest) / 2))
    chosen = strongest[torch.randperm(half, generator=chance.tables)[:_COILS_AT_ONCE]]
    samples, truth = slab.samples[chosen], slab.coil_images[chosen]
    return KspaceExample(
        (samples, slab.mask[None].expand(len(chosen), -1, -1)), truth, slab.inside[None].expand(len(chosen), -1, -1, -1)
    )


def fine_example(material: HeadMaterial, chance: Chance, thickness: int) -> KspaceExample:
    """Return a cube of an image whose outer half of k-space was not measured, and the whole image's cube."""
    whole = material.images[chance.integer(0, N_ECHOES - 1)]
    even = tuple(slice(0, size - size % 2) for size in whole.shape)
    truth = whole[even] * _phase_factor(chance)
    coarse = coarse_again(truth)
    noise = 1 / chance.log_uniform(*_SNR)
    seen = zero_filled_twice(coarse + complex_noise(tuple(coarse.shape), noise, chance.tables))
    edge = [min(thickness, size) for size in truth.shape]
    starts = [_place(size, n, chance) for size, n in zip(truth.shape, edge, strict=True)]
    cut = tuple(slice(start, start + n) for start, n in zip(starts, edge, strict=True))
    flipped = [axis for axis in range(3) if chance.happens(0.5)]
    truth, seen = truth[cut].flip(flipped), seen[cut].flip(flipped)
    return KspaceExample((seen[None],), truth[None], (truth.abs() > _FLOOR)[None])


def calibrated_sensitivities(samples: Tensor, calibration: tuple[int, int]) -> Tensor:
    """Return what coil images of the windowed centre of k-space give: `(coil, z, y, x)`, their power 1.

    Parameters
    ----------
    samples
        Complex `(coil, z, y, x)`, k-space along z and y with k = 0 at index 0.
    calibration
        Lines `(z, y)` of the fully measured centre.
    """
    window = torch.zeros(samples.shape[1:3], device=samples.device)
    first = [size // 2 - lines // 2 for size, lines in zip(window.shape, calibration, strict=True)]
    z, y = (torch.hann_window(lines + 2, periodic=False, device=samples.device)[1:-1] for lines in calibration)
    window[first[0] : first[0] + calibration[0], first[1] : first[1] + calibration[1]] = z[:, None] * y
    smooth = torch.fft.ifft2(samples * torch.fft.ifftshift(window)[..., None], dim=_PLANE, norm="ortho")
    return smooth / smooth.abs().square().sum(0).sqrt().clamp_min(_TINY)


def _slab(material: HeadMaterial, chance: Chance, thickness: int) -> _Slab:
    n_z, n_y, n_x = material.grid.shape
    thickness = min(thickness, max(_LEAST_THICKNESS, _MOST_VOXELS // (n_z * n_y)))
    lit = material.brain.float().mean((0, 1))
    starts = [x for x in range(n_x - thickness) if float(lit[x : x + thickness].mean()) > _LEAST_SIGNAL]
    first = chance.choice(starts)
    window = slice(first, first + thickness)
    flipped = [axis for axis in (-3, -2, -1) if chance.happens(0.5)]
    image = material.images[chance.integer(0, N_ECHOES - 1)][..., window].flip(flipped) * _phase_factor(chance)
    true = material.sensitivities(chance.integer(0, len(material.arrays) - 1), window).flip(flipped)
    lines, calibration = chance.choice(material.patterns)
    mask = torch.fft.ifftshift(lines).float()
    coil_images = true * image
    level = 1 / chance.log_uniform(*_SNR)
    noise = complex_noise(tuple(coil_images.shape), level, chance.tables)
    samples = torch.fft.fft2(coil_images + noise, dim=_PLANE, norm="ortho") * mask[..., None]
    sensitivities = calibrated_sensitivities(samples, calibration) if chance.happens(_SHARE_CALIBRATED) else true
    inside = image.abs() > _FLOOR
    if chance.happens(0.5):
        around = torch.nn.functional.max_pool3d(inside.float()[None, None], 5, 1, 2)[0, 0]
        sensitivities = sensitivities * around
    return _Slab(coil_images, samples, mask, sensitivities, inside, level)


def _wavelet_sparse(slab: _Slab, material: HeadMaterial) -> Tensor:
    """Return the image with which the variational network begins, as `learned_variational` makes it of a whole scan."""
    unit = math.sqrt(2) * slab.noise
    coil_images = torch.fft.ifft2(slab.samples, dim=_PLANE, norm="ortho") / unit
    n_z, n_y, n_x = coil_images.shape[1:]
    lines = torch.fft.fftshift(slab.mask)[None] > 0
    # Noise samples of power one: without them the level would be guessed from the slab.
    noise = torch.ones((len(coil_images), 1), dtype=coil_images.dtype)
    grid = replace(material.grid, shape=(n_z, n_y, n_x))
    kspace = Kspace(to_kspace(coil_images)[None], lines, grid, (_ANY_TIME_S,), 3.0, noise)
    return l1_wavelet(kspace, slab.sensitivities)[0] * unit


def _place(size: int, length: int, chance: Chance) -> int:
    """Return where a stretch of an axis begins, a sixth of the axis from its ends where there is room."""
    first = min(size // 6, size - length)
    return chance.integer(first, max(first, size - size // 6 - length))


def _phase_factor(chance: Chance) -> complex:
    return cmath.exp(1j * chance.uniform(-math.pi, math.pi))
