"""A checkpoint comes back as it was, is whole or the former one, and refuses what it is not."""

from pathlib import Path

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.training.checkpoints import FILE, Checkpoint, load_checkpoint, refuse_another_training, save_checkpoint

IDENTITY = {"network": "lodestone_net", "seed": 1, "batch": 2, "patch": 16}


def checkpoint(step: int = 3) -> Checkpoint:
    weights = {"first.weight": torch.arange(6.0).reshape(2, 3)}
    rows = [{"step": 2.0, "nrmse": 41.5}]
    return Checkpoint(IDENTITY, step, 1.5, weights, {"state": {0: {"step": torch.tensor(3.0)}}}, weights, history=rows)


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    save_checkpoint(checkpoint(), tmp_path / "new")
    found = load_checkpoint(tmp_path / "new")
    assert found is not None
    assert (found.identity, found.step, found.seconds, found.history) == (
        IDENTITY,
        3,
        1.5,
        [{"step": 2.0, "nrmse": 41.5}],
    )
    assert torch.equal(found.model["first.weight"], checkpoint().model["first.weight"])


def test_a_folder_without_a_checkpoint_has_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None


def test_a_write_that_dies_leaves_the_former_checkpoint(tmp_path: Path, monkeypatch) -> None:
    save_checkpoint(checkpoint(3), tmp_path)

    def dies(content: object, file) -> None:
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", dies)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(checkpoint(4), tmp_path)
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found.step == 3


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_another_file_is_refused_with_a_sentence(content: bytes | None, tmp_path: Path) -> None:
    if content is None:
        torch.save({"format": 99}, tmp_path / FILE)
    else:
        (tmp_path / FILE).write_bytes(content)
    with pytest.raises(UnusableInput, match="--out DIR"):
        load_checkpoint(tmp_path)


def test_a_training_begun_otherwise_is_named(tmp_path: Path) -> None:
    refuse_another_training(checkpoint(), IDENTITY, tmp_path)
    with pytest.raises(UnusableInput, match="begun with patch 16, not 32"):
        refuse_another_training(checkpoint(), {**IDENTITY, "patch": 32}, tmp_path)
