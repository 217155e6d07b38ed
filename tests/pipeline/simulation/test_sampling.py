"""Sample positions, boxes and coarse lattices in patient coordinates."""

import torch

from pipeline.simulation.sampling import Lattice, SamplingGrid

TILTED = SamplingGrid((12, 14, 16), (-9.0, -8.0, -6.0), ((0.1, 0.3, 1.0), (0.2, 1.1, -0.3), (0.9, -0.2, 0.0)))


def test_the_last_axis_of_the_grid_steps_along_x() -> None:
    points = TILTED.points()
    torch.testing.assert_close(points[:, 0, 0, 1] - points[:, 0, 0, 0], torch.tensor([0.9, -0.2, 0.0]))
    torch.testing.assert_close(points[:, 1, 0, 0] - points[:, 0, 0, 0], torch.tensor([0.1, 0.3, 1.0]))


def test_a_part_of_the_grid_has_the_positions_of_the_whole() -> None:
    box = (slice(2, 7), slice(0, 5), slice(9, 16))
    torch.testing.assert_close(TILTED.part(box).points(), TILTED.points()[(slice(None), *box)])


def test_slabs_cover_the_grid_once() -> None:
    torch.testing.assert_close(torch.cat([slab.points() for _, slab in TILTED.slabs(5)], 1), TILTED.points())


def test_the_box_around_a_sphere_misses_none_of_its_samples() -> None:
    steps = ((0.0, 0.5, 0.866), (0.0, 0.866, -0.5), (1.2, 0.0, 0.0))
    grid = SamplingGrid((20, 22, 18), (-10.0, -12.0, -9.0), steps)
    centre, radius = (1.0, -2.0, 0.5), 4.2
    is_near = (grid.points() - torch.tensor(centre).reshape(3, 1, 1, 1)).norm(dim=0) <= radius
    box = grid.box_around(centre, radius)
    assert box is not None
    assert is_near.sum() > 100
    assert is_near[box].sum() == is_near.sum()
    assert is_near[box].numel() < is_near.numel() / 3


def test_a_sphere_beyond_the_grid_has_no_box() -> None:
    assert TILTED.box_around((500.0, 0.0, 0.0), 3.0) is None


def test_a_lattice_reproduces_what_is_linear() -> None:
    knots = Lattice.grid((-10.0, -12.0, -14.0), (10.0, 12.0, 14.0), 2.0)
    x, y, z = knots.points()
    lattice = Lattice(torch.stack((x + 2 * y, z - 3 * x)), knots.first_mm, 2.0)
    places = torch.rand(3, 4, 5, 6, generator=torch.Generator().manual_seed(4)) * 16 - 8
    expected = torch.stack((places[0] + 2 * places[1], places[2] - 3 * places[0]))
    torch.testing.assert_close(lattice.at(places, slice(0, 2)), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(lattice.at(places, slice(1, 2)), expected[1:], atol=1e-4, rtol=0)
