"""MDI needs no offset removal and takes every pair of echoes that there is."""

import pytest
import torch

from pipeline.errors import SingleEcho
from pipeline.susceptibility.multi_dimensional_integration import multi_dimensional_integration, spacings
from pipeline.susceptibility.phase_unwrapping.turns import wrap
from tests.pipeline.susceptibility.echoes import B0_TESLA, GRID, Echoes, echoes
from tests.pipeline.susceptibility.test_echo_combination_laws import bound

SPACINGS = pytest.mark.parametrize(
    "echo_times_s",
    [(0.004, 0.010), (0.004, 0.010, 0.016, 0.022, 0.028), (0.003, 0.0071, 0.0125, 0.024)],
    ids=["two echoes", "five echoes", "unequal spacing"],
)


def field_of(scan: Echoes, phase: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return multi_dimensional_integration(phase, scan.magnitude, scan.mask, scan.echo_times_s, B0_TESLA, GRID)


def test_pairs_of_one_distance_share_a_spacing_and_the_shortest_comes_first() -> None:
    found = spacings((0.004, 0.012, 0.020, 0.028))
    assert [spacing.pairs for spacing in found] == [((0, 1), (1, 2), (2, 3)), ((0, 2), (1, 3)), ((0, 3),)]
    assert [spacing.time_s for spacing in found] == pytest.approx([0.008, 0.016, 0.024])
    assert len(spacings((0.003, 0.0071, 0.0125, 0.024))) == 6


@SPACINGS
def test_without_noise_the_field_is_exact_up_to_a_constant_turn(echo_times_s: tuple[float, ...]) -> None:
    scan = echoes(echo_times_s=echo_times_s, offset_rad=2.5)
    error = (field_of(scan, scan.phase)[0] - scan.field)[scan.mask]
    assert (error - error.median()).abs().max() < 1e-4


@SPACINGS
def test_an_offset_of_any_shape_cancels(echo_times_s: tuple[float, ...]) -> None:
    scan = echoes(echo_times_s=echo_times_s, noise=0.02)
    rough = 6.0 * torch.rand(GRID.shape, generator=torch.Generator().manual_seed(3))
    plain, other = field_of(scan, scan.phase)[0], field_of(scan, wrap(scan.phase + rough))[0]
    assert (plain - other).abs().max() < 1e-4


@SPACINGS
def test_the_error_nears_the_bound_of_a_free_offset_and_is_stated(echo_times_s: tuple[float, ...]) -> None:
    scan = echoes(echo_times_s=echo_times_s, noise=0.02)
    field, noise = field_of(scan, scan.phase)
    error = (field - scan.field)[scan.mask]
    error -= error.median()
    assert error.square().mean().sqrt() < 1.25 * bound(scan, free_offset=True)
    assert float(noise[scan.mask].median()) == pytest.approx(1.4826 * float(error.abs().median()), rel=0.2)


def test_one_echo_is_refused_with_the_method_that_takes_it() -> None:
    scan = echoes(echo_times_s=(0.01,))
    with pytest.raises(SingleEcho, match="weighted_average"):
        field_of(scan, scan.phase)
