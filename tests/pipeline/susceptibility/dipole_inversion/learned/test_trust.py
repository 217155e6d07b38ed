"""The unmeasured part of a map is that which the field does not show."""

import functools

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.operators.dipole import AXES, Dipole
from pipeline.susceptibility.dipole_inversion.learned.data_term import DataTerm
from pipeline.susceptibility.dipole_inversion.learned.trust import (
    cone_part,
    cone_share,
    region_cone_share,
)
from tests.pipeline.susceptibility.dipole_inversion.heads import SmallHead, small_head


@functools.cache
def head() -> SmallHead:
    return small_head((36, 40, 38))


def test_the_field_does_not_see_the_unmeasured_part() -> None:
    chance = torch.Generator().manual_seed(6)
    rough = 0.05 * torch.randn(head().mask.shape, generator=chance, dtype=torch.float64) * head().mask
    part = cone_part(rough, head().mask, head().grid)
    dipole = Dipole.on(head().grid, rough)
    seen, of_all = dipole(part).norm() / part.norm(), dipole(rough).norm() / rough.norm()
    assert float(seen) < 0.3 * float(of_all)


def test_the_share_is_the_energy_of_the_part() -> None:
    chance = torch.Generator().manual_seed(8)
    noise = torch.randn(head().mask.shape, generator=chance, dtype=torch.float64) * head().mask
    share = cone_share(noise, head().mask, head().grid)
    term = DataTerm.of(noise, head().mask, head().grid)
    contrast = term.framed(noise - noise[head().mask].mean())
    whole = torch.fft.fftn(contrast, dim=AXES).abs().square()
    response = torch.fft.fftn(torch.fft.irfftn(term.dipole.kernel, s=term.dipole.shape, dim=AXES), dim=AXES).real
    is_open = response.abs() < 0.1
    is_open[0, 0, 0] = False
    assert share == pytest.approx(float(whole[is_open].sum() / whole.sum()), rel=1e-6)
    assert share == pytest.approx(0.18, abs=0.03)


def test_a_map_with_streaks_has_a_larger_share_than_the_truth() -> None:
    grid, mask, truth = head().grid, head().mask, head().truth
    chance = torch.Generator().manual_seed(2)
    streaks = cone_part(torch.randn(mask.shape, generator=chance, dtype=torch.float64) * mask, mask, grid)
    plain, streaky = cone_share(truth, mask, grid), cone_share(truth + 0.05 * streaks, mask, grid)
    assert 0 < plain < 0.2
    assert streaky > 1.3 * plain


def test_a_map_of_zeros_has_no_share() -> None:
    assert cone_share(torch.zeros_like(head().truth), head().mask, head().grid) == 0.0


def test_a_constant_and_a_factor_do_not_change_the_share() -> None:
    truth, mask, grid = head().truth, head().mask, head().grid
    assert cone_share(3 * truth + 0.2, mask, grid) == pytest.approx(cone_share(truth, mask, grid), rel=1e-9)


def test_a_region_s_share_is_between_none_and_all() -> None:
    truth, mask = head().truth, head().mask
    region = truth > 0.1
    part = cone_part(truth, mask, head().grid)
    assert region_cone_share(torch.zeros_like(truth), truth, mask, region) == 0.0
    assert region_cone_share(truth - truth[mask].mean(), truth, mask, region) == pytest.approx(1.0)
    assert 0 < region_cone_share(part, truth, mask, region) < 0.4
    with pytest.raises(UnusableInput, match="region is empty"):
        region_cone_share(part, truth, mask, truth > 9)


def test_wrong_shapes_and_thresholds_are_refused() -> None:
    with pytest.raises(UnusableInput, match="map has shape"):
        cone_share(head().truth[1:], head().mask, head().grid)
    with pytest.raises(UnusableInput, match="threshold"):
        cone_part(head().truth, head().mask, head().grid, 0.7)
