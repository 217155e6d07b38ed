"""What the magnitude tells the inversions: where its late echoes are steep, and where the fluid lies."""

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.susceptibility.dipole_inversion.cerebrospinal_fluid import cerebrospinal_fluid
from pipeline.susceptibility.dipole_inversion.magnitude_edges import steep_places

SHAPE = (20, 22, 24)
GRID = Grid(SHAPE, (1.0, 1.0, 1.0), (1.0, 0.0, 0.0))
MASK = torch.zeros(SHAPE, dtype=torch.bool)
MASK[2:18, 2:20, 2:22] = True


def block(where: tuple[slice, slice, slice]) -> torch.Tensor:
    volume = torch.zeros(SHAPE, dtype=torch.bool)
    volume[where] = True
    return volume


CENTRE = block((slice(8, 12), slice(9, 13), slice(10, 14)))


def test_the_asked_share_of_the_mask_is_steep_and_none_outside() -> None:
    image = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1))
    steep = steep_places(image, MASK, GRID.voxel_size_mm, 0.3)
    assert not (steep & ~MASK).any()
    assert float(steep.sum()) == pytest.approx(0.3 * float(MASK.sum()), rel=0.01)
    assert torch.equal(steep_places(image, MASK, GRID.voxel_size_mm, 1.0), MASK)


def test_an_edge_of_the_late_echoes_alone_counts() -> None:
    early = torch.where(block((slice(4, 8), slice(4, 8), slice(4, 8))), 50.0, 100.0)
    late = torch.where(CENTRE, 50.0, 100.0)
    steep = steep_places(torch.stack([early, late]), MASK, GRID.voxel_size_mm, 0.01)
    assert bool(steep.any())
    assert not steep[:7].any()


def test_a_magnitude_on_another_grid_is_refused() -> None:
    with pytest.raises(UnusableInput, match="magnitude has shape"):
        steep_places(torch.zeros(3, 3, 3), MASK, GRID.voxel_size_mm, 0.3)


def test_the_fluid_is_what_decays_slowly_near_the_centre() -> None:
    rim = block((slice(2, 4), slice(2, 20), slice(2, 22)))
    r2star = torch.where(CENTRE | rim, 1.0, 20.0)
    assert torch.equal(cerebrospinal_fluid(r2star, MASK, GRID, radius_mm=6.0), CENTRE)


def test_only_the_three_largest_parts_of_the_fluid_count() -> None:
    places = [(slice(z, z + 4), slice(y, y + 4), slice(x, x + 4)) for z in (5, 11) for y in (5, 12) for x in (6, 13)]
    parts = [block(place) for place in places]
    parts[0] = block((slice(5, 10), slice(5, 9), slice(6, 10)))
    slow = torch.stack(parts).any(0)
    found = cerebrospinal_fluid(torch.where(slow, 1.0, 20.0), MASK, GRID)
    assert int(found.sum()) == 80 + 64 + 64
    assert bool((found & parts[0]).any())


def test_the_radius_is_in_millimetres_whatever_the_voxel() -> None:
    thick = Grid(SHAPE, (4.0, 1.0, 1.0), (1.0, 0.0, 0.0))
    found = cerebrospinal_fluid(torch.zeros(SHAPE), MASK, thick, radius_mm=6.0)
    z, y, x = (places.unique().numel() for places in torch.nonzero(found).unbind(1))
    assert z < y / 2
    assert z < x / 2


def test_no_fluid_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(UnusableInput, match="raise the limit"):
        cerebrospinal_fluid(torch.full(SHAPE, 20.0), MASK, GRID)
    with pytest.raises(UnusableInput, match="has shape"):
        cerebrospinal_fluid(torch.zeros(3, 3, 3), MASK, GRID)
