"""DeepQSM: a U-Net without normalisation that adds its output to the field, trained on geometric shapes alone."""

from torch import Tensor, nn

from pipeline.networks.blocks import PlainConvolution
from pipeline.networks.unet import UNet


class DeepQsm(nn.Module):
    """A fully convolutional network with a contracting and an expanding part, and the field added to its output.

    The widths are our choice, 16 to 256 channels with four poolings: they are those of the later U-Net of DF-QSM, so
    that both differ by normalisation, residual and training material only.

    Source: Bollmann 2019, doi:10.1016/j.neuroimage.2019.03.060.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = UNet((16, 32, 64, 128, 256), convolution=PlainConvolution)

    def forward(self, field: Tensor) -> Tensor:
        """Return a map `(batch, 1, z, y, x)` [ppm] from a field of the same shape [ppm]."""
        correction: Tensor = self.body(field)
        return field + correction
