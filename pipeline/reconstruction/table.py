"""The reconstructions by name. Adding one is one file and one line here."""

from pipeline.errors import UnknownMethod
from pipeline.method import nearest
from pipeline.reconstruction.reconstruction import Reconstruction
from pipeline.reconstruction.zero_filled import ZERO_FILLED

RECONSTRUCTIONS: dict[str, Reconstruction] = {reconstruction.name: reconstruction for reconstruction in (ZERO_FILLED,)}

DEFAULT_RECONSTRUCTION = "zero_filled"


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
