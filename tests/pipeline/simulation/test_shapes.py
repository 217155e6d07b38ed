"""Shapes know how far a point is from them."""

import torch

from pipeline.simulation.shapes import Ellipsoid, Tube, blended


def points(*places: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(places).T


def test_a_balls_distance_is_exact() -> None:
    ball = Ellipsoid((1.0, 2.0, 3.0), (5.0, 5.0, 5.0))
    distance = ball.distance(points((1.0, 2.0, 3.0), (1.0, 2.0, 8.0), (11.0, 2.0, 3.0)))
    torch.testing.assert_close(distance, torch.tensor([-5.0, 0.0, 5.0]), atol=1e-4, rtol=0)


def test_a_turned_ellipsoid_on_the_left_brings_its_front_to_the_middle() -> None:
    putamen = Ellipsoid((25.0, 0.0, 0.0), (3.0, 15.0, 5.0), turn_deg=20.0)
    front_towards_middle, front_away = putamen.distance(points((21.0, -11.0, 0.0), (29.0, -11.0, 0.0)))
    assert front_towards_middle < 0 < front_away


def test_an_ellipsoids_surface_lies_at_distance_zero_whatever_its_tilt() -> None:
    shape = Ellipsoid((0.0, 0.0, 0.0), (2.0, 6.0, 4.0), turn_deg=30.0, tilt_deg=25.0)
    rays = torch.nn.functional.normalize(torch.randn(3, 200, generator=torch.Generator().manual_seed(1)), dim=0)
    near, far = torch.zeros(200), torch.full((200,), 10.0)
    for _ in range(40):
        middle = (near + far) / 2
        is_inside = shape.distance(rays * middle) < 0
        near, far = torch.where(is_inside, middle, near), torch.where(is_inside, far, middle)
    assert near.min() > 1.99
    assert near.max() < 6.01
    # A step of a twentieth of a millimetre off the surface is seen as at most that.
    assert shape.distance(rays * (near + 0.05)).abs().max() < 0.06


def test_a_tubes_radius_runs_from_knot_to_knot() -> None:
    tube = Tube(((0.0, 0.0, 0.0), (10.0, 0.0, 0.0), (10.0, 10.0, 0.0)), (1.0, 3.0, 3.0))
    distance = tube.distance(points((5.0, 0.0, 4.0), (10.0, 5.0, 4.0), (-3.0, 0.0, 0.0)))
    torch.testing.assert_close(distance, torch.tensor([2.0, 1.0, 2.0]))


def test_the_other_side_is_the_mirror_image() -> None:
    place = torch.randn(3, 500, generator=torch.Generator().manual_seed(2)) * 8
    mirrored = place * torch.tensor([[-1.0], [1.0], [1.0]])
    for shape in (
        Ellipsoid((4.0, 1.0, 2.0), (3.0, 6.0, 2.0), 25.0, 15.0),
        Tube(((1.0, 2.0, 3.0), (5.0, 1.0, -2.0)), (1.0, 2.0)),
    ):
        torch.testing.assert_close(shape.distance(place), shape.mirrored().distance(mirrored))


def test_the_sphere_around_a_shape_holds_all_of_it() -> None:
    place = torch.randn(3, 20000, generator=torch.Generator().manual_seed(3)) * 12
    for shape in (
        Ellipsoid((4.0, 1.0, 2.0), (3.0, 9.0, 2.0), 40.0, -30.0),
        Tube(((1.0, 2.0, 3.0), (5.0, 1.0, -2.0), (-4.0, 9.0, 6.0)), (1.0, 2.0, 1.5)),
    ):
        centre, radius = shape.sphere_around()
        inside = place[:, shape.distance(place) < 0]
        assert inside.shape[1] > 10
        assert (inside - torch.tensor(centre)[:, None]).norm(dim=0).max() <= radius


def test_blending_rounds_creases_and_leaves_the_rest_alone() -> None:
    left, right = Ellipsoid((-6.0, 0.0, 0.0), (5.0, 5.0, 5.0)), Ellipsoid((6.0, 0.0, 0.0), (5.0, 5.0, 5.0))
    between, far = blended((left, right), points((0.0, 0.0, 0.0), (-14.0, 0.0, 0.0)), 4.0)
    torch.testing.assert_close(between, torch.tensor(0.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(far, torch.tensor(3.0), atol=1e-4, rtol=0)
