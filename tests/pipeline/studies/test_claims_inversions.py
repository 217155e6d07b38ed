"""Our own network is judged as the product applies it, and what has no weights is left out and named."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.networks.lodestone_net import LodestoneNet
from pipeline.networks.weights import store_weights
from pipeline.studies.claims_inversions import (
    all_learned,
    artefacts_of,
    classical,
    classical_twin,
    delivered,
    held_out_samples,
    learned,
    notes_on_missing,
)
from pipeline.susceptibility.dipole_inversion.learned.starts import start_maps
from pipeline.training.datasets.sample import Sample
from pipeline.training.plans import ANY

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def drawn() -> Sample:
    return held_out_samples(replace(ANY, shape=(20, 20, 20)), 1)[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights = tmp_path_factory.mktemp("weights")
    torch.manual_seed(1)
    store_weights("lodestone_net", LodestoneNet().state_dict(), weights)
    return weights


def test_the_twin_and_an_untrained_network_of_ours_are_its_start_maps(folder: Path, drawn: Sample) -> None:
    starts = start_maps(drawn, drawn.magnitude)
    assert torch.allclose(classical_twin().run(drawn), starts[0], atol=1e-6)
    assert torch.allclose(learned("lodestone_net", folder).run(drawn), starts[1], atol=1e-6)


def test_our_network_is_delivered_without_gates_before_it_is_calibrated(folder: Path, drawn: Sample) -> None:
    (one,) = delivered(folder)
    assert one.name == "lodestone_net, delivered without gates"
    found = one.run(drawn)
    assert found.shape == drawn.susceptibility.shape
    assert bool(torch.isfinite(found).all())


def test_what_has_no_weights_is_left_out_and_named(tmp_path: Path) -> None:
    assert all_learned(("kqsm", "xqsm"), tmp_path) == []
    assert delivered(tmp_path) == []
    assert "kqsm, xqsm" in notes_on_missing(("kqsm", "xqsm"), tmp_path)[0]


def test_settings_of_a_classical_method_reach_it(drawn: Sample) -> None:
    rough, smooth = (classical("tkd", threshold=value).run(drawn) for value in (0.05, 0.3))
    assert float(rough.std()) > float(smooth.std())


def test_an_inversion_is_not_given_the_truth(drawn: Sample) -> None:
    assert set(artefacts_of(drawn)) == {"local_field", "mask", "field_noise", "magnitude"}
