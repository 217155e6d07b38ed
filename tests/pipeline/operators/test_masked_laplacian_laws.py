"""The masked Laplacian and its multigrid cycle are symmetric and positive, and the cycle speeds up its inversion."""

import pytest
import torch
from scipy import ndimage

from pipeline.grid import Grid
from pipeline.operators.masked_laplacian import MaskedLaplacian, MultigridCycle
from pipeline.solvers.conjugate_gradient import conjugate_gradient

GRIDS = [Grid((32, 48, 32), (1.0, 1.0, 1.0)), Grid((16, 48, 32), (3.0, 1.0, 1.2))]


def uneven_mask(grid: Grid) -> torch.Tensor:
    axes = [torch.linspace(-1, 1, size, dtype=torch.float64) for size in grid.shape]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return ((z**2 + y**2 + x**2 < 0.8) & ~((y - 0.4) ** 2 + (x - 0.3) ** 2 < 0.04)).double()


def random_pair(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(5)
    first, second = (torch.randn(mask.shape, generator=chance, dtype=torch.float64) * mask for _ in range(2))
    return first, second


@pytest.mark.parametrize("grid", GRIDS)
def test_both_are_symmetric_and_positive(grid: Grid) -> None:
    laplacian = MaskedLaplacian(grid, uneven_mask(grid))
    first, second = random_pair(laplacian.inside)
    for operator in (laplacian, MultigridCycle.of(laplacian)):
        assert float((operator(first) * second).sum()) == pytest.approx(float((first * operator(second)).sum()))
        assert float((operator(first) * first).sum()) > 0


def test_a_parabola_has_the_laplacian_that_it_should() -> None:
    grid = Grid((10, 12, 14), (2.0, 1.0, 0.5))
    axes = [torch.arange(n, dtype=torch.float64) * h for n, h in zip(grid.shape, grid.voxel_size_mm, strict=True)]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    inside = torch.zeros(grid.shape, dtype=torch.float64)
    inside[2:-2, 2:-2, 2:-2] = 1.0
    found = MaskedLaplacian(grid, inside)(z**2 + 3 * y**2 - 0.5 * x**2)
    torch.testing.assert_close(found, -(2 + 6 - 1.0) * inside)


@pytest.mark.parametrize("grid", GRIDS)
def test_the_cycle_makes_conjugate_gradients_end_in_few_steps(grid: Grid) -> None:
    laplacian = MaskedLaplacian(grid, uneven_mask(grid))
    with_cycle, without = (steps_to_solve(laplacian, cycle) for cycle in (MultigridCycle.of(laplacian), None))
    assert with_cycle <= 13
    assert without > 4 * with_cycle


def test_the_number_of_steps_hardly_grows_with_the_grid() -> None:
    small, large = Grid((16, 16, 16), (1.0, 1.0, 1.0)), Grid((64, 64, 64), (1.0, 1.0, 1.0))
    steps = []
    for grid in (small, large):
        laplacian = MaskedLaplacian(grid, uneven_mask(grid))
        steps.append(steps_to_solve(laplacian, MultigridCycle.of(laplacian)))
    assert steps[1] <= steps[0] + 5


def steps_to_solve(laplacian: MaskedLaplacian, cycle: MultigridCycle | None) -> int:
    """Return how many steps reduce the residual, as conjugate gradients measure it, to a millionth."""
    right, counted = laplacian(random_pair(laplacian.inside)[0] + 5 * laplacian.inside), [0]
    size = float((right * (right if cycle is None else cycle(right))).sum()) ** 0.5
    conjugate_gradient(
        laplacian,
        right,
        torch.zeros_like(right),
        n_iterations=500,
        tolerance=1e-6 * size,
        preconditioner=cycle,
        on_iteration=counted.append,
    )
    return counted[-1]


def test_the_one_sided_form_never_reads_beyond_the_mask() -> None:
    laplacian = MaskedLaplacian(GRIDS[1], uneven_mask(GRIDS[1]))
    volume = random_pair(torch.ones_like(laplacian.inside))[0]
    elsewhere = torch.where(laplacian.inside > 0, volume, 1e6)
    assert torch.equal(laplacian.one_sided(volume), laplacian.one_sided(elsewhere))


def test_both_forms_agree_where_all_neighbours_are_inside() -> None:
    laplacian = MaskedLaplacian(GRIDS[0], uneven_mask(GRIDS[0]))
    volume = random_pair(laplacian.inside)[0]
    inner = torch.from_numpy(ndimage.binary_erosion(laplacian.inside.numpy()))
    torch.testing.assert_close(laplacian.one_sided(volume)[inner], laplacian(volume)[inner])


def test_only_axes_of_short_voxels_are_halved_until_the_edges_are_alike() -> None:
    laplacian = MaskedLaplacian(GRIDS[1], uneven_mask(GRIDS[1]))
    assert MultigridCycle.of(laplacian).factors[0] == (1, 2, 2)
    steps = MultigridCycle.of(laplacian).levels[1].grid.voxel_size_mm
    assert steps == (3.0, 2.0, 2.4)
