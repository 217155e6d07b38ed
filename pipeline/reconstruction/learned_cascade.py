"""Reconstruction by ReconNet3D: every coil on its own through the cascade, then combined."""

import torch
from torch import Tensor

from pipeline.method import OnIteration
from pipeline.networks.reconstruction_table import RECONSTRUCTION_NETWORKS
from pipeline.reconstruction.kspace import Kspace
from pipeline.reconstruction.learned_slabs import EchoData, LearnedSettings, reconstructed_in_slabs
from pipeline.reconstruction.reconstruction import Reconstruction

NAME = "reconnet3d"
_PLANE = (-3, -2)


def reconnet3d(
    kspace: Kspace,
    sensitivities: Tensor,
    settings: LearnedSettings | None = None,
    on_iteration: OnIteration | None = None,
    network: torch.nn.Module | None = None,
) -> Tensor:
    """Return the coil images of the trained cascade, combined with the sensitivities.

    Parameters
    ----------
    kspace
        The scan; images scale with it.
    sensitivities
        Complex `(coil, z, y, x)`; the network does not see them.
    settings
        Slabs and precision.
    on_iteration
        Told the fraction done.
    network
        In place of the stored one.

    Returns
    -------
    Complex images `(echo, z, y, x)`.

    Raises
    ------
    UnusableInput
        The sensitivities do not fit.
    WeightsUnknown, WeightsMissing, WeightsAltered
        The network is not trained, or its weights are not those that are listed.

    Source: Zhou 2025, Front Neurosci 19:1522227, section 2.2.
    """
    return reconstructed_in_slabs(
        NAME, _run_slab, kspace, sensitivities, settings or LearnedSettings(), on_iteration, network
    )


def _run_slab(network: torch.nn.Module, slab: EchoData) -> Tensor:
    samples = torch.fft.fft2(slab.coil_images, dim=_PLANE, norm="ortho")
    # Coil by coil: a batch of them would take as many times the memory.
    coil_images = torch.cat([network(coil[None], slab.mask[None]) for coil in samples])
    return (slab.sensitivities.conj() * coil_images).sum(0)


RECONNET3D = Reconstruction(
    name=NAME,
    citation=RECONSTRUCTION_NETWORKS[NAME].citation,
    run=reconnet3d,
    settings=LearnedSettings,
    learned=True,
)
