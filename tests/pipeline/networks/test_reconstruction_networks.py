"""Networks that reconstruct: their physics is the scanner's, and what they make scales with what was measured."""

import pytest
import torch
from torch import Tensor, nn

from pipeline.networks.blocks import count_parameters
from pipeline.networks.plane_unet import PlaneUNet
from pipeline.networks.reconnet3d import ReconNet3D
from pipeline.networks.reconstruction_table import RECONSTRUCTION_NETWORKS
from pipeline.networks.super_resolution import (
    SuperResolution,
    coarse_again,
    fine_shape,
    measured_band,
    with_measured_band,
    zero_filled_twice,
)
from pipeline.networks.table import NETWORKS
from pipeline.networks.variational_network import VariationalNetwork, nearest_to_data, normal_operator
from pipeline.operators.centred_fourier import to_image, to_kspace

SHAPE = (1, 10, 13, 5)


def awake(network: nn.Module) -> nn.Module:
    """Give every kernel values, so that nothing is blind to its input."""
    torch.manual_seed(5)
    with torch.no_grad():
        for values in network.parameters():
            if values.ndim > 1:
                values.copy_(1.4 * torch.randn(values.shape) / values[0].numel() ** 0.5)
    return network.eval()


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def coils() -> Tensor:
    raw = noise(1, 4, *SHAPE[1:], seed=2)
    return raw / raw.abs().square().sum(1, keepdim=True).sqrt()


def lines(share: float = 0.5) -> Tensor:
    return (torch.rand(SHAPE[:3], generator=torch.Generator().manual_seed(3)) < share).float()


@pytest.mark.parametrize("name", sorted(RECONSTRUCTION_NETWORKS))
def test_the_table_states_how_many_parameters_a_network_has(name: str) -> None:
    spec = RECONSTRUCTION_NETWORKS[name]
    assert count_parameters(spec.make()) == spec.n_parameters


def test_no_two_tables_share_a_name() -> None:
    assert not NETWORKS.keys() & RECONSTRUCTION_NETWORKS.keys()


def test_the_normal_operator_is_that_of_centred_transforms() -> None:
    image, mask, maps = noise(*SHAPE), lines(), coils()
    measured = to_kspace(maps * image[:, None], (-3, -2)) * torch.fft.fftshift(mask, dim=(-2, -1))[:, None, ..., None]
    expected = (maps.conj() * to_image(measured, (-3, -2))).sum(1)
    assert torch.allclose(normal_operator(image, mask, maps), expected, atol=1e-5)


def test_the_normal_operator_is_its_own_adjoint() -> None:
    first, second, mask, maps = noise(*SHAPE, seed=4), noise(*SHAPE, seed=5), lines(), coils()
    left = torch.vdot(second.flatten(), normal_operator(first, mask, maps).flatten())
    right = torch.vdot(normal_operator(second, mask, maps).flatten(), first.flatten())
    assert torch.allclose(left, right, atol=1e-4)


def test_conjugate_gradients_find_what_half_of_the_lines_tell() -> None:
    image, mask, maps = noise(*SHAPE), lines(0.7), coils()
    adjoint = normal_operator(image, mask, maps)
    found = nearest_to_data(torch.zeros_like(image), adjoint, mask, maps, torch.tensor(0.0), n_steps=60)
    assert (found - image).norm() < 1e-3 * image.norm()


def test_a_heavy_prior_is_kept_and_what_was_measured_corrects_a_light_one() -> None:
    image, mask, maps = noise(*SHAPE), lines(0.7), coils()
    adjoint, prior = normal_operator(image, mask, maps), noise(*SHAPE, seed=9)
    heavy, light = (nearest_to_data(prior, adjoint, mask, maps, torch.tensor(size), 30) for size in (1e4, 1e-3))
    assert (heavy - prior).norm() < 1e-3 * prior.norm()
    assert (light - image).norm() < 0.1 * (prior - image).norm()


