"""bfloat16 is taken where it is right, and refused where its gradients would be wrong."""

import pytest
import torch

from pipeline.errors import InvalidRecipe
from pipeline.training.precision import autocast_for, chosen_precision, in_fast_layout

CPU = torch.device("cpu")


def test_a_network_that_shrinks_a_patch_to_two_voxels_trains_in_single_precision() -> None:
    assert chosen_precision("auto", CPU, 2) == torch.float32
    with pytest.raises(InvalidRecipe, match="larger --patch"):
        chosen_precision("bfloat16", CPU, 2)
    assert chosen_precision("bfloat16", CPU, 3) == torch.bfloat16


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(InvalidRecipe, match="float16"):
        chosen_precision("float16", CPU, 8)


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
