"""The reconstructions by name. Adding one is one file and one line here."""

from pipeline.errors import UnknownMethod
from pipeline.method import nearest
from pipeline.reconstruction.compressed_sensing import JOINT_L1_WAVELET, L1_WAVELET, TOTAL_VARIATION
from pipeline.reconstruction.grappa import GRAPPA
from pipeline.reconstruction.learned_cascade import RECONNET3D
from pipeline.reconstruction.learned_variational import VARIATIONAL_NETWORK
from pipeline.reconstruction.reconstruction import Reconstruction
from pipeline.reconstruction.sense import CG_SENSE
from pipeline.reconstruction.zero_filled import ZERO_FILLED

RECONSTRUCTIONS: dict[str, Reconstruction] = {
    reconstruction.name: reconstruction
    for reconstruction in (
        CG_SENSE,
        GRAPPA,
        L1_WAVELET,
        TOTAL_VARIATION,
        JOINT_L1_WAVELET,
        VARIATIONAL_NETWORK,
        RECONNET3D,
        ZERO_FILLED,
    )
}

DEFAULT_RECONSTRUCTION = "l1_wavelet"
CONVENTIONAL_TWIN = "l1_wavelet"
"""What is kept beside a learned reconstruction, and used in its place where a gate closes."""


def find_reconstruction(name: str) -> Reconstruction:
    """Return the reconstruction of that name.

    Raises
    ------
    UnknownMethod
        There is none; the sentence names the nearest right one.
    """
    if name not in RECONSTRUCTIONS:
        raise UnknownMethod(f"There is no reconstruction '{name}'; {nearest(name, RECONSTRUCTIONS)}")
    return RECONSTRUCTIONS[name]
