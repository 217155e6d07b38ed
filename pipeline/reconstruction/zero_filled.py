"""Fill what was not measured with zeros, transform, and combine the coils: the baseline of every comparison."""

import torch
from torch import Tensor

from pipeline.method import NoSettings, OnIteration
from pipeline.operators.centred_fourier import to_image
from pipeline.reconstruction.kspace import Kspace
from pipeline.reconstruction.reconstruction import Reconstruction, combine_coils


def zero_filled(
    kspace: Kspace,
    sensitivities: Tensor,
    settings: NoSettings | None = None,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Transform each echo's samples as they are and combine its coils.

    Parameters
    ----------
    kspace
        The scan; fully sampled k-space gives the best images there can be.
    sensitivities
        Complex `(coil, z, y, x)`.
    settings
        There are none.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Complex images `(echo, z, y, x)`.
    """
    images = []
    for number, echo in enumerate(kspace.samples):
        images.append(combine_coils(to_image(echo), sensitivities))
        if on_iteration is not None:
            on_iteration((number + 1) / kspace.n_echoes)
    return torch.stack(images)


ZERO_FILLED = Reconstruction(
    name="zero_filled",
    citation="Roemer 1990, doi:10.1002/mrm.1910160203 (combination)",
    run=zero_filled,
    settings=NoSettings,
)
