"""What the papers say of single architectures: octaves, unrolled steps, residuals, first values."""

import pytest
import torch
from torch import nn

from pipeline.networks.blocks import ProximalNetwork, count_parameters
from pipeline.networks.deepqsm import DeepQsm
from pipeline.networks.inputs import Scaling, UnrolledPreparation, convolved
from pipeline.networks.lpcnn import Lpcnn
from pipeline.networks.modl_qsm import ModlQsm
from pipeline.networks.qsmnet import qsmnet
from pipeline.networks.unet import unet_of_df_qsm
from pipeline.networks.xqsm import FirstOctave, LastOctave, OctaveConvolution, OctaveGrowth, XQsm
from tests.pipeline.networks.small_volume import small_scan


def test_xqsm_has_thirteen_octave_convolutions_and_two_octave_growths() -> None:
    parts = list(XQsm(8).modules())
    assert sum(isinstance(part, OctaveConvolution | FirstOctave | LastOctave) for part in parts) == 13
    assert sum(isinstance(part, OctaveGrowth) for part in parts) == 2


def test_octaves_keep_half_of_the_channels_at_half_of_the_resolution() -> None:
    fine, coarse = FirstOctave(8)(torch.randn(1, 1, 8, 16, 24))
    assert fine.shape == (1, 4, 8, 16, 24)
    assert coarse.shape == (1, 4, 4, 8, 12)
    fine, coarse = OctaveConvolution(8, 12)(fine, coarse)
    assert fine.shape == (1, 6, 8, 16, 24)
    assert coarse.shape == (1, 6, 4, 8, 12)
    fine, coarse = OctaveGrowth(12)(fine, coarse)
    assert fine.shape == (1, 6, 16, 32, 48)
    assert coarse.shape == (1, 6, 8, 16, 24)


def test_each_octave_hears_both_resolutions() -> None:
    torch.manual_seed(0)
    octave = OctaveConvolution(4, 4).eval()
    fine, coarse = torch.randn(1, 2, 8, 8, 8), torch.randn(1, 2, 4, 4, 4)
    with torch.no_grad():
        before = octave(fine, coarse)
        other_fine = octave(fine + 1, coarse)
        other_coarse = octave(fine, coarse + 1)
    for changed in (other_fine, other_coarse):
        assert not torch.equal(before[0], changed[0])
        assert not torch.equal(before[1], changed[1])


def test_xqsm_starts_with_kernels_of_one_hundredth_and_adds_the_field() -> None:
    torch.manual_seed(0)
    network = XQsm(8).eval()
    assert float(network.second.fine_to_fine.weight.detach().std()) == pytest.approx(0.01, rel=0.15)
    nn.init.zeros_(network.last.last.weight)
    field = torch.randn(1, 1, 8, 8, 16)
    with torch.no_grad():
        assert torch.equal(network(field), field)


def test_deepqsm_adds_the_field() -> None:
    network = DeepQsm().eval()
    network.body.last = nn.Conv3d(16, 1, 1)
    nn.init.zeros_(network.body.last.weight)
    nn.init.zeros_(network.body.last.bias)
    field = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        assert torch.equal(network(field), field)


def test_deepqsm_has_no_normalisation_and_the_unet_of_df_qsm_has_eighteen() -> None:
    with torch.device("meta"):
        assert not any(isinstance(part, nn.BatchNorm3d) for part in DeepQsm().modules())
        assert sum(isinstance(part, nn.BatchNorm3d) for part in unet_of_df_qsm().modules()) == 18


def test_every_convolution_of_qsmnet_but_the_last_has_five_voxels_an_edge() -> None:
    with torch.device("meta"):
        edges = [part.kernel_size for part in qsmnet(4).modules() if isinstance(part, nn.Conv3d)]
    assert edges == [(5, 5, 5)] * 10 + [(5, 5, 5)] * 8 + [(1, 1, 1)]


def test_the_denoiser_of_lpcnn_has_no_bias_and_that_of_modl_one_pair() -> None:
    with torch.device("meta"):
        lpcnn, modl = Lpcnn(Scaling()), ModlQsm(Scaling())
    convolutions = [part for part in lpcnn.modules() if isinstance(part, nn.Conv3d)]
    assert all(part.bias is None for part in convolutions)
    biases = [part.bias for part in modl.modules() if isinstance(part, nn.Conv3d) and part.bias is not None]
    assert [tuple(bias.shape) for bias in biases] == [(2,)]
    assert count_parameters(lpcnn) == count_parameters(lpcnn.proximal) + 1


def test_the_first_proximal_step_sees_four_times_the_back_projected_field() -> None:
    scan = small_scan()
    channels, context = UnrolledPreparation(Scaling()).prepare(scan, None)
    assert context.kernel is not None
    assert context.padded_mask is not None
    network = Lpcnn(Scaling(susceptibility_deviation=0.5))
    seen: list[torch.Tensor] = []
    network.proximal.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(channels[None], context.kernel[None], context.padded_mask[None])
    expected = 4 * convolved(channels[None], context.kernel[None]) * context.padded_mask / 0.5
    assert len(seen) == 3
    assert torch.allclose(seen[0], expected, atol=1e-6)


def test_a_denoiser_of_nothing_leaves_every_step_at_the_first() -> None:
    channels, context = UnrolledPreparation(Scaling()).prepare(small_scan(), None)
    assert context.kernel is not None
    assert context.padded_mask is not None
    network = Lpcnn(Scaling())
    seen: list[torch.Tensor] = []
    network.proximal = ProximalNetwork(1, final_bias=False)
    network.proximal.register_forward_hook(lambda _module, inputs, output: seen.append(inputs[0]) or 0 * output)
    with torch.no_grad():
        network(channels[None], context.kernel[None], context.padded_mask[None])
    assert torch.equal(seen[1], seen[0])
    assert torch.equal(seen[2], seen[0])


def test_modl_sees_the_field_in_its_second_map_and_its_back_projection_in_the_first() -> None:
    channels, context = UnrolledPreparation(Scaling()).prepare(small_scan(), None)
    assert context.kernel is not None
    assert context.padded_mask is not None
    network = ModlQsm(Scaling())
    seen: list[torch.Tensor] = []
    network.proximal.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        found = network(channels[None], context.kernel[None], context.padded_mask[None])
    assert found.shape[1] == 2
    assert torch.allclose(seen[0][:, 1:], 4 * channels[None] * context.padded_mask)
    back_projected = 4 * convolved(channels[None], context.kernel[None]) * context.padded_mask
    assert torch.allclose(seen[0][:, :1], back_projected, atol=1e-6)
