"""Draws are decided by their key alone and stay within their bounds."""

import pytest
import torch

from pipeline.training.datasets.chance import Chance, rotation_about

CPU = torch.device("cpu")


def test_a_key_decides_every_draw() -> None:
    first, second, other = Chance("a", CPU), Chance("a", CPU), Chance("b", CPU)
    assert [first.uniform(0, 1) for _ in range(5)] == [second.uniform(0, 1) for _ in range(5)]
    assert torch.equal(first.noise(4, 4), second.noise(4, 4))
    assert first.uniform(0, 1) != other.uniform(0, 1)


def test_a_volume_drawn_on_a_device_does_not_shift_the_tables() -> None:
    first, second = Chance("a", CPU), Chance("a", CPU)
    first.noise(60, 60, 60)
    assert torch.equal(first.noise(5), second.noise(5))


def test_log_uniform_draws_as_much_in_each_octave() -> None:
    chance = Chance("octaves", CPU)
    drawn = torch.tensor([chance.log_uniform(1.0, 4.0) for _ in range(2000)])
    assert float((drawn < 2.0).float().mean()) == pytest.approx(0.5, abs=0.05)
    assert bool(((drawn >= 1.0) & (drawn <= 4.0)).all())


def test_signed_draws_have_either_sign_and_the_median_size() -> None:
    chance = Chance("signs", CPU)
    drawn = torch.tensor([chance.signed(0.1, 0.5) for _ in range(2000)])
    assert float(drawn.abs().median()) == pytest.approx(0.1, rel=0.1)
    assert float((drawn > 0).float().mean()) == pytest.approx(0.5, abs=0.05)


def test_a_rotation_keeps_lengths_and_its_axis() -> None:
    axis = torch.tensor([0.6, 0.0, 0.8])
    turn = rotation_about(axis, 1.1)
    assert torch.allclose(turn @ turn.T, torch.eye(3), atol=1e-6)
    assert torch.allclose(turn @ axis, axis, atol=1e-6)
    assert float(torch.det(turn)) == pytest.approx(1.0, abs=1e-5)
