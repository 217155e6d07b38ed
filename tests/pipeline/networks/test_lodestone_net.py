"""Our network: homogeneous, without bias, blind to orientation except through physics."""

from dataclasses import replace
from itertools import permutations

import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.networks.inputs import Scan, Window
from pipeline.networks.lodestone_net import LodestoneNet, RefinementPreparation
from pipeline.networks.table import NETWORKS
from pipeline.operators.dipole import Dipole
from pipeline.operators.padding import fast_even_size
from tests.pipeline.networks.small_volume import GRID, SHAPE, small_scan, small_starts, small_truth

SPEC = NETWORKS["lodestone_net"]


def trained_net() -> LodestoneNet:
    """Return a network of which the last convolution is not zero, in double precision."""
    torch.manual_seed(7)
    network = LodestoneNet()
    nn.init.normal_(network.last.weight, std=0.1)
    return network.double().eval()


def turned(volume: Tensor, axes: tuple[int, ...]) -> Tensor:
    first = volume.ndim - 3
    return volume.permute(*range(first), *(first + axis for axis in axes)).contiguous()


@pytest.mark.parametrize("factor", [1e-3, 0.5, 40.0])
def test_the_network_is_positively_homogeneous(factor: float) -> None:
    network = trained_net()
    channels = torch.randn(1, 6, 8, 16, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(network(factor * channels), factor * network(channels), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("factor", [1e-3, 0.5, 40.0])
def test_a_scan_of_another_strength_gives_the_map_of_that_strength(factor: float) -> None:
    scan, start, network = small_scan(torch.float64), small_starts(torch.float64), trained_net()
    assert scan.field_noise is not None
    stronger = replace(scan, local_field=factor * scan.local_field, field_noise=factor * scan.field_noise)
    with torch.no_grad():
        once = SPEC.invert(network, scan, start)
        assert torch.allclose(SPEC.invert(network, stronger, factor * start), factor * once, rtol=1e-9)
    assert not torch.allclose(once, start[1])


def test_without_a_noise_map_the_homogeneity_stays() -> None:
    scan = replace(small_scan(torch.float64), field_noise=None)
    start, network = small_starts(torch.float64), trained_net()
    with torch.no_grad():
        once = SPEC.invert(network, scan, start)
        twice = SPEC.invert(network, replace(scan, local_field=2 * scan.local_field), 2 * start)
    assert torch.allclose(twice, 2 * once, rtol=1e-9)


def test_the_network_has_neither_biases_nor_normalisations() -> None:
    network = LodestoneNet()
    assert all(parameter.ndim == 5 for parameter in network.parameters())
    assert not list(network.buffers())


def test_an_untrained_network_leaves_the_start_map_as_it_is() -> None:
    with torch.no_grad():
        assert torch.equal(SPEC.invert(LodestoneNet(), small_scan(), small_starts()), small_starts()[1])


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_turning_the_axes_with_b0_turns_the_channels_and_the_map_stays_finite(axes: tuple[int, int, int]) -> None:
    scan, start = small_scan(torch.float64), small_starts(torch.float64)
    assert scan.field_noise is not None
    z, y, x = axes
    grid = Grid(
        (SHAPE[z], SHAPE[y], SHAPE[x]),
        tuple(GRID.voxel_size_mm[axis] for axis in axes),
        tuple(GRID.b0_direction[axis] for axis in axes),
    )
    moved = Scan(turned(scan.local_field, axes), turned(scan.mask, axes), grid, turned(scan.field_noise, axes))
    channels, context = SPEC.prepare(scan, start)
    found, found_context = SPEC.prepare(moved, turned(start, axes))
    expected = context.window.crop(channels).permute(0, *(axis + 1 for axis in axes))
    assert torch.allclose(found_context.window.crop(found), expected, atol=1e-9)
    with torch.no_grad():
        assert bool(SPEC.invert(trained_net(), moved, turned(start, axes)).isfinite().all())


def test_the_third_channel_is_the_gradient_of_the_weighted_data_term() -> None:
    scan, start = small_scan(torch.float64), small_starts(torch.float64)
    preparation = RefinementPreparation(multiple=8, margin=8)
    channels, context = preparation.prepare(scan, start)
    assert scan.field_noise is not None
    depth, height, width = (fast_even_size(size + 16) for size in SHAPE)
    frame = Window(SHAPE, (depth, height, width))
    kernel = Dipole.on(replace(GRID, shape=frame.padded_shape), start[1]).kernel
    inside = scan.field_noise[scan.mask]
    weights = (inside.median() / scan.field_noise.where(scan.mask, inside.new_ones(()))).square().clamp(max=4.0)
    susceptibility = start[1].clone().requires_grad_()
    spectrum = torch.fft.rfftn(frame.pad(susceptibility)) * kernel
    misfit = (frame.crop(torch.fft.irfftn(spectrum, s=frame.padded_shape)) - scan.local_field) * scan.mask
    (0.5 * weights * misfit.square()).sum().backward()
    assert susceptibility.grad is not None
    found = context.window.crop(channels[2]) * context.scale / 16
    assert torch.allclose(found[scan.mask], susceptibility.grad[scan.mask], rtol=1e-6, atol=1e-9)


def test_a_start_map_that_explains_the_field_has_no_gradient() -> None:
    start = small_truth(torch.float64)
    roomy = Grid(tuple(size + 40 for size in SHAPE), GRID.voxel_size_mm, GRID.b0_direction)
    truth = start.new_zeros(roomy.shape)
    inner = tuple(slice(20, 20 + size) for size in SHAPE)
    truth[inner] = start
    mask = truth != 0
    scan = Scan(Dipole.on(roomy, truth)(truth), mask, roomy)
    right, _ = SPEC.prepare(scan, torch.stack((truth, truth)))
    wrong, _ = SPEC.prepare(scan, torch.stack((truth, 0.5 * truth)))
    for channel in (2, 3):
        assert float(right[channel].std()) < 0.02 * float(wrong[channel].std())


def test_noisier_voxels_count_less_in_the_gradient_and_stand_in_the_last_channel() -> None:
    scan, start = small_scan(torch.float64), small_starts(torch.float64)
    assert scan.field_noise is not None
    channels, context = SPEC.prepare(scan, start)
    noise = context.window.crop(channels[5])
    assert torch.allclose(
        noise[scan.mask] / noise[scan.mask].max(), scan.field_noise[scan.mask] / scan.field_noise.max()
    )
    assert not bool(noise[~scan.mask].any())


@pytest.mark.parametrize("start", [None, torch.zeros(3, 3, 3), torch.zeros(SHAPE), torch.zeros(3, *SHAPE)])
def test_a_missing_or_misshapen_start_map_is_refused(start: Tensor | None) -> None:
    with pytest.raises(UnusableInput, match="invert the field by other methods first"):
        SPEC.prepare(small_scan(), start)


def test_a_start_map_of_zeros_gives_a_finite_map() -> None:
    with torch.no_grad():
        found = SPEC.invert(trained_net(), small_scan(), torch.zeros(2, *SHAPE))
    assert bool(found.isfinite().all())


def test_a_context_without_a_start_map_is_refused() -> None:
    channels, context = NETWORKS["unet_df"].prepare(small_scan())
    with pytest.raises(UnusableInput, match="another network"):
        SPEC.finish(channels, context)
