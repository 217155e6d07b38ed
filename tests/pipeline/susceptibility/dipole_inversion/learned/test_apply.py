"""Tiles give what the whole volume gives; a GPU's precision, progress, and what cannot be cut."""

import math
import resource
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.errors import UnusableInput
from pipeline.networks.table import NETWORKS
from pipeline.networks.unet import UNet
from pipeline.susceptibility.dipole_inversion.learned import apply
from pipeline.susceptibility.dipole_inversion.learned.apply import ComputingSettings, apply_network, products_in
from pipeline.susceptibility.dipole_inversion.learned.tiles import (
    bytes_per_voxel,
    receptive_radius,
    tiles_of,
    tiles_that_fit,
)
from tests.pipeline.susceptibility.dipole_inversion.learned.small_networks import (
    head,
    random_network,
    small_scan,
    start_maps,
)

SEAM_PPM = 1e-4


@pytest.mark.parametrize("name", ["lodestone_net", "unet_df"])
def test_tiles_equal_the_whole(name: str) -> None:
    network = random_network(name)
    shape = (12, 8, 80)
    chance = torch.Generator().manual_seed(1)
    channels = torch.randn((6 if NETWORKS[name].needs_start else 1, *shape), generator=chance)
    tiles = tiles_of(shape, (4, 8, 28), receptive_radius(network, 2), 2)
    assert len(tiles) == 9
    assert max(tile.n_voxels for tile in tiles) < math.prod(shape)
    with torch.no_grad():
        whole = network(channels[None])[0]
        found = apply.computed_in_tiles(lambda part: network(part[None])[0], channels, tiles)
    torch.testing.assert_close(found, whole, atol=1e-5 * float(whole.abs().max()), rtol=0)


@pytest.mark.parametrize("name", ["lodestone_net", "unet_df"])
def test_a_map_made_in_tiles_has_no_seams(name: str) -> None:
    network = random_network(name)
    whole = apply_network(NETWORKS[name], network, small_scan(), start_maps())
    tiled = apply_network(NETWORKS[name], network, small_scan(), start_maps(), ComputingSettings(tile=16))
    assert float(whole.abs().max()) > 0.01
    assert float((tiled - whole).abs().max()) < 0.001 * SEAM_PPM


def test_too_small_an_overlap_leaves_seams() -> None:
    network, spec = random_network("lodestone_net"), NETWORKS["lodestone_net"]
    whole = apply_network(spec, network, small_scan(), start_maps())
    tiled = apply_network(spec, network, small_scan(), start_maps(), ComputingSettings(tile=16, overlap=1))
    assert float((tiled - whole).abs().max()) > 0.005 * SEAM_PPM


def test_short_memory_is_answered_by_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    network, spec = random_network("lodestone_net"), NETWORKS["lodestone_net"]
    plenty = apply_network(spec, network, small_scan(), start_maps())
    told: list[float] = []
    monkeypatch.setattr(apply, "free_bytes", lambda device: 16_000 * bytes_per_voxel(network, 8) / 0.7)
    few = ComputingSettings(overlap=8)
    made = apply_network(spec, network, small_scan(), start_maps(), few, told.append)
    assert len(told) > 3
    assert made.shape == plenty.shape


