"""The reconstructions by name. Adding one is one file and one line here."""

from pipeline.errors import UnknownMethod
from pipeline.method import nearest
from pipeline.reconstruction.compressed_sensing import JOINT_L1_WAVELET, L1_WAVELET, TOTAL_VARIATION
from pipeline.reconstruction.reconstruction import Reconstruction
from pipeline.reconstruction.sense import CG_SENSE
from pipeline.reconstruction.zero_filled import ZERO_FILLED

RECONSTRUCTIONS: dict[str, Reconstruction] = {
    reconstruction.name: reconstruction
    for reconstruction in (
        CG_SENSE,
        L1_WAVELET,
        TOTAL_VARIATION,
        JOINT_L1_WAVELET,
        ZERO_FILLED,
    )
}

DEFAULT_RECONSTRUCTION = "cg_sense"


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
