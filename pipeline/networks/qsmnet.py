"""QSMnet and QSMnet+: a U-Net with 5³ kernels; the second differs from the first by what it is trained on."""

from pipeline.networks.unet import UNet

FULL_WIDTH = 32
NARROW_WIDTH = 8


def qsmnet(width: int = FULL_WIDTH) -> UNet:
    """Return QSMnet with `width` channels at full resolution, doubled at each of the four poolings.

    At the papers' width of 32 it has 99 million parameters, 190 MiB in half precision. The narrowed variant has a
    quarter of the channels everywhere and else the same layers.

    Source: Yoon 2018, doi:10.1016/j.neuroimage.2018.06.030; QSMnet+: Jung 2020, doi:10.1016/j.neuroimage.2020.116619.
    """
    return UNet(tuple(width * 2**level for level in range(5)), kernel_size=5)


def qsmnet_narrow() -> UNet:
    """Return QSMnet with a quarter of its channels, of which the weights fit into 16 MB."""
    return qsmnet(NARROW_WIDTH)