def test_a_process_that_may_take_little_counts_on_no_more_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(apply.resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    unlimited = apply.free_bytes(cpu)
    facts = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    held = 1024 * int(facts["VmData"].split()[0])
    monkeypatch.setattr(apply.resource, "getrlimit", lambda _: (held + 2**27, resource.RLIM_INFINITY))
    assert 0 < apply.free_bytes(cpu) < min(unlimited, 2**27 + 2**26)


@pytest.mark.parametrize(("kernel", "levels"), [(3, 1), (3, 2), (5, 2)])
def test_the_radius_is_that_of_the_layers(kernel: int, levels: int) -> None:
    network = UNet((2,) * (levels + 1), kernel).eval()
    multiple, half = 2**levels, kernel // 2
    # Two convolutions on every level down and up, two at the bottom; poolings widen by less than one multiple.
    least = sum(4 * half * 2**level for level in range(levels)) + 2 * half * multiple
    assert least <= receptive_radius(network, multiple) < least + multiple


def test_a_network_that_sees_nothing_but_its_voxel_has_no_radius() -> None:
    assert receptive_radius(nn.Conv3d(1, 1, 1), 4) == 0


def test_tiles_cover_every_voxel_once_and_read_no_farther_than_the_faces() -> None:
    count = torch.zeros(32, 48, 16)
    for tile in tiles_of((32, 48, 16), (16, 20, 16), 5, 8):
        count[tile.write] += 1
        assert [part.stop - part.start for part in tile.keep] == [part.stop - part.start for part in tile.write]
        for read, write, keep, size in zip(tile.read, tile.write, tile.keep, (32, 48, 16), strict=True):
            assert read.start % 8 == 0
            assert read.start + keep.start == write.start
            assert read.start == max(write.start - 8, 0)
            assert read.stop == min(write.stop + 8, size)
    assert bool((count == 1).all())
    with pytest.raises(UnusableInput, match="multiples of 8"):
        tiles_of((30, 48, 16), (16, 16, 16), 5, 8)


def test_the_tiles_that_fit_read_as_little_as_possible() -> None:
    assert len(tiles_that_fit((64, 64, 64), 8, 8, 64**3)) == 1
    halves = tiles_that_fit((64, 64, 64), 8, 8, 40 * 64 * 64)
    assert len(halves) == 2
    assert max(tile.n_voxels for tile in halves) == 40 * 64 * 64
    assert max(tile.n_voxels for tile in tiles_that_fit((64, 64, 64), 64, 8, 1.0)) == 64**3


@pytest.mark.parametrize("name", ["kqsm", "modl_qsm"])
def test_a_network_that_needs_the_whole_volume_is_not_cut(name: str) -> None:
    with pytest.raises(UnusableInput, match="whole volume"):
        apply_network(NETWORKS[name], random_network(name), small_scan(), None, ComputingSettings(tile=16))


def test_bfloat16_changes_the_map_by_little() -> None:
    network = random_network("unet_df")
    exact, rounded = (
        apply_network(NETWORKS["unet_df"], network, small_scan(), None, ComputingSettings(precision=precision))
        for precision in ("float32", "bfloat16")
    )
    assert rounded.dtype == torch.float32
    assert 0 < float((rounded - exact).norm()) < 0.03 * float(exact.norm())


def test_only_a_gpu_rounds_by_itself() -> None:
    assert not products_in("auto", torch.device("cpu"))._enabled
    with pytest.raises(UnusableInput, match="precision"):
        products_in("float16", torch.device("cpu"))


def test_progress_rises_to_the_end_and_a_job_can_be_cancelled_between_tiles() -> None:
    network, told = random_network("lodestone_net"), list[float]()
    settings = ComputingSettings(tile=16, overlap=8)
    apply_network(NETWORKS["lodestone_net"], network, small_scan(), start_maps(), settings, told.append)
    assert told == sorted(told)
    assert told[0] < 0.2
    assert told[-1] == 1.0
    assert len(told) == 10

    def cancel(fraction: float) -> None:
        if fraction > 0.2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apply_network(NETWORKS["lodestone_net"], network, small_scan(), start_maps(), settings, cancel)


def test_nothing_outside_the_mask() -> None:
    made = apply_network(NETWORKS["unet_df"], random_network("unet_df"), small_scan(torch.float64))
    assert made.dtype == torch.float64
    assert not made[~head().mask].any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: run the tests on a machine with a GPU")
@pytest.mark.parametrize("name", ["lodestone_net", "unet_df", "kqsm"])
def test_a_gpu_agrees_with_the_processor(name: str) -> None:
    network, scan = random_network(name), small_scan()
    plain = apply_network(NETWORKS[name], network, scan, start_maps())
    on_gpu = type(scan)(scan.local_field.cuda(), scan.mask.cuda(), scan.grid, None)
    other = apply_network(NETWORKS[name], network.cuda(), on_gpu, start_maps().cuda())
    assert other.is_cuda
    assert float((plain - other.cpu()).norm()) < 0.03 * float(plain.norm())
