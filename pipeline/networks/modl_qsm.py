"""MoDL-QSM: unrolled steps on two maps, the susceptibility along B0 and the field of the other tensor terms."""

import torch
from torch import Tensor, nn

from pipeline.networks.blocks import ProximalNetwork
from pipeline.networks.inputs import Scaling, convolved

STEPS = 3
_FIRST_STEP_LENGTH = 4.0


class ModlQsm(nn.Module):
    """x ← P(x − t Aᴴ(Ax − y)) for x = (χ₃₃, field of χ₁₃ and χ₂₃), with A x = D χ₃₃ + the second map.

    P is the denoiser of LPCNN with two channels; its last convolution has a bias. Truth without anisotropy has no
    second map, which is then learned as zero.

    Source: Feng 2021, doi:10.1016/j.neuroimage.2021.118376.
    """

    def __init__(self, scaling: Scaling) -> None:
        super().__init__()
        self.means = (scaling.susceptibility_mean, scaling.field_mean)
        self.deviations = (scaling.susceptibility_deviation, scaling.field_deviation)
        self.step_length = nn.Parameter(torch.tensor([_FIRST_STEP_LENGTH]))
        self.proximal = ProximalNetwork(2, final_bias=True)

    def forward(self, field: Tensor, kernels: Tensor, masks: Tensor) -> Tensor:
        """Return scaled maps `(batch, 2, z, y, x)`: the susceptibility and the field of the other tensor terms.

        Parameters
        ----------
        field
            Shape `(batch, 1, z, y, x)` [ppm], zero outside the mask.
        kernels
            For each field its dipole kernel on the half spectrum of twice its size.
        masks
            Shape `(batch, 1, z, y, x)`, one inside.
        """
        means, deviations = (kernels.new_tensor(pair).reshape(1, 2, 1, 1, 1) for pair in (self.means, self.deviations))
        back_projected = self.step_length * _adjoint(field, kernels)
        current, scaled = back_projected, back_projected
        for number in range(STEPS):
            scaled = self.proximal((current - means) / deviations * masks) * masks
            if number + 1 < STEPS:
                estimate = scaled.to(kernels.dtype) * deviations + means
                explained = convolved(estimate[:, :1], kernels) + estimate[:, 1:]
                current = estimate + back_projected - self.step_length * _adjoint(explained, kernels)
        return scaled


def _adjoint(residual: Tensor, kernels: Tensor) -> Tensor:
    return torch.cat((convolved(residual, kernels), residual.to(kernels.dtype)), dim=1)
