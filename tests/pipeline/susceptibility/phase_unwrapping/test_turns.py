"""Whole turns and the region in which they are added."""

import math

import torch

from pipeline.susceptibility.phase_unwrapping.turns import add_whole_turns, bounding_box, wrap


def test_wrapping_keeps_the_angle_and_brings_it_between_minus_pi_and_pi() -> None:
    phase = torch.linspace(-20, 20, 1001)
    wrapped = wrap(phase)
    assert wrapped.min() >= -math.pi - 1e-5
    assert wrapped.max() <= math.pi + 1e-5
    torch.testing.assert_close(torch.cos(wrapped), torch.cos(phase), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.sin(wrapped), torch.sin(phase), atol=1e-5, rtol=0)


def test_the_guide_decides_the_turns_and_nothing_else() -> None:
    truth = torch.linspace(-30, 30, 500)
    guide = truth + 2.9 * torch.sin(torch.arange(500.0))
    torch.testing.assert_close(add_whole_turns(wrap(truth), guide), truth, atol=1e-4, rtol=0)


def test_the_bounding_box_holds_the_mask_and_no_more() -> None:
    mask = torch.zeros(9, 8, 7, dtype=torch.bool)
    mask[2, 3, 4] = mask[5, 3, 6] = mask[4, 7, 5] = True
    assert bounding_box(mask) == (slice(2, 6), slice(3, 8), slice(4, 7))
