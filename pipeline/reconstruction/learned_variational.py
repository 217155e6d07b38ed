"""Reconstruction by the variational network: gradient steps on all coils' data, with a learned regulariser between."""

import torch
from torch import Tensor

from pipeline.method import OnIteration
from pipeline.networks.reconstruction_table import RECONSTRUCTION_NETWORKS
from pipeline.reconstruction.kspace import Kspace
from pipeline.reconstruction.learned_slabs import EchoData, LearnedSettings, reconstructed_in_slabs
from pipeline.reconstruction.reconstruction import Reconstruction

NAME = "variational_network"


def variational_network(
    kspace: Kspace,
    sensitivities: Tensor,
    settings: LearnedSettings | None = None,
    on_iteration: OnIteration | None = None,
    network: torch.nn.Module | None = None,
) -> Tensor:
    """Return what the trained variational network makes of each echo, with sensitivities that all echoes share.

    Parameters
    ----------
    kspace
        The scan; images scale with it.
    sensitivities
        Complex `(coil, z, y, x)`.
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

    Source: Hammernik 2018, doi:10.1002/mrm.26977.
    """
    return reconstructed_in_slabs(
        NAME, _run_slab, kspace, sensitivities, settings or LearnedSettings(), on_iteration, network
    )


def _run_slab(network: torch.nn.Module, slab: EchoData) -> Tensor:
    adjoint = (slab.sensitivities.conj() * slab.coil_images).sum(0)
    image: Tensor = network(adjoint[None], slab.mask[None], slab.sensitivities[None])
    return image[0]


VARIATIONAL_NETWORK = Reconstruction(
    name=NAME,
    citation=RECONSTRUCTION_NETWORKS[NAME].citation,
    run=variational_network,
    settings=LearnedSettings,
    learned=True,
)
