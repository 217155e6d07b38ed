"""An array of loops around a head: smooth, different from coil to coil, and noisy together."""

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.simulation.coils import birdcage_array, correlated_noise, noise_covariance

GRID = Grid((20, 26, 22), (8.0, 8.0, 8.0))


@pytest.fixture(scope="module")
def eight() -> torch.Tensor:
    return birdcage_array(GRID, 8)


def test_the_squares_of_the_sensitivities_add_up_to_one(eight: torch.Tensor) -> None:
    assert eight.shape == (8, *GRID.shape)
    assert eight.dtype == torch.complex64
    torch.testing.assert_close(eight.abs().square().sum(0), torch.ones(GRID.shape))


def test_sensitivities_change_little_from_voxel_to_voxel(eight: torch.Tensor) -> None:
    head = eight[:, 4:-4, 5:-5, 4:-4]
    for axis in (1, 2, 3):
        assert float(head.diff(dim=axis).abs().max()) < 0.25


def test_every_coil_sees_another_side_of_the_head(eight: torch.Tensor) -> None:
    spread = torch.linalg.svdvals(eight.flatten(1))
    assert float(spread[-1] / spread[0]) > 0.1
    sides = {int(coil[10].abs().flatten().argmax()) for coil in eight}
    assert len(sides) == 8


def test_thirty_two_coils_lie_in_rings_and_see_top_and_neck() -> None:
    array = birdcage_array(GRID, 32).abs()
    by_height = array.square().mean((2, 3))
    see_the_top = int((by_height[:, :6].sum(1) < by_height[:, -6:].sum(1)).sum())
    assert 8 <= see_the_top <= 24


def test_cubics_between_knots_stand_for_the_law_itself(eight: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.simulation.coils._KNOT_MM", 3.0)
    inside = (slice(None), *(slice(3, -3),) * 3)
    torch.testing.assert_close(birdcage_array(GRID, 8)[inside], eight[inside], atol=2e-3, rtol=0)


def test_a_tilted_volume_sees_the_array_through_positions_in_the_patient() -> None:
    places = torch.stack(torch.meshgrid(*(torch.arange(-60.0, 61, 12),) * 3, indexing="ij")).flip(0)
    whole = birdcage_array(places, 4)
    torch.testing.assert_close(birdcage_array(places.flip(1), 4), whole.flip(1), atol=1e-4, rtol=0)


def test_the_seed_moves_the_loops_a_little(eight: torch.Tensor) -> None:
    other = birdcage_array(GRID, 8, seed=1)
    assert 0.001 < float((other - eight).abs().mean()) < 0.3
    assert torch.equal(birdcage_array(GRID, 8), eight)


def test_noise_follows_its_covariance() -> None:
    covariance = noise_covariance(6, correlation=0.3, seed=2)
    assert float(torch.linalg.eigvalsh(covariance).min()) > 0
    noise = correlated_noise((400, 100), covariance, torch.Generator().manual_seed(0)).flatten(1)
    measured = noise @ noise.mH / noise.shape[1]
    torch.testing.assert_close(measured, covariance, atol=0.03, rtol=0)
    assert float(covariance[0, 1].abs()) > 0.1


@pytest.mark.parametrize("wrong", [-0.1, 1.0])
def test_a_correlation_out_of_range_is_refused(wrong: float) -> None:
    with pytest.raises(UnusableInput, match="correlation"):
        noise_covariance(4, wrong)


def test_an_array_without_coils_or_positions_without_axes_is_refused() -> None:
    with pytest.raises(UnusableInput, match="0 coils"):
        birdcage_array(GRID, 0)
    with pytest.raises(UnusableInput, match="shape"):
        birdcage_array(torch.zeros(3, 5), 2)
