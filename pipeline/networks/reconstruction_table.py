"""The table of networks that reconstruct images from k-space: what each is, and whose."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from pipeline.networks.reconnet3d import ReconNet3D
from pipeline.networks.super_resolution import SuperResolution
from pipeline.networks.variational_network import VariationalNetwork


@dataclass(frozen=True)
class ReconstructionSpec:
    """One network of the table.

    Attributes
    ----------
    name
        The word by which it is trained, evaluated and loaded.
    citation
        Whose it is.
    make
        Builds it untrained; its first values come from torch's global generator.
    n_parameters
        How many trainable values it has; a test counts them.
    ours
        What of it is our choice, in a phrase.
    """

    name: str
    citation: str
    make: Callable[[], nn.Module]
    n_parameters: int
    ours: str


RECONSTRUCTION_NETWORKS: dict[str, ReconstructionSpec] = {
    spec.name: spec
    for spec in (
        ReconstructionSpec(
            name="variational_network",
            citation="Hammernik 2018, doi:10.1002/mrm.26977; six iterations with a U-Net as in the 3D-EPI study",
            make=VariationalNetwork,
            n_parameters=202_476,
            ours="widths 16-32-64, one U-Net for all iterations, no bias, begins with wavelet-sparse images",
        ),
        ReconstructionSpec(
            name="reconnet3d",
            citation="Zhou 2025, Front Neurosci 19:1522227",
            make=ReconNet3D,
            n_parameters=432_005,
            ours="32 channels, residual blocks, no bias, learned trust in the samples",
        ),
        ReconstructionSpec(
            name="super_resolution",
            citation="this project; the ×2 network of the 3D-EPI study is not published",
            make=SuperResolution,
            n_parameters=321_408,
            ours="all of it",
        ),
    )
}
