"""bfloat16 is taken where it is right, and refused where its gradients would be wrong."""

import pytest
import torch

from pipeline.errors import InvalidRecipe
from pipeline.networks.table import NETWORKS
from pipeline.training.precision import Extent, autocast_for, chosen_precision, in_fast_layout

CPU = torch.device("cpu")


@pytest.mark.parametrize(("name", "patch", "coarsest", "kernel"), [("lodestone_net", 24, 3, 3), ("kqsm", 64, 64, 3)])
def test_the_extent_of_a_network_is_read_off_its_kernels(name: str, patch: int, coarsest: int, kernel: int) -> None:
    multiple = getattr(NETWORKS[name].preparation, "multiple", 1)
    assert Extent.of(NETWORKS[name].make(), patch, multiple) == Extent(coarsest, kernel)


def test_kernels_wider_than_a_volume_are_trained_in_single_precision() -> None:
    for extent in (Extent(2, 3), Extent(4, 5)):
        assert chosen_precision("auto", CPU, extent) == torch.float32
        with pytest.raises(InvalidRecipe, match="larger --patch"):
            chosen_precision("bfloat16", CPU, extent)
        assert chosen_precision("bfloat16", torch.device("cuda"), extent) == torch.bfloat16
    assert chosen_precision("bfloat16", CPU, Extent(3, 3)) == torch.bfloat16


def test_bfloat16_gradients_of_the_smallest_allowed_volumes_are_right() -> None:
    generator = torch.Generator().manual_seed(8)
    for size in (3, 5):
        volume, onward = (torch.randn(1, 16, size, size, size, generator=generator).bfloat16() for _ in range(2))
        found, exact = (
            torch.nn.grad.conv3d_weight(volume.to(kind), (16, 16, size, size, size), onward.to(kind), padding=size // 2)
            for kind in (torch.bfloat16, torch.float32)
        )
        assert float((found.float() - exact).norm() / exact.norm()) < 0.02


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(InvalidRecipe, match="float16"):
        chosen_precision("float16", CPU, Extent(8, 3))


def test_convolutions_run_in_the_chosen_precision() -> None:
    convolution, volume = torch.nn.Conv3d(1, 2, 3), torch.ones(1, 1, 6, 6, 6)
    for precision in (torch.float32, torch.bfloat16):
        with autocast_for(CPU, precision):
            assert convolution(volume).dtype == precision


def test_the_fast_layout_changes_no_value() -> None:
    volume = torch.randn(2, 4, 5, 6, 7)
    laid = in_fast_layout(volume)
    assert torch.equal(laid, volume)
    assert laid.stride()[1] == 1
