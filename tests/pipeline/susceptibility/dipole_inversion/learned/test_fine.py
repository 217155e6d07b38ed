"""Training at one scan lowers the misfit, stops at the noise, and leaves the trained network alone."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline.errors import NotConverged
from pipeline.networks.table import NETWORKS
from pipeline.susceptibility.dipole_inversion.learned.apply import ComputingSettings, apply_network
from pipeline.susceptibility.dipole_inversion.learned.data_term import DataTerm
from pipeline.susceptibility.dipole_inversion.learned.fine import FineSettings, fine
from tests.pipeline.susceptibility.dipole_inversion.learned.small_networks import (
    head,
    random_network,
    small_scan,
    start_maps,
)

SHORT = FineSettings(iterations=3, rate=5e-3, margin=4)


def misfit(susceptibility: Tensor) -> float:
    scan = small_scan()
    term = DataTerm.of(scan.local_field, scan.mask, scan.grid, scan.field_noise)
    return term.ratio(term.residual(term.framed(susceptibility)))


@pytest.mark.parametrize(("name", "rate"), [("lodestone_net", 5e-3), ("unet_df", 5e-2)])
def test_it_lowers_the_misfit_and_leaves_the_weights_alone(name: str, rate: float) -> None:
    spec, network = NETWORKS[name], random_network(name)
    before = copy.deepcopy(network.state_dict())
    first = apply_network(spec, network, small_scan(), start_maps())
    tuned = fine(spec, network, small_scan(), replace(SHORT, rate=rate), start_maps())
    assert misfit(tuned) < 0.99 * misfit(first)
    assert not tuned.requires_grad
    assert not tuned[~head().mask].any()
    assert all(torch.equal(values, before[key]) for key, values in network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert torch.equal(apply_network(spec, network, small_scan(), start_maps()), first)


def test_tiles_train_as_the_whole_volume_does() -> None:
    spec, network = NETWORKS["lodestone_net"], random_network("lodestone_net")
    maps = [
        fine(spec, network, small_scan(), replace(SHORT, iterations=2), start_maps(), ComputingSettings(tile=tile))
        for tile in (0, 24)
    ]
    torch.testing.assert_close(maps[0], maps[1], atol=1e-5, rtol=0)


def test_the_same_call_gives_the_same_bits() -> None:
    spec, network = NETWORKS["lodestone_net"], random_network("lodestone_net")
    short = replace(SHORT, iterations=1)
    first, second = (fine(spec, network, small_scan(), short, start_maps()) for _ in range(2))
    assert torch.equal(first, second)


def test_a_map_at_the_noise_is_not_trained_on() -> None:
    spec, network = NETWORKS["lodestone_net"], random_network("lodestone_net")
    told: list[float] = []
    loose = replace(SHORT, noise_level=10.0)
    quiet = replace(small_scan(), field_noise=100 * small_scan().field_noise)
    made = fine(spec, network, quiet, loose, start_maps(), on_iteration=told.append)
    assert len(told) == 2
    torch.testing.assert_close(made, apply_network(spec, network, quiet, start_maps()))


def test_a_misfit_that_is_not_finite_is_refused() -> None:
    spec, network = NETWORKS["lodestone_net"], random_network("lodestone_net")
    with torch.no_grad():
        next(network.parameters()).fill_(torch.inf)
    with pytest.raises(NotConverged, match="lower rate"):
        fine(spec, network, small_scan(), SHORT, start_maps())


def test_progress_is_told_and_can_cancel() -> None:
    spec, network = NETWORKS["lodestone_net"], random_network("lodestone_net")
    told: list[float] = []
    fine(spec, network, small_scan(), replace(SHORT, iterations=5), start_maps(), on_iteration=told.append)
    assert told == sorted(told)
    assert told[0] < 0.2
    assert told[-1] == 1.0

    def cancel(fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fine(spec, network, small_scan(), SHORT, start_maps(), on_iteration=cancel)