def test_an_untrained_variational_network_keeps_what_was_measured_everywhere() -> None:
    image, maps = noise(*SHAPE), coils()
    mask = torch.ones(SHAPE[:3])
    found = VariationalNetwork()(normal_operator(image, mask, maps), mask, maps)
    assert torch.allclose(found, image, atol=1e-4)


@pytest.mark.parametrize("factor", [1e-4, 3e3])
def test_images_of_the_variational_network_scale_with_the_samples(factor: float) -> None:
    network, mask, maps = awake(VariationalNetwork()), lines(), coils()
    adjoint = normal_operator(noise(*SHAPE), mask, maps)
    with torch.no_grad():
        once, scaled = network(adjoint, mask, maps), network(factor * adjoint, mask, maps)
    assert (once - network.iterates(adjoint, mask, maps)[0]).norm() > 1e-3 * once.norm()
    assert torch.allclose(scaled / factor, once, atol=1e-4)


def test_a_shortened_variational_network_gives_the_first_iterates() -> None:
    network, mask, maps = awake(VariationalNetwork()), lines(), coils()
    adjoint = normal_operator(noise(*SHAPE), mask, maps)
    with torch.no_grad():
        whole, short = network.iterates(adjoint, mask, maps), network.iterates(adjoint, mask, maps, n_iterations=2)
    assert (len(whole), len(short)) == (7, 3)
    assert all(torch.equal(one, other) for one, other in zip(whole, short, strict=False))


def test_reconnet_trusts_measured_samples_as_far_as_it_learned_to() -> None:
    network, mask = awake(ReconNet3D(width=4)), lines()
    samples = noise(*SHAPE) * mask[..., None]
    with torch.no_grad():
        network.log_trust.fill_(30.0)
        found = torch.fft.fft2(network(samples, mask), dim=(-3, -2), norm="ortho")
    assert torch.allclose(found * mask[..., None], samples, atol=1e-4)
    assert (found * (1 - mask[..., None])).norm() > 1e-3 * samples.norm()


def test_images_of_reconnet_scale_with_the_samples() -> None:
    network, mask = awake(ReconNet3D(width=4)), lines()
    samples = noise(*SHAPE) * mask[..., None]
    with torch.no_grad():
        assert torch.allclose(network(500 * samples, mask) / 500, network(samples, mask), atol=1e-4)


@pytest.mark.parametrize("shape", [(6, 8, 10), (5, 7, 9), (1, 6, 5)])
def test_the_measured_band_comes_back_sample_by_sample(shape: tuple[int, int, int]) -> None:
    coarse = noise(*shape)
    fine = noise(*fine_shape(coarse), seed=8)
    put = with_measured_band(fine, coarse)
    kept, given = to_kspace(put), to_kspace(fine)
    place = measured_band(coarse)
    assert torch.allclose(kept[place] / 8**0.5, to_kspace(coarse), atol=1e-4)
    kept[place] = given[place] = 0
    assert torch.allclose(kept, given, atol=1e-4)


def test_zero_filling_keeps_values_where_coarse_voxels_are() -> None:
    coarse = noise(6, 8, 10)
    fine = zero_filled_twice(coarse)
    assert torch.allclose(coarse_again(fine), coarse, atol=1e-5)
    smooth = torch.full((6, 8, 10), 2.0 + 1j)
    assert torch.allclose(zero_filled_twice(smooth), torch.full((12, 16, 20), 2.0 + 1j), atol=1e-5)
    point = zero_filled_twice(coarse)[::2, ::2, ::2]
    assert torch.allclose(point, coarse, atol=1e-4)


def test_detail_of_super_resolution_scales_with_the_images() -> None:
    network, image = awake(SuperResolution()), noise(1, 9, 12, 10)
    with torch.no_grad():
        assert torch.allclose(network(40 * image) / 40, network(image), atol=1e-4)
        assert (network(image) - image).norm() > 1e-3 * image.norm()


def test_a_u_net_takes_sizes_that_its_pooling_does_not_divide() -> None:
    network = awake(PlaneUNet(2, 3, (4, 4, 4)))
    assert network(torch.randn(1, 2, 7, 10, 3)).shape == (1, 3, 7, 10, 3)
