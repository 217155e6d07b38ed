"""The two start maps: the first is weighted_tv's, the second bears a field that background removal left unclean."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.operators.dipole import Dipole
from pipeline.susceptibility.dipole_inversion.learned.starts import StartSettings, start_maps
from pipeline.susceptibility.dipole_inversion.weighted_tv import WeightedTvSettings, weighted_total_variation
from tests.pipeline.susceptibility.dipole_inversion.learned.small_networks import head, small_scan

SHORT = StartSettings(rounds=2, further_rounds=1, iterations=6)


def error_of(found: Tensor) -> float:
    truth, inside = head().truth[head().mask], found[head().mask]
    truth, inside = truth - truth.mean(), inside - inside.mean()
    return float((inside - truth).norm() / truth.norm())


def test_the_first_is_the_map_of_weighted_tv_at_the_same_weight_and_margin() -> None:
    scan = small_scan()
    settings = WeightedTvSettings(regularisation=SHORT.regularisation, rounds=2, iterations=6, margin=SHORT.margin)
    expected = weighted_total_variation(scan.local_field, scan.mask, scan.grid, settings, field_noise=scan.field_noise)
    torch.testing.assert_close(start_maps(scan, settings=SHORT)[0], expected)


def test_the_second_is_smoother() -> None:
    first, second = start_maps(small_scan(), settings=SHORT)
    roughness = [float(volume.diff(dim=axis).abs().sum()) for volume in (first, second) for axis in (-3, -2, -1)]
    assert sum(roughness[3:]) < 0.95 * sum(roughness[:3])


def test_the_second_hardly_minds_a_source_outside_the_mask() -> None:
    scan = small_scan()
    source = torch.zeros(scan.grid.shape)
    source[0, 0, 13] = 60.0
    assert not bool(scan.mask[0, 0, 13])
    left_over = Dipole.on(scan.grid, source)(source)
    unclean = replace(scan, local_field=(scan.local_field + left_over) * scan.mask)
    clean_first, clean_second = (error_of(found) for found in start_maps(scan))
    first, second = (error_of(found) for found in start_maps(unclean))
    assert second - clean_second < 0.7 * (first - clean_first)


def test_nothing_lies_outside_the_mask_and_nothing_that_lies_there_matters() -> None:
    scan = small_scan()
    maps = start_maps(scan, settings=SHORT)
    assert not bool(maps[:, ~scan.mask].any())
    polluted = replace(scan, local_field=torch.where(scan.mask, scan.local_field, 5.0))
    assert torch.equal(start_maps(polluted, settings=SHORT), maps)


def test_progress_rises_to_one_and_may_cancel() -> None:
    told: list[float] = []
    start_maps(small_scan(), on_iteration=told.append, settings=replace(SHORT, iterations=3))
    assert told == sorted(told)
    assert told[0] < 0.2
    assert told[-1] == pytest.approx(1.0)


def test_a_field_on_another_grid_is_refused() -> None:
    scan = small_scan()
    with pytest.raises(UnusableInput, match="shape"):
        start_maps(replace(scan, local_field=scan.local_field[1:]))
