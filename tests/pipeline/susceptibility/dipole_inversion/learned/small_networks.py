"""Networks with random weights, and a small scan to apply them to."""

import functools

import torch
from torch import Tensor, nn

from pipeline.networks.inputs import Scan
from pipeline.networks.lodestone_net import LodestoneNet
from pipeline.networks.table import NETWORKS
from pipeline.networks.unet import UNet
from tests.pipeline.susceptibility.dipole_inversion.heads import SmallHead, small_head


@functools.cache
def head() -> SmallHead:
    return small_head((22, 24, 26), (1.5, 1.5, 1.5))


def small_scan(dtype: torch.dtype = torch.float32) -> Scan:
    artefacts = head().artefacts(dtype)
    return Scan(artefacts["local_field"], head().mask, head().grid, artefacts["field_noise"])


def start_maps(dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the two maps that our own network refines."""
    return torch.stack((0.9 * head().truth, 0.7 * head().truth)).to(dtype)


def random_network(name: str) -> nn.Module:
    """Return a network of the table, narrow and shallow where it can be, with random weights."""
    torch.manual_seed(7)
    narrow = {"unet_df": lambda: UNet((4, 8)), "lodestone_net": lambda: LodestoneNet((4, 8))}
    network = narrow.get(name, NETWORKS[name].make)()
    chance = torch.Generator().manual_seed(3)
    for parameter in network.parameters():
        if not parameter.any():
            with torch.no_grad():
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=chance))
    return network.eval().requires_grad_(False)
