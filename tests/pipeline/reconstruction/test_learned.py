"""Learned reconstructions see a scan slab by slab, scale with it, and give back what was measured."""

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.method import resolve_settings
from pipeline.networks.reconnet3d import ReconNet3D
from pipeline.networks.variational_network import VariationalNetwork
from pipeline.reconstruction.compressed_sensing import l1_wavelet
from pipeline.reconstruction.gates import residual_power
from pipeline.reconstruction.kspace import Kspace
from pipeline.reconstruction.learned_cascade import RECONNET3D, reconnet3d
from pipeline.reconstruction.learned_slabs import LearnedSettings, slabs
from pipeline.reconstruction.learned_variational import VARIATIONAL_NETWORK, variational_network
from tests.pipeline.reconstruction.learned_scan import awake, small_scan

METHODS = [
    pytest.param(variational_network, VariationalNetwork, id="variational_network"),
    pytest.param(reconnet3d, lambda: ReconNet3D(width=4), id="reconnet3d"),
]
WHOLE = LearnedSettings(thickness=20, precision="float32")


def whole_scan() -> tuple[Kspace, torch.Tensor, torch.Tensor]:
    kspace, maps, images = small_scan(noise=1e-8, acceleration=1.0)
    return kspace, maps, images


@pytest.mark.parametrize(("method", "make"), METHODS)
def test_an_untrained_network_keeps_images_of_which_everything_was_measured(method, make) -> None:
    kspace, maps, images = whole_scan()
    found = method(kspace, maps, WHOLE, network=make().eval())
    assert (found - images).norm() < 1e-3 * images.norm()


@pytest.mark.parametrize(("method", "make"), METHODS)
def test_images_scale_with_the_samples_and_not_with_the_sensitivities(method, make) -> None:
    kspace, maps, _ = small_scan()
    network = awake(make())
    once = method(kspace, maps, WHOLE, network=network)
    times = Kspace(1e4 * kspace.samples, kspace.measured, kspace.grid, kspace.echo_times_s, kspace.b0_tesla)
    scaled = method(times, maps, WHOLE, network=network)
    assert torch.allclose(scaled / 1e4, once, atol=1e-3)
    stronger = method(kspace, 3 * maps, WHOLE, network=network)
    assert torch.allclose(3 * stronger, once, atol=1e-3)


@pytest.mark.parametrize(("method", "make"), METHODS)
def test_slabs_with_all_that_a_network_sees_give_the_image_of_the_whole(method, make) -> None:
    kspace, maps, _ = small_scan()
    network = make()
    told: list[float] = []
    parts = LearnedSettings(thickness=8, margin=20, precision="float32")
    together = method(kspace, maps, WHOLE, network=awake(network))
    apart = method(kspace, maps, parts, told.append, awake(network))
    assert torch.allclose(together, apart, atol=1e-3)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)


def test_slabs_cover_every_plane_once() -> None:
    cuts = slabs(21, LearnedSettings(thickness=8, margin=3))
    kept = [plane for read, inner, place in cuts for plane in range(21)[read][inner]]
    assert kept == list(range(21))
    assert [place for _, _, place in cuts] == [slice(0, 8), slice(8, 16), slice(16, 21)]


def test_nothing_is_seen_where_no_coil_sees() -> None:
    kspace, maps, _ = small_scan()
    blind = maps.clone()
    blind[..., :6] = 0
    found = variational_network(kspace, blind, WHOLE, network=awake(VariationalNetwork()))
    assert bool((found[..., :6] == 0).all())
    assert bool((found[..., 6:].abs().sum() > 0).all())


def test_the_variational_network_begins_with_wavelet_sparse_images_and_leaves_the_last_word_to_the_samples() -> None:
    kspace, maps, _ = small_scan()
    found = variational_network(kspace, maps, WHOLE, network=VariationalNetwork(n_iterations=0))
    start = l1_wavelet(kspace, maps)
    assert float((found - start).norm() / start.norm()) < 0.3
    assert bool((residual_power(found, kspace, maps) < residual_power(start, kspace, maps)).all())


def test_sensitivities_of_another_scan_are_refused() -> None:
    kspace, maps, _ = small_scan()
    with pytest.raises(UnusableInput, match="do not fit"):
        variational_network(kspace, maps[:3], WHOLE, network=VariationalNetwork())


@pytest.mark.parametrize("row", [VARIATIONAL_NETWORK, RECONNET3D])
def test_recipes_may_set_slabs_and_precision(row) -> None:
    found = resolve_settings(row, {"thickness": 12, "precision": "float32"}, "recipe")
    assert (found.thickness, found.margin, found.precision) == (12, 6, "float32")
    assert row.learned
