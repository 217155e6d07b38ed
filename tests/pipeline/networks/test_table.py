"""Every network of the table: its parameters are counted, and any scan goes through it."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.networks.blocks import count_parameters
from pipeline.networks.inputs import Scan
from pipeline.networks.table import NETWORKS
from tests.pipeline.networks.small_volume import SHAPE, box_mask, small_scan, small_starts, small_truth

# Three of the table share layers and preparation with another one, and differ by name or threshold alone.
TWINS = ("qsmnet_plus_narrow", "xqsm_cropped", "kqsm_02")
BUILDABLE = sorted(name for name in NETWORKS if NETWORKS[name].megabytes_stored < 16)
DISTINCT = [name for name in BUILDABLE if name not in TWINS]


def built(name: str) -> nn.Module:
    """Return a network of which no value is zero, so that nothing is blind to its input."""
    torch.manual_seed(3)
    network = NETWORKS[name].make()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.01)
    return network.eval()


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_the_table_states_how_many_parameters_a_network_has(name: str) -> None:
    is_large = name not in BUILDABLE
    with torch.device("meta" if is_large else "cpu"):
        assert count_parameters(NETWORKS[name].make()) == NETWORKS[name].n_parameters


@pytest.mark.parametrize(
    ("name", "millions"),
    [("qsmnet", 99.454), ("xqsm", 5.216), ("lpcnn", 0.446), ("kqsm", 0.503), ("unet_df", 5.648), ("kqsm_02", 0.503)],
)
def test_the_counts_are_those_of_the_papers_layers(name: str, millions: float) -> None:
    assert NETWORKS[name].n_parameters / 1e6 == pytest.approx(millions, abs=5e-4)


def test_qsmnet_without_its_normalisations_has_fewer_parameters_and_with_them_the_published_size() -> None:
    with torch.device("meta"):
        network = NETWORKS["qsmnet"].make()
    in_norms = sum(count_parameters(part) for part in network.modules() if isinstance(part, nn.BatchNorm3d))
    assert (NETWORKS["qsmnet"].n_parameters - in_norms) / 1e6 == pytest.approx(99.448, abs=5e-4)
    assert 379.38 <= NETWORKS["qsmnet"].n_parameters * 4 / 2**20 < 379.39


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_published_count_differs_by_rounding_or_the_table_says_why(name: str) -> None:
    spec = NETWORKS[name]
    if spec.published_millions is not None:
        is_rounding = abs(spec.n_parameters / 1e6 - spec.published_millions) < 0.01
        assert is_rounding or "but its own" in spec.count_source


def test_our_network_has_between_a_third_and_two_thirds_of_a_million_parameters() -> None:
    assert 300_000 <= NETWORKS["lodestone_net"].n_parameters <= 600_000


def test_only_the_narrowed_variants_of_qsmnet_fit_into_sixteen_megabytes() -> None:
    too_large = {name for name, spec in NETWORKS.items() if spec.megabytes_stored >= 16}
    assert too_large == {"qsmnet", "qsmnet_plus"}


@pytest.mark.parametrize("name", DISTINCT)
def test_any_scan_gives_a_finite_map_of_its_size_that_is_zero_outside_the_mask(name: str) -> None:
    scan = small_scan()
    with torch.no_grad():
        susceptibility = NETWORKS[name].invert(built(name), scan, small_starts())
    assert susceptibility.shape == SHAPE
    assert susceptibility.dtype == torch.float32
    assert bool(susceptibility.isfinite().all())
    assert not bool(susceptibility[~scan.mask].any())
    assert float(susceptibility[scan.mask].std()) > 0


@pytest.mark.parametrize("name", BUILDABLE)
def test_what_lies_outside_the_mask_does_not_matter_and_is_not_changed(name: str) -> None:
    scan, start = small_scan(), small_starts()
    polluted = replace(scan, local_field=torch.where(scan.mask, scan.local_field, 7.0))
    given = polluted.local_field.clone()
    clean, _ = NETWORKS[name].prepare(scan, start)
    other, context = NETWORKS[name].prepare(polluted, torch.where(scan.mask, start, 9.0))
    assert torch.equal(clean, other)
    assert torch.equal(given, polluted.local_field)
    output = torch.ones(2, *clean.shape[1:])
    assert not bool(NETWORKS[name].finish(output, context)[~scan.mask].any())


@pytest.mark.parametrize("name", DISTINCT)
def test_a_batch_gives_what_its_samples_give_alone(name: str) -> None:
    spec, network = NETWORKS[name], built(name)
    first = small_scan()
    second = replace(first, local_field=first.local_field.flip(0), grid=replace(first.grid, b0_direction=(0, 0, 1)))
    prepared = [spec.prepare(scan, small_starts()) for scan in (first, second)]
    contexts = [context for _, context in prepared]
    with torch.no_grad():
        outputs = spec.run(network, torch.stack([channels for channels, _ in prepared]), contexts)
        for scan, output, context in zip((first, second), outputs, contexts, strict=True):
            alone = spec.invert(network, scan, small_starts())
            assert torch.allclose(spec.finish(output, context), alone, atol=1e-6)


@pytest.mark.parametrize("name", DISTINCT)
def test_a_loss_in_ppm_reaches_every_parameter_through_finish(name: str) -> None:
    network, spec = built(name), NETWORKS[name]
    loss = (spec.invert(network, small_scan(), small_starts()) - small_truth()).abs().sum()
    loss.backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and bool(gradient.isfinite().all()) for gradient in gradients)
    assert any(bool(gradient.any()) for gradient in gradients if gradient is not None)


@pytest.mark.parametrize("name", ["lodestone_net", "unet_df", "lpcnn"])
def test_mixed_precision_gives_nearly_the_same_map_in_the_scans_precision(name: str) -> None:
    spec, network, scan = NETWORKS[name], built(name), small_scan()
    with torch.no_grad():
        single = spec.invert(network, scan, small_starts())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = spec.invert(network, scan, small_starts())
    assert mixed.dtype == torch.float32
    assert float((mixed - single).norm() / single.norm()) < 0.05


@pytest.mark.parametrize("name", ["lodestone_net", "unet_df", "modl_qsm"])
def test_a_scan_in_double_precision_gives_the_map_in_double_precision(name: str) -> None:
    spec, network = NETWORKS[name], built(name)
    with torch.no_grad():
        single = spec.invert(network, small_scan(), small_starts())
        double = spec.invert(network, small_scan(torch.float64), small_starts(torch.float64))
    assert double.dtype == torch.float64
    assert float((double - single).norm() / double.norm()) < 1e-3


@pytest.mark.parametrize("name", DISTINCT)
def test_shapes_that_disagree_and_empty_masks_are_refused(name: str) -> None:
    scan = small_scan()
    with pytest.raises(UnusableInput, match="must agree"):
        NETWORKS[name].prepare(replace(scan, mask=box_mask((6, 9, 7))), small_truth())
    with pytest.raises(UnusableInput, match="mask is empty"):
        NETWORKS[name].prepare(replace(scan, mask=torch.zeros_like(scan.mask)), small_truth())


def test_a_slab_of_four_slices_goes_through_every_pooling() -> None:
    grid = Grid((4, 9, 9), (3.0, 1.0, 1.0))
    field = torch.randn(grid.shape, generator=torch.Generator().manual_seed(1)) * 0.02
    scan = Scan(field, torch.ones(grid.shape, dtype=torch.bool), grid)
    for name in ("unet_df", "xqsm", "lodestone_net"):
        with torch.no_grad():
            assert NETWORKS[name].invert(built(name), scan, torch.stack((field, field))).shape == grid.shape
