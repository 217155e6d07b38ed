"""A training of a reconstruction learns, goes on after a stop as if there had been none, and exports what it kept."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.errors import InvalidRecipe, UnknownMethod, UnusableInput
from pipeline.networks.cards import training_state
from pipeline.networks.weights import load_network
from pipeline.training import reconstruction_scores, reconstruction_trainer
from pipeline.training.checkpoints import load_checkpoint
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.kspace_slabs import parallel_imaging_example
from pipeline.training.reconstruction_export import START, export_reconstruction
from pipeline.training.reconstruction_losses import reconstruction_loss
from pipeline.training.reconstruction_plans import RECONSTRUCTION_PLANS, find_reconstruction_plan
from pipeline.training.reconstruction_trainer import train_reconstruction
from pipeline.training.trainer import Listener, TrainingSettings
from tests.pipeline.training.kspace_material import small_material

CPU = torch.device("cpu")
TINY = TrainingSettings(
    "variational_network", patch=6, steps=4, precision="float32", validate_every=2, n_validation=2, n_workers=0
)


@pytest.fixture(autouse=True)
def small_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let trainings take a head that is made in no time."""
    material = small_material()
    for module in (reconstruction_trainer, reconstruction_scores):
        monkeypatch.setattr(module, "head_material", lambda purpose, seed, index: material)


def test_a_stopped_and_resumed_training_ends_with_the_bits_of_one_that_was_not(tmp_path: Path) -> None:
    whole = train_reconstruction(TINY, tmp_path / "whole", CPU)
    taken: list[int] = []
    stops = Listener(on_step=lambda step, progress, loss: taken.append(step), should_stop=lambda: len(taken) == 2)
    stopped = train_reconstruction(TINY, tmp_path / "parts", CPU, listener=stops)
    assert (stopped.reason, stopped.checkpoint.step) == ("interrupted", 2)
    resumed = train_reconstruction(TINY, tmp_path / "parts", CPU, resumes=True)
    saved = load_checkpoint(tmp_path / "parts")
    assert saved is not None
    for end in (resumed.checkpoint, saved):
        assert all(torch.equal(whole.checkpoint.model[name], end.model[name]) for name in end.model)
        assert all(torch.equal(whole.checkpoint.average[name], end.average[name]) for name in end.average)


@pytest.mark.parametrize("network", sorted(RECONSTRUCTION_PLANS))
def test_every_network_lowers_its_loss_on_an_example_that_it_sees_again(
    network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = replace(RECONSTRUCTION_PLANS[network], rate=6e-3, schedule=lambda progress, step: 1.0, unrolled=((2.0, 1),))
    if network != "variational_network":
        plan = replace(plan, unrolled=())
    monkeypatch.setitem(RECONSTRUCTION_PLANS, network, plan)
    monkeypatch.setattr(
        reconstruction_trainer, "Chance", lambda key, device: Chance("one" if "slab" in key else key, device)
    )
    losses: list[float] = []
    settings = replace(TINY, network=network, steps=14, patch=8)
    listener = Listener(on_step=lambda step, progress, loss: losses.append(loss))
    train_reconstruction(settings, tmp_path, CPU, listener=listener)
    assert losses[-1] < 0.99 * losses[0]


def test_the_loss_of_a_start_is_the_same_for_easy_and_hard_examples_and_none_for_the_truth() -> None:
    example = parallel_imaging_example(small_material(), Chance("loss", CPU), 6)
    error = torch.randn(example.truth.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    small, large = (example.truth + size * error for size in (1e-2, 1.0))
    first, second = (float(reconstruction_loss([start, start], example)) for start in (small, large))
    assert first == pytest.approx(second, rel=1e-2)
    assert float(reconstruction_loss([small, example.truth], example)) < 0.01 * first


def test_an_error_across_the_truth_costs_more_than_one_along_it() -> None:
    example = parallel_imaging_example(small_material(), Chance("across", CPU), 6)
    start = example.truth * 1.2 + 0.1
    along, across = example.truth * 1.1, example.truth * (1 + 0.1j)
    assert reconstruction_loss([start, across], example) > 1.05 * reconstruction_loss([start, along], example)


def test_a_short_training_exports_weights_that_load_and_a_card_that_says_so(tmp_path: Path) -> None:
    outcome = train_reconstruction(TINY, tmp_path / "run", CPU, facts={"device": "here", "remark": "begun anew"})
    exported = export_reconstruction(outcome.checkpoint, 2, tmp_path / "weights")
    network = load_network("variational_network", folder=tmp_path / "weights")
    kept = outcome.checkpoint.average
    assert torch.allclose(network.state_dict()["gain"], kept["gain"])
    assert set(exported.scores) == {"variational_network", START}
    state = training_state("variational_network", tmp_path / "weights")
    assert (state.state, state.device) == ("undertrained", "here")
    text = exported.card.read_text(encoding="utf-8")
    assert "strong_background" in text
    assert "- remark: begun anew" in text


def test_another_training_in_the_folder_is_not_overwritten(tmp_path: Path) -> None:
    train_reconstruction(replace(TINY, steps=1), tmp_path, CPU)
    with pytest.raises(UnusableInput, match="--resume"):
        train_reconstruction(TINY, tmp_path, CPU)
    with pytest.raises(UnusableInput, match="seed 1, not 2"):
        train_reconstruction(replace(TINY, seed=2), tmp_path, CPU, resumes=True)


def test_unknown_networks_and_slabs_that_are_too_thin_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownMethod, match="variational_network"):
        find_reconstruction_plan("variational_networks")
    with pytest.raises(InvalidRecipe, match="too thin"):
        train_reconstruction(replace(TINY, patch=2), tmp_path, CPU)
