"""Fewer virtual coils that hold nearly all of the signal, for arrays of many coils."""

import torch

from pipeline.reconstruction.kspace import Kspace
from pipeline.reconstruction.noise_whitening import mix_coils


def compress_coils(kspace: Kspace, most: int) -> tuple[Kspace, float]:
    """Keep the strongest combinations of the coils of a whitened scan; their noise stays white.

    Parameters
    ----------
    kspace
        A whitened scan.
    most
        How many virtual coils are kept.

    Returns
    -------
    The scan with that many coils at most, and the share of the signal's energy that it holds.

    Source: Buehrer 2007, doi:10.1002/mrm.21237; Huang 2008, doi:10.1016/j.mri.2007.04.010.
    """
    if kspace.n_coils <= most:
        return kspace, 1.0
    reference = kspace.calibration if kspace.calibration is not None else kspace.samples[0]
    flat = reference.flatten(1)
    energies, vectors = torch.linalg.eigh(flat @ flat.mH)
    share = float(energies[-most:].sum() / energies.sum())
    return mix_coils(kspace, vectors[:, -most:].flip(1).mH.contiguous()), share
