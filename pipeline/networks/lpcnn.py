"""LPCNN: three steps of proximal gradient descent, whose proximal step is a learned denoiser."""

import torch
from torch import Tensor, nn

from pipeline.networks.blocks import ProximalNetwork
from pipeline.networks.inputs import Scaling, convolved

STEPS = 3
_FIRST_STEP_LENGTH = 4.0


class Lpcnn(nn.Module):
    """x ← P(x − α D(Dx − y)) from x = 0, with one learned step length α and one denoiser P for all steps.

    P has 32 channels, eight wide residual blocks, and no bias; it works on maps scaled by the mean and deviation of
    the training truth. Nothing is cut between the two convolutions by D.

    Source: Lai 2020, doi:10.1007/978-3-030-59713-9_13.
    """

    def __init__(self, scaling: Scaling) -> None:
        super().__init__()
        self.mean, self.deviation = scaling.susceptibility_mean, scaling.susceptibility_deviation
        self.step_length = nn.Parameter(torch.tensor([_FIRST_STEP_LENGTH]))
        self.proximal = ProximalNetwork(1, final_bias=False)

    def forward(self, field: Tensor, kernels: Tensor, masks: Tensor) -> Tensor:
        """Return scaled maps `(batch, 1, z, y, x)`.

        Parameters
        ----------
        field
            Shape `(batch, 1, z, y, x)` [ppm], zero outside the mask.
        kernels
            For each field its dipole kernel on the half spectrum of twice its size.
        masks
            Shape `(batch, 1, z, y, x)`, one inside.
        """
        back_projected = self.step_length * convolved(field, kernels)
        current, scaled = back_projected, back_projected
        for number in range(STEPS):
            scaled = self.proximal((current - self.mean) / self.deviation * masks)
            if number + 1 < STEPS:
                estimate = (scaled.to(kernels.dtype) * self.deviation + self.mean) * masks
                current = estimate + back_projected - self.step_length * convolved(estimate, kernels.square())
        return scaled
