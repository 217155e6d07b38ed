"""Super-resolution ×2 of complex echo images: a network fills the outer k-space, the measured band stays as it was."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import OnIteration, setting
from pipeline.networks.reconstruction_table import RECONSTRUCTION_NETWORKS
from pipeline.networks.super_resolution import FACTOR, with_measured_band, zero_filled_twice
from pipeline.networks.weights import load_network
from pipeline.susceptibility.dipole_inversion.learned.apply import PRECISIONS, products_in

NAME = "super_resolution"
_ALIGNED = 4
"""Slabs begin where the network's coarsest voxels do."""
_TINY = 1e-20


@dataclass(frozen=True)
class SuperResolutionSettings:
    """How the network computes."""

    thickness: int = setting(48, "voxel", "fine planes along x that are computed together", minimum=_ALIGNED)
    margin: int = setting(16, "voxel", "further fine planes that are read on either side", minimum=0)
    precision: str = setting("auto", "-", "of the products; auto is bfloat16 on a GPU that has it", choices=PRECISIONS)


@dataclass(frozen=True)
class Refinement:
    """One way to make images finer; `settings` is a frozen dataclass declared with `pipeline.method.setting`."""

    name: str
    citation: str
    settings: type
    learned: bool = True


SUPER_RESOLUTION = Refinement(NAME, RECONSTRUCTION_NETWORKS[NAME].citation, SuperResolutionSettings)


@dataclass(frozen=True)
class FineImages:
    """Images on a grid twice as fine.

    Attributes
    ----------
    images
        Complex `(echo, z, y, x)`.
    zero_filled
        The same without the network: what was measured and nothing else.
    grid
        Its voxel `(2 z, 2 y, 2 x)` lies where the voxel `(z, y, x)` of the measured grid does.
    """

    images: Tensor
    zero_filled: Tensor
    grid: Grid


def super_resolve(
    images: Tensor,
    grid: Grid,
    settings: SuperResolutionSettings | None = None,
    on_iteration: OnIteration | None = None,
    network: torch.nn.Module | None = None,
) -> FineImages:
    """Return complex echo images on a grid twice as fine along each axis.

    The inner half of their k-space along each axis is that of the given images, sample by sample; the network decides
    the rest.

    Parameters
    ----------
    images
        Complex `(echo, z, y, x)`; fine images scale with them.
    grid
        Of the images.
    settings
        Slabs and precision.
    on_iteration
        Told the fraction done.
    network
        In place of the stored one.

    Raises
    ------
    UnusableInput
        The images are not complex, or not on the grid.
    WeightsUnknown, WeightsMissing, WeightsAltered
        The network is not trained, or its weights are not those that are listed.
    """
    if images.ndim != 4 or not images.is_complex() or tuple(images.shape[1:]) != grid.shape:
        raise UnusableInput(
            f"Super-resolution takes complex images (echo, z, y, x) on their grid {grid.shape}; these are "
            f"{images.dtype} of shape {tuple(images.shape)}."
        )
    settings = settings or SuperResolutionSettings()
    network = load_network(NAME, device=images.device) if network is None else network.to(images.device)
    plain = zero_filled_twice(images)
    fine = torch.empty_like(plain)
    for echo, image in enumerate(plain):
        fine[echo] = with_measured_band(_detailed(network, image, settings), images[echo])
        if on_iteration is not None:
            on_iteration((echo + 1) / len(images))
    z, y, x = (FACTOR * size for size in grid.shape)
    dz, dy, dx = (size / FACTOR for size in grid.voxel_size_mm)
    return FineImages(fine, plain, replace(grid, shape=(z, y, x), voxel_size_mm=(dz, dy, dx)))


def _detailed(network: torch.nn.Module, image: Tensor, settings: SuperResolutionSettings) -> Tensor:
    """Return the network's image of one zero-filled image `(z, y, x)`, slab by slab along x."""
    power = image.abs().square()
    scale = (power.square().mean() / power.mean().clamp_min(_TINY)).sqrt().clamp_min(_TINY)
    thickness, margin = (-(-size // _ALIGNED) * _ALIGNED for size in (settings.thickness, settings.margin))
    parts = []
    for start in range(0, image.shape[-1], thickness):
        stop = min(start + thickness, image.shape[-1])
        first = max(0, start - margin)
        read = image[..., first : stop + margin] / scale
        with torch.no_grad(), products_in(settings.precision, image.device):
            made: Tensor = network(read[None])[0]
        parts.append(made[..., start - first : stop - first] * scale)
    return torch.cat(parts, -1)
