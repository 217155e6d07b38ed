"""Sampling patterns: the asked lines, the asked number, and always the centre."""

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.simulation.sampling_patterns import partial_fourier, poisson_disk, uniform


def test_a_uniform_pattern_measures_every_second_line_and_the_whole_centre() -> None:
    mask = uniform((8, 20), (1, 2), (8, 6))
    assert mask[:, 10].all()
    assert mask[:, 7:13].all()
    assert mask[0, :7].tolist() == [True, False, True, False, True, False, True]


def test_caipirinha_moves_the_lines_from_plane_to_plane() -> None:
    mask = uniform((8, 12), (2, 2), (0, 0), caipi_shift=1)
    assert not mask[1::2].any()
    assert mask[4].tolist() == [True, False] * 6
    assert mask[2].tolist() == mask[6].tolist() == [False, True] * 6
    assert int(mask.sum()) * 4 == mask.numel()


@pytest.mark.parametrize("acceleration", [2.0, 3.0, 5.0])
def test_a_poisson_disk_has_exactly_the_asked_number_of_lines(acceleration: float) -> None:
    mask = poisson_disk((40, 60), acceleration, (10, 12), seed=3)
    assert int(mask.sum()) == round(2400 / acceleration)
    assert mask[15:25, 24:36].all()


def test_lines_of_a_poisson_disk_keep_their_distance_and_thin_out() -> None:
    mask = poisson_disk((64, 64), 6.0, (0, 0), seed=1)
    lines = mask.nonzero().float()
    apart = torch.cdist(lines, lines) + 100 * torch.eye(len(lines))
    outwards = (lines - 32).norm(dim=1)
    nearest = apart.min(1).values
    assert float(nearest.min()) >= 1.4
    assert float(nearest[outwards > 28].mean()) > 1.2 * float(nearest[outwards < 12].mean())


def test_the_seed_decides_the_lines() -> None:
    first, again, other = (poisson_disk((24, 24), 3.0, (6, 6), seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_acceleration_one_measures_everything() -> None:
    assert poisson_disk((12, 16), 1.0, (4, 4)).all()
    assert uniform((12, 16), (1, 1), (0, 0)).all()


def test_partial_fourier_leaves_out_the_first_lines() -> None:
    mask = partial_fourier(torch.ones(8, 16, dtype=torch.bool), 0.75, 0.625)
    assert not mask[:3].any()
    assert not mask[:, :4].any()
    assert mask[3:, 4:].all()


@pytest.mark.parametrize(("share_y", "share_z"), [(0.5, 1.0), (1.0, 0.4), (1.2, 1.0)])
def test_a_share_that_loses_the_centre_is_refused(share_y: float, share_z: float) -> None:
    with pytest.raises(UnusableInput, match="Shares of partial Fourier"):
        partial_fourier(torch.ones(8, 8, dtype=torch.bool), share_y, share_z)


def test_a_centre_larger_than_the_acceleration_allows_is_refused() -> None:
    with pytest.raises(UnusableInput, match="centre alone"):
        poisson_disk((20, 20), 5.0, (16, 16))
    with pytest.raises(UnusableInput, match="does not fit"):
        uniform((20, 20), (2, 2), (24, 4))
    with pytest.raises(UnusableInput, match="start at 1"):
        uniform((20, 20), (0, 2), (4, 4))
