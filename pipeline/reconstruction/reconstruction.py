"""What a reconstruction is: one way from k-space and coil sensitivities to complex echo images, and its settings.

Each file beside this one ends with one `Reconstruction` per way it knows, named in capitals (`CG_SENSE`);
`pipeline/reconstruction/table.py` lists them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import NotConverged, UnusableInput
from pipeline.method import OnIteration
from pipeline.reconstruction.kspace import Kspace

RunReconstruction = Callable[[Kspace, Tensor, Any, OnIteration | None], Tensor]
"""`run(kspace, sensitivities (coil, z, y, x), settings, on_iteration)` returns images complex64 `(echo, z, y, x)`."""


@dataclass(frozen=True)
class Reconstruction:
    """One way to reconstruct; `settings` is a frozen dataclass declared with `pipeline.method.setting`."""

    name: str
    citation: str
    run: RunReconstruction
    settings: type
    learned: bool = False

    def apply(
        self, kspace: Kspace, sensitivities: Tensor, settings: Any, on_iteration: OnIteration | None = None
    ) -> Tensor:
        """Check the sensitivities, reconstruct, and check the images.

        Raises
        ------
        UnusableInput
            The sensitivities do not fit the k-space.
        NotConverged
            The images hold values that are not finite.
        """
        expected = (kspace.n_coils, *kspace.grid.shape)
        if tuple(sensitivities.shape) != expected or not sensitivities.is_complex():
            raise UnusableInput(
                f"Sensitivities are complex {expected}; these are {sensitivities.dtype} {tuple(sensitivities.shape)}."
            )
        images = self.run(kspace, sensitivities, settings, on_iteration)
        if not all(bool(torch.isfinite(image.sum())) for image in images):
            raise NotConverged(f"Reconstruction '{self.name}' diverged: its images hold values that are not finite.")
        return images


def combine_coils(coil_images: Tensor, sensitivities: Tensor) -> Tensor:
    """Sum coil images with the conjugate sensitivities, divided by their power (the matched filter).

    Parameters
    ----------
    coil_images
        Complex `(..., coil, z, y, x)`.
    sensitivities
        Complex `(coil, z, y, x)`; where all are 0 the image is 0.

    Returns
    -------
    Complex `(..., z, y, x)`.

    Source: Roemer 1990, doi:10.1002/mrm.1910160203.
    """
    power = torch.linalg.vecdot(sensitivities, sensitivities, dim=0).real
    summed = torch.linalg.vecdot(sensitivities, coil_images, dim=-4)
    return torch.where(power > 0, summed / power.clamp_min(torch.finfo(power.dtype).tiny), 0)
