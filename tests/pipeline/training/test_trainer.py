"""A training learns, ends when it should, and goes on after a stop as if there had been none."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.errors import InvalidRecipe, NotConverged, UnknownMethod, UnusableInput
from pipeline.networks.table import NETWORKS
from pipeline.networks.weights import load_network
from pipeline.training import held_out, trainer
from pipeline.training.checkpoints import load_checkpoint
from pipeline.training.datasets.recipe import DataRecipe
from pipeline.training.export import export
from pipeline.training.plans import PLANS, find_plan
from pipeline.training.trainer import Listener, TrainingSettings, train, weights_to_keep

CPU = torch.device("cpu")
TINY = TrainingSettings(
    "lodestone_net", batch=1, patch=16, steps=6, precision="float32", n_workers=0, validate_every=3, n_validation=1
)


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first | second)


@pytest.fixture
def dropping_network(monkeypatch: pytest.MonkeyPatch) -> str:
    """Put a small network into the table, with dropout and a normalisation, whose running mean must go on."""

    def make() -> nn.Module:
        return nn.Sequential(nn.Conv3d(1, 3, 3, padding=1), nn.BatchNorm3d(3), nn.Dropout3d(0.5), nn.Conv3d(3, 1, 1))

    monkeypatch.setitem(NETWORKS, "xqsm", replace(NETWORKS["xqsm"], make=make))
    return "xqsm"


def test_a_stopped_and_resumed_training_ends_with_the_bits_of_one_that_was_not(tmp_path: Path) -> None:
    refuse_other_bits(TINY, tmp_path)


def test_dropout_and_normalisations_go_on_after_a_stop(dropping_network: str, tmp_path: Path) -> None:
    refuse_other_bits(replace(TINY, network=dropping_network, steps=8), tmp_path)


def refuse_other_bits(settings: TrainingSettings, tmp_path: Path) -> None:
    whole = train(settings, tmp_path / "whole", CPU)
    taken: list[int] = []
    stops = Listener(on_step=lambda step, progress, loss: taken.append(step), should_stop=lambda: len(taken) == 2)
    stopped = train(settings, tmp_path / "parts", CPU, listener=stops)
    assert (stopped.reason, stopped.checkpoint.step) == ("interrupted", 2)
    resumed = train(settings, tmp_path / "parts", CPU, resumes=True)

    assert (whole.reason, resumed.reason) == ("steps", "steps")
    saved = load_checkpoint(tmp_path / "parts")
    assert saved is not None
    for end in (resumed.checkpoint, saved):
        assert equal(whole.checkpoint.model, end.model)
        assert equal(whole.checkpoint.average, end.average)
        assert equal(whole.checkpoint.best, end.best)
        for key in ("nrmse", "loss", "rate"):
            assert [row[key] for row in whole.checkpoint.history] == [row[key] for row in end.history]


def test_a_training_lowers_its_loss_on_a_sample_that_it_sees_again(tmp_path: Path, monkeypatch) -> None:
    shapes = DataRecipe(generators=(("shapes", 1.0),))
    one = replace(PLANS["lodestone_net"], window=1, reuse=1000, schedule=lambda progress, step: 1.0, recipe=shapes)
    monkeypatch.setitem(PLANS, "lodestone_net", one)
    losses: list[float] = []
    listener = Listener(on_step=lambda step, progress, loss: losses.append(loss))
    train(replace(TINY, steps=15, validate_every=100), tmp_path, CPU, listener=listener)
    assert sum(losses[-4:]) < 0.95 * sum(losses[:4])


def test_another_seed_gives_other_weights_and_the_global_generator_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(11)
    expected = torch.randn(3)
    torch.manual_seed(11)
    short = replace(TINY, steps=1)
    first = train(short, tmp_path / "1", CPU).checkpoint.model
    second = train(replace(short, seed=2), tmp_path / "2", CPU).checkpoint.model
    assert not equal(first, second)
    assert torch.equal(torch.randn(3), expected)


def test_a_training_that_gains_no_more_ends_early_and_keeps_its_best_weights(tmp_path: Path, monkeypatch) -> None:
    # Of network and start map in turn.
    errors = iter([40.0, 50.0, 30.0, 50.0, 35.0, 50.0, 36.0, 50.0])
    monkeypatch.setattr(trainer, "scores", lambda maps, examples: held_out.Scores((next(errors),), (1.0,)))
    outcome = train(replace(TINY, steps=50, validate_every=1, patience=2), tmp_path, CPU)
    assert (outcome.reason, outcome.checkpoint.step, outcome.checkpoint.best_step) == ("early stop", 4, 2)
    assert not equal(weights_to_keep(outcome.checkpoint), outcome.checkpoint.average)
    assert outcome.checkpoint.kept_step == 2


def test_a_training_that_came_to_its_end_keeps_its_last_weights(tmp_path: Path, monkeypatch) -> None:
    # Of network and start map in turn; the second validation is the worse.
    errors = iter([30.0, 50.0, 40.0, 50.0])
    monkeypatch.setattr(trainer, "scores", lambda maps, examples: held_out.Scores((next(errors),), (1.0,)))
    checkpoint = train(replace(TINY, steps=2, validate_every=1), tmp_path, CPU).checkpoint
    assert (checkpoint.best_step, checkpoint.kept_step) == (1, 2)
    assert equal(weights_to_keep(checkpoint), checkpoint.average)


def test_hours_end_a_training_and_count_all_its_runs(tmp_path: Path) -> None:
    timed = replace(TINY, steps=None, hours=1e-7)
    outcome = train(timed, tmp_path, CPU)
    assert (outcome.reason, outcome.checkpoint.step) == ("hours", 1)
    assert train(timed, tmp_path, CPU, resumes=True).checkpoint.step == 1


def test_checkpoints_are_written_while_training(tmp_path: Path) -> None:
    found: list[int] = []

    def look(step: int, progress: float, loss: float) -> None:
        checkpoint = load_checkpoint(tmp_path)
        assert checkpoint is not None
        found.append(checkpoint.step)

    train(replace(TINY, steps=3, save_every_s=0.0), tmp_path, CPU, listener=Listener(on_step=look))
    assert found == [0, 1, 2]


def test_a_loss_that_is_not_a_number_ends_with_a_sentence_and_the_last_good_state(tmp_path: Path, monkeypatch) -> None:
    train(replace(TINY, steps=2), tmp_path, CPU)
    monkeypatch.setitem(trainer.LOSSES, "ours", lambda maps, wanted: (maps * float("nan")).sum())
    with pytest.raises(NotConverged, match=r"not a number at step 3.*--resume"):
        train(replace(TINY, steps=4), tmp_path, CPU, resumes=True)
    kept = load_checkpoint(tmp_path)
    assert kept is not None
    assert kept.step == 2
    assert all(bool(value.isfinite().all()) for value in kept.model.values())


def test_a_training_is_never_overwritten_nor_continued_otherwise(tmp_path: Path) -> None:
    train(replace(TINY, steps=1), tmp_path, CPU)
    with pytest.raises(UnusableInput, match="Add --resume"):
        train(replace(TINY, steps=1), tmp_path, CPU)
    with pytest.raises(UnusableInput, match="begun with seed 1, not 2"):
        train(replace(TINY, seed=2), tmp_path, CPU, resumes=True)
    # Batch and patch that are not given are those it was begun with.
    assert train(replace(TINY, steps=2, batch=0, patch=0), tmp_path, CPU, resumes=True).checkpoint.step == 2


def test_a_patch_too_small_for_the_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRecipe, match="at least 32 voxels"):
        train(replace(TINY, network="unet_df"), tmp_path, CPU)


def test_every_network_has_a_plan_and_an_unknown_one_names_the_nearest() -> None:
    assert set(PLANS) == set(NETWORKS)
    with pytest.raises(UnknownMethod, match="did you mean 'lodestone_net'"):
        find_plan("lodestonenet")


def test_an_export_is_what_was_kept_and_its_card_says_how_little_it_was_trained(tmp_path: Path) -> None:
    checkpoint = train(TINY, tmp_path / "run", CPU, facts={"code_revision": "abc"}).checkpoint
    exported = export(checkpoint, DataRecipe(shape=(16, 16, 16)), 1, tmp_path)

    loaded = load_network("lodestone_net", folder=tmp_path).state_dict()
    for name, value in weights_to_keep(checkpoint).items():
        torch.testing.assert_close(loaded[name], value, atol=1e-3, rtol=1e-3)
    card = exported.card.read_text()
    seen = f"{checkpoint.kept_step} patches"
    for fact in ("**State: undertrained.**", seen, "abc", exported.weights.sha256, "float32", "composite", "| tkd |"):
        assert fact in card
    assert set(exported.scores) == {"lodestone_net", *held_out.CLASSICAL}


def test_nothing_is_exported_of_a_training_without_a_step(tmp_path: Path) -> None:
    checkpoint = train(replace(TINY, steps=0), tmp_path, CPU).checkpoint
    with pytest.raises(UnusableInput, match="nothing to export"):
        export(checkpoint, DataRecipe(shape=(16, 16, 16)), 1, tmp_path)
