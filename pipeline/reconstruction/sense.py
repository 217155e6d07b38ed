"""Iterative SENSE: the images whose coil samples fit the measured ones best, by conjugate gradients."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.method import OnIteration, setting
from pipeline.operators.sense import SenseOperator, coils_by_readout, images_of_readouts
from pipeline.reconstruction.kspace import Kspace
from pipeline.reconstruction.reconstruction import Reconstruction
from pipeline.solvers.conjugate_gradient import conjugate_gradient


@dataclass(frozen=True)
class CgSenseSettings:
    """Choices of CG-SENSE."""

    iterations: int = setting(16, "1", "most steps of the conjugate gradients", minimum=1, maximum=1000)
    regularisation: float = setting(
        0.005, "1", "weight of the image's own energy; the data's weight is 1 at most", minimum=0.0, maximum=10.0
    )
    tolerance: float = setting(1e-4, "1", "residual, of its first norm, at which to stop", minimum=0.0, maximum=0.1)


def cg_sense(
    kspace: Kspace,
    sensitivities: Tensor,
    settings: CgSenseSettings | None = None,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Solve (AᴴA + λ) image = Aᴴ samples for each echo, for all readout positions at once.

    Parameters
    ----------
    kspace
        The scan, of any pattern of measured lines.
    sensitivities
        Complex `(coil, z, y, x)`; the image is 0 where all are.
    settings
        Weight and stopping rule.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Complex images `(echo, z, y, x)`.

    Raises
    ------
    NotConverged
        The samples hold extreme values.

    Source: Pruessmann 2001, doi:10.1002/mrm.1241.
    """
    settings = settings or CgSenseSettings()
    coils = coils_by_readout(sensitivities)
    images = []
    for number, samples in enumerate(kspace.samples):
        operator = SenseOperator(coils, kspace.measured[number])
        residual = torch.view_as_real(operator.adjoint(samples)).clone()

        def normal(image: Tensor, operator: SenseOperator = operator) -> Tensor:
            applied = torch.view_as_real(operator.normal(torch.view_as_complex(image)))
            return applied.add_(image, alpha=settings.regularisation)

        def tell(step: int, number: int = number) -> None:
            if on_iteration is not None:
                on_iteration((number + step / settings.iterations) / kspace.n_echoes)

        solution = conjugate_gradient(
            normal,
            residual,
            torch.zeros_like(residual),
            n_iterations=settings.iterations,
            tolerance=settings.tolerance * float(residual.norm()),
            on_iteration=tell,
            in_place=True,
        )
        images.append(images_of_readouts(torch.view_as_complex(solution)))
        tell(settings.iterations)
    return torch.stack(images)


CG_SENSE = Reconstruction(
    name="cg_sense",
    citation="Pruessmann 2001, doi:10.1002/mrm.1241",
    run=cg_sense,
    settings=CgSenseSettings,
)
