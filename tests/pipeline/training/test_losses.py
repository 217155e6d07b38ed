"""Losses vanish at the truth, see what they should, and are blind to what no field can tell."""

from dataclasses import replace

import pytest
import torch

from pipeline.grid import Grid
from pipeline.operators.dipole import Dipole
from pipeline.training.losses import LOSSES, Wanted, fields_of, ours, squared

GRID = Grid((16, 18, 20), (1.0, 1.5, 2.0), (0.6, 0.8, 0.0))


@pytest.fixture
def wanted() -> Wanted:
    generator = torch.Generator().manual_seed(3)
    mask = torch.zeros(2, *GRID.shape)
    mask[:, 3:-3, 3:-3, 3:-3] = 1
    truth = 0.05 * torch.randn(2, *GRID.shape, generator=generator)
    truth = (truth - (truth * mask).sum((1, 2, 3), keepdim=True) / mask.sum((1, 2, 3), keepdim=True)) * mask
    unit = torch.full((2, 1, 1, 1), 0.05)
    return Wanted(truth, fields_of(truth, [GRID, GRID]) * mask, mask, mask, unit, unit, [GRID, GRID])


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_loss_is_nothing_at_the_truth_and_grows_with_the_error(name: str, wanted: Wanted) -> None:
    loss, noise = LOSSES[name], torch.randn(2, *GRID.shape, generator=torch.Generator().manual_seed(4))
    at_truth, near, far = (float(loss(wanted.susceptibility + step * noise, wanted)) for step in (0.0, 0.01, 0.02))
    assert at_truth == pytest.approx(0.0, abs=1e-6)
    assert at_truth < near < far


@pytest.mark.parametrize("name", list(LOSSES))
def test_what_lies_outside_the_mask_does_not_matter_to_errors_of_maps(name: str, wanted: Wanted) -> None:
    estimate = 1.3 * wanted.susceptibility
    dirty = estimate + (1 - wanted.mask)
    # QSMnet's field term sees all sources, as in its paper.
    if name != "qsmnet":
        assert float(LOSSES[name](dirty, wanted)) == pytest.approx(float(LOSSES[name](estimate, wanted)), rel=1e-5)


def test_our_loss_forgives_a_constant_and_the_squared_one_does_not(wanted: Wanted) -> None:
    shifted = (wanted.susceptibility + 0.1) * wanted.mask
    assert float(ours(shifted, wanted)) == pytest.approx(0.0, abs=1e-5)
    assert float(squared(shifted, wanted)) == pytest.approx(4.0, rel=1e-4)


def test_twice_the_amplitudes_in_twice_the_unit_give_the_same_loss(wanted: Wanted) -> None:
    doubled = replace(
        wanted,
        susceptibility=2 * wanted.susceptibility,
        local_field=2 * wanted.local_field,
        unit=2 * wanted.unit,
        field_unit=2 * wanted.field_unit,
    )
    for name, loss in LOSSES.items():
        once, twice = loss(0.9 * wanted.susceptibility, wanted), loss(1.8 * wanted.susceptibility, doubled)
        assert float(once) == pytest.approx(float(twice), rel=1e-4), name


def test_each_map_has_the_field_of_its_own_grid(wanted: Wanted) -> None:
    other = Grid(GRID.shape, GRID.voxel_size_mm, (1.0, 0.0, 0.0))
    together = fields_of(wanted.susceptibility, [GRID, other])
    alone = fields_of(wanted.susceptibility[1:], [other])
    torch.testing.assert_close(together[1:], alone)
    padded = replace(other, shape=(64, 64, 64))
    volume = torch.zeros(padded.shape)
    volume[:16, :18, :20] = wanted.susceptibility[1]
    exact = Dipole.on(padded, volume)(volume)[:16, :18, :20]
    assert float((alone[0] - exact).norm() / exact.norm()) < 0.1
