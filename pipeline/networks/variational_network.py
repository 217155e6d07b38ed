"""The variational network: six times a U-Net that takes artefacts away, and what the measured data say to that."""

import math

import torch
from torch import Tensor, nn

from pipeline.networks.plane_unet import PlaneUNet, as_channels, as_complex

N_ITERATIONS = 6
WIDTHS = (16, 32, 64)
_START_STEPS, _START_WEIGHT = 12, 0.005
_STEPS, _FIRST_WEIGHT = 4, 0.1
_PHASE_ENCODINGS = (-3, -2)
_TINY = 1e-30


class VariationalNetwork(nn.Module):
    """Alternates a U-Net, which all iterations share, with the data term, solved by conjugate gradients.

    Everything is linear or positively homogeneous: images scale with the data. It begins with images that another
    reconstruction made, or with conjugate gradients alone.

    Parameters
    ----------
    widths
        Channels of the U-Net's levels.
    n_iterations
        Six in the paper.

    Source: Hammernik 2018, doi:10.1002/mrm.26977; the data term's solution after Aggarwal 2019,
    doi:10.1109/TMI.2018.2865356; the six iterations and the U-Net after the 3D-EPI study of multiple sclerosis whose
    scanner's own network is not published.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS, n_iterations: int = N_ITERATIONS) -> None:
        super().__init__()
        self.regulariser = PlaneUNet(4, 2, widths)
        self.log_weight = nn.Parameter(torch.full((n_iterations,), math.log(_FIRST_WEIGHT)))
        self.gain = nn.Parameter(torch.ones(n_iterations))

    def forward(self, adjoint: Tensor, mask: Tensor, sensitivities: Tensor, start: Tensor | None = None) -> Tensor:
        """Return the images `(batch, z, y, x)`; see `iterates`."""
        return self.iterates(adjoint, mask, sensitivities, start)[-1]

    def iterates(
        self,
        adjoint: Tensor,
        mask: Tensor,
        sensitivities: Tensor,
        start: Tensor | None = None,
        n_iterations: int | None = None,
    ) -> list[Tensor]:
        """Return the images after the start and after every iteration.

        Parameters
        ----------
        adjoint
            The adjoint of the acquisition applied to the samples: complex `(batch, z, y, x)`.
        mask
            Measured (1) or not (0) `(batch, z, y)`, with k = 0 at index 0.
        sensitivities
            Complex `(batch, coil, z, y, x)`, their power 1 where there is signal.
        start
            Images to begin with `(batch, z, y, x)`; otherwise conjugate gradients make them.
        n_iterations
            How many to do; all of them otherwise.
        """
        image = self._from_nothing(adjoint, mask, sensitivities) if start is None else start
        found = [image]
        for weight, gain in zip(self.log_weight.exp()[:n_iterations], self.gain[:n_iterations], strict=True):
            gradient = normal_operator(image, mask, sensitivities) - adjoint
            artefacts = as_complex(self.regulariser(torch.cat((as_channels(image), as_channels(gradient)), dim=1)))
            image = nearest_to_data(image - gain * artefacts, adjoint, mask, sensitivities, weight, _STEPS)
            found.append(image)
        return found

    @staticmethod
    @torch.no_grad()
    def _from_nothing(adjoint: Tensor, mask: Tensor, sensitivities: Tensor) -> Tensor:
        weight = adjoint.real.new_tensor(_START_WEIGHT)
        return nearest_to_data(torch.zeros_like(adjoint), adjoint, mask, sensitivities, weight, _START_STEPS)


def normal_operator(images: Tensor, mask: Tensor, sensitivities: Tensor) -> Tensor:
    """Return images `(batch, z, y, x)` after acquisition by the coils and its adjoint.

    Shifts of k-space cancel between the two, so that none is needed where the mask has k = 0 at index 0.
    """
    spectra = torch.fft.fft2(sensitivities * images[:, None], dim=_PHASE_ENCODINGS) * mask[:, None, :, :, None]
    return (sensitivities.conj() * torch.fft.ifft2(spectra, dim=_PHASE_ENCODINGS)).sum(1)


def nearest_to_data(
    prior: Tensor, adjoint: Tensor, mask: Tensor, sensitivities: Tensor, weight: Tensor, n_steps: int
) -> Tensor:
    """Return a few steps of conjugate gradients on the data term plus a weight times the squared distance to a prior.

    Parameters
    ----------
    prior
        Images from which the steps begin: complex `(batch, z, y, x)`.
    adjoint, mask, sensitivities
        As for `VariationalNetwork.iterates`; each plane of the readout is a problem of its own.
    weight
        Of the distance, one number.
    n_steps
        Steps.
    """
    image = prior
    residual = direction = adjoint - normal_operator(prior, mask, sensitivities)
    power = _power(residual)
    for _ in range(n_steps):
        turned = normal_operator(direction, mask, sensitivities) + weight * direction
        length = power / (direction.conj() * turned).real.sum((-3, -2), keepdim=True).clamp_min(_TINY)
        image = image + length * direction
        residual = residual - length * turned
        former, power = power, _power(residual)
        direction = residual + power / former.clamp_min(_TINY) * direction
    return image


def _power(images: Tensor) -> Tensor:
    return (images.real.square() + images.imag.square()).sum((-3, -2), keepdim=True)
