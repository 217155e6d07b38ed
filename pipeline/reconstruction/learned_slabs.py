"""How a reconstruction network sees a scan: slabs across the readout, whose images are put together again."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.method import OnIteration, setting
from pipeline.networks.weights import load_network
from pipeline.operators.centred_fourier import to_image
from pipeline.reconstruction.kspace import Kspace
from pipeline.susceptibility.dipole_inversion.learned.apply import PRECISIONS, products_in

_TINY = 1e-20


@dataclass(frozen=True)
class LearnedSettings:
    """How a reconstruction network computes; no setting changes the images by more than a little."""

    thickness: int = setting(48, "voxel", "planes across the readout that are computed together", minimum=4)
    margin: int = setting(6, "voxel", "further planes that are read on either side", minimum=0)
    precision: str = setting("auto", "-", "of the products; auto is bfloat16 on a GPU that has it", choices=PRECISIONS)


@dataclass(frozen=True)
class EchoData:
    """One echo between k-space and images.

    Attributes
    ----------
    coil_images
        Zero-filled, complex `(coil, z, y, x)`.
    mask
        Measured (1) or not (0) `(z, y)`, with k = 0 at index 0.
    sensitivities
        Complex `(coil, z, y, x)`, their power 1 or, without signal, 0.
    start
        Images by another reconstruction, complex `(z, y, x)`, for networks that begin with them.
    """

    coil_images: Tensor
    mask: Tensor
    sensitivities: Tensor
    start: Tensor | None = None


RunSlab = Callable[[torch.nn.Module, EchoData], Tensor]
"""From a network and a slab's data to the slab's image, complex `(z, y, x)`."""


def reconstructed_in_slabs(
    name: str,
    run: RunSlab,
    kspace: Kspace,
    sensitivities: Tensor,
    settings: LearnedSettings,
    on_iteration: OnIteration | None,
    network: torch.nn.Module | None = None,
    starts: Tensor | None = None,
) -> Tensor:
    """Return the images `(echo, z, y, x)` that a network makes of each echo, slab by slab along the readout.

    Parameters
    ----------
    name
        A network of the table of reconstructions.
    run
        Applies it to one slab.
    kspace, sensitivities
        The scan.
    settings
        Slabs and precision.
    on_iteration
        Told the fraction done, after every slab.
    network
        In place of the one of that name.
    starts
        Images by another reconstruction `(echo, z, y, x)`.

    Raises
    ------
    UnusableInput
        The sensitivities do not fit.
    WeightsUnknown, WeightsMissing, WeightsAltered
        The network is not trained, or its weights are not those that are listed.
    """
    if tuple(sensitivities.shape) != tuple(kspace.samples.shape[1:]):
        raise UnusableInput(f"Sensitivities of shape {tuple(sensitivities.shape)} do not fit {kspace.samples.shape}.")
    device = kspace.samples.device
    network = load_network(name, device=device) if network is None else network.to(device)
    unit, power = unit_sensitivities(sensitivities)
    cuts = slabs(kspace.grid.shape[2], settings)
    images = kspace.samples.new_zeros((kspace.n_echoes, *kspace.grid.shape))
    done = 0
    for echo, samples in enumerate(kspace.samples):
        whole = EchoData(to_image(samples), torch.fft.ifftshift(kspace.measured[echo]).float(), unit)
        scale = signal_level(whole)
        for read, kept, place in cuts:
            start = None if starts is None else (starts[echo] * power)[..., read] / scale
            part = EchoData(whole.coil_images[..., read] / scale, whole.mask, unit[..., read], start)
            with torch.no_grad(), products_in(settings.precision, device):
                images[echo][..., place] = run(network, part)[..., kept] * scale
            done += 1
            if on_iteration is not None:
                on_iteration(done / (len(cuts) * kspace.n_echoes))
    return torch.where(power > 0, images / power.clamp_min(_TINY), 0)


def unit_sensitivities(sensitivities: Tensor) -> tuple[Tensor, Tensor]:
    """Return sensitivities of power 1, or 0 where there are none, and the root of the power that they had."""
    power = sensitivities.abs().square().sum(0).sqrt()
    return torch.where(power > 0, sensitivities / power.clamp_min(_TINY), 0), power


def signal_level(echo: EchoData) -> Tensor:
    """Return a magnitude that stands for an echo's signal: the mean square of its power over the mean power, rooted.

    Air around the head, however much there is, hardly changes it.
    """
    power = (echo.sensitivities.conj() * echo.coil_images).sum(0).abs().square()
    return (power.square().mean() / power.mean().clamp_min(_TINY)).sqrt().clamp_min(_TINY)


def slabs(size: int, settings: LearnedSettings) -> list[tuple[slice, slice, slice]]:
    """Return, for every slab of an axis, what is read, which part of that is kept, and where it belongs."""
    cuts = []
    for start in range(0, size, settings.thickness):
        stop = min(start + settings.thickness, size)
        first, last = max(0, start - settings.margin), min(size, stop + settings.margin)
        cuts.append((slice(first, last), slice(start - first, stop - first), slice(start, stop)))
    return cuts
