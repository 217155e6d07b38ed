"""LBV subtracts the harmonic field that continues the rim's values, and iSMV the one that equals its means."""

import numpy
import pytest
import torch
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.operators.masked_laplacian import MaskedLaplacian
from pipeline.operators.spherical_mean import ball_kernel
from pipeline.susceptibility.background_field_removal.ismv import IsmvSettings, ismv
from pipeline.susceptibility.background_field_removal.lbv import LbvSettings, lbv

Place = tuple[int, ...]
GRID = Grid((22, 26, 30), (1.5, 1.0, 1.0))


def noisy_field() -> torch.Tensor:
    return torch.randn(GRID.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def box() -> torch.Tensor:
    mask = torch.zeros(GRID.shape, dtype=torch.bool)
    mask[2:20, 3:23, 2:28] = True
    mask[2:9, 3:10, 2:12] = False
    return mask


def test_the_background_is_harmonic_inside() -> None:
    field, mask = noisy_field(), box()
    local, inner = lbv(field, mask, GRID, LbvSettings(iterations=100, tolerance=1e-12))
    deeper = torch.from_numpy(ndimage.binary_erosion(inner.numpy()))
    assert float(MaskedLaplacian(GRID, deeper.double())(field - local).abs().max()) < 1e-8


def test_the_local_field_solves_the_stated_equations_written_out_voxel_by_voxel() -> None:
    field, mask = noisy_field(), box()
    local, inner = lbv(field, mask, GRID, LbvSettings(iterations=200, tolerance=1e-13))
    number = {tuple(place): row for row, place in enumerate(torch.nonzero(mask).tolist())}
    matrix, right = sparse.lil_matrix((len(number), len(number))), numpy.zeros(len(number))
    for place, row in number.items():
        for axis, step in enumerate(GRID.voxel_size_mm):
            before, after = (tuple(place[i] + side * (i == axis) for i in range(3)) for side in (-1, 1))
            matrix[row, row] += 2 / step**2
            for neighbour in (before, after):
                if neighbour in number:
                    matrix[row, number[neighbour]] -= 1 / step**2
            right[row] += _bend(field.numpy(), number, place, before, after, axis) / step**2
    solved = torch.zeros_like(field)
    solved[mask] = torch.from_numpy(spsolve(matrix.tocsr(), right))
    torch.testing.assert_close(local, torch.where(inner, solved, 0.0), rtol=0, atol=1e-9)


def _bend(
    field: numpy.ndarray, number: dict[Place, int], place: Place, before: Place, after: Place, axis: int
) -> float:
    """Return 2 B − B₋ − B₊, where a value beyond the mask continues the parabola through the three next to it."""
    if before not in number and after not in number:
        return 0.0
    centre = place
    if before not in number:
        centre = after
    elif after not in number:
        centre = before
    line = [tuple(centre[i] + side * (i == axis) for i in range(3)) for side in (-1, 0, 1)]
    if any(entry not in number for entry in line):
        return 0.0
    left, middle, right = (field[entry] for entry in line)
    return 2 * middle - left - right


@pytest.mark.parametrize("power", ["z²−y²", "y²+z²−2x²", "x·y + 3·z"])
def test_a_harmonic_parabola_vanishes_exactly(power: str) -> None:
    z, y, x = (
        c * h
        for c, h in zip(
            torch.meshgrid(*(torch.arange(n).double() for n in GRID.shape), indexing="ij"),
            GRID.voxel_size_mm,
            strict=True,
        )
    )
    field = {"z²−y²": z**2 - y**2, "y²+z²−2x²": y**2 + z**2 - 2 * x**2, "x·y + 3·z": x * y + 3 * z}[power]
    local, _ = lbv(field, box(), GRID, LbvSettings())
    assert float(local.abs().max()) < 1e-9


def test_a_mask_without_inner_voxels_is_refused() -> None:
    mask = torch.zeros(GRID.shape, dtype=torch.bool)
    mask[10:12, 5:20, 5:20] = True
    with pytest.raises(UnusableInput, match="hardly any voxel"):
        lbv(noisy_field(), mask, GRID, LbvSettings())


def test_the_outermost_voxels_of_the_mask_are_given_up() -> None:
    mask = box()
    _, inner = lbv(noisy_field(), mask, GRID, LbvSettings())
    assert torch.equal(inner, torch.from_numpy(ndimage.binary_erosion(mask.numpy())))


def test_the_default_stopping_rule_is_close_to_the_end() -> None:
    stopped, inner = lbv(noisy_field(), box(), GRID, LbvSettings())
    finished, _ = lbv(noisy_field(), box(), GRID, LbvSettings(iterations=100, tolerance=1e-12))
    assert float((stopped - finished)[inner].norm() / finished[inner].norm()) < 2e-3


def test_the_background_that_ismv_converges_to_equals_its_own_spherical_means() -> None:
    field, mask = noisy_field(), box()
    local, known = ismv(field, mask, GRID, IsmvSettings(radius_mm=3.0, iterations=500, tolerance=1e-10))
    background = torch.where(mask, field - local, 0.0)
    kernel = ball_kernel(GRID, 3.0, background)
    means = torch.fft.irfftn(torch.fft.rfftn(background) * kernel, s=GRID.shape)
    assert int(known.sum()) > 500
    # Balls inside the mask touch up to a rounding share of a voxel beyond it.
    assert float((means - background)[known].abs().max()) < 1e-3
