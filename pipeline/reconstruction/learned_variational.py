"""Reconstruction by the variational network: wavelet-sparse images, mended by a learned regulariser and the data."""

import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.method import OnIteration
from pipeline.networks.reconstruction_table import RECONSTRUCTION_NETWORKS
from pipeline.networks.variational_network import nearest_to_data
from pipeline.reconstruction.compressed_sensing import WaveletSettings, l1_wavelet
from pipeline.reconstruction.kspace import Kspace
from pipeline.reconstruction.learned_slabs import EchoData, LearnedSettings, reconstructed_in_slabs, unit_sensitivities
from pipeline.reconstruction.reconstruction import Reconstruction

NAME = "variational_network"
_START_SHARE = 0.5
_LAST_WEIGHT, _LAST_STEPS = 0.05, 8
"""Of the distance to the network's images while the data have the last word."""
_TINY = 1e-20


def variational_network(
    kspace: Kspace,
    sensitivities: Tensor,
    settings: LearnedSettings | None = None,
    on_iteration: OnIteration | None = None,
    network: torch.nn.Module | None = None,
) -> Tensor:
    """Return what the trained variational network makes of each echo, with sensitivities that all echoes share.

    It begins with the images of `l1_wavelet` at its default settings, and ends with steps of conjugate gradients that
    bring its images nearer to the samples: what the network smoothed away of small nuclei, though it was measured,
    comes back.

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
    settings = settings or LearnedSettings()
    if tuple(sensitivities.shape) != tuple(kspace.samples.shape[1:]):
        raise UnusableInput(f"Sensitivities of shape {tuple(sensitivities.shape)} do not fit {kspace.samples.shape}.")
    unit, power = unit_sensitivities(sensitivities)
    starts = l1_wavelet(kspace, unit, WaveletSettings(), _part(on_iteration, 0.0, _START_SHARE))
    starts = torch.where(power > 0, starts / power.clamp_min(_TINY), 0)
    told = _part(on_iteration, _START_SHARE, 1.0)
    return reconstructed_in_slabs(NAME, _run_slab, kspace, sensitivities, settings, told, network, starts)


def _run_slab(network: torch.nn.Module, slab: EchoData) -> Tensor:
    adjoint = (slab.sensitivities.conj() * slab.coil_images).sum(0)
    start = None if slab.start is None else slab.start[None]
    measured = adjoint[None], slab.mask[None], slab.sensitivities[None]
    image: Tensor = network(*measured, start)
    return nearest_to_data(image, *measured, adjoint.real.new_tensor(_LAST_WEIGHT), _LAST_STEPS)[0]


def _part(told: OnIteration | None, first: float, last: float) -> OnIteration | None:
    return None if told is None else lambda fraction: told(first + (last - first) * fraction)


VARIATIONAL_NETWORK = Reconstruction(
    name=NAME,
    citation=RECONSTRUCTION_NETWORKS[NAME].citation,
    run=variational_network,
    settings=LearnedSettings,
    learned=True,
)
