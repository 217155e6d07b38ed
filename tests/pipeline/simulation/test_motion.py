"""A moving head: shifts and turns that blur nothing and can be taken back."""

import math

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.simulation.motion import Pose, moved, pose_of_lines, restless_head

GRID = Grid((24, 32, 40), (3.0, 2.0, 1.5))


def blob(z_mm: float, y_mm: float, x_mm: float) -> torch.Tensor:
    """Return a smooth spot at a place [mm] about the middle of the volume."""
    z, y, x = torch.meshgrid(
        *((torch.arange(n) - n // 2) * step for n, step in zip(GRID.shape, GRID.voxel_size_mm, strict=True)),
        indexing="ij",
    )
    squares = (z - z_mm).square() + (y - y_mm).square() + (x - x_mm).square()
    return torch.exp(-squares / (2 * 4.5**2)).to(torch.complex64)


def test_a_shift_moves_a_spot_by_millimetres() -> None:
    there = moved(blob(0, 0, 0), GRID, Pose(translation_mm=(3.7, -2.2, 5.1)))
    torch.testing.assert_close(there, blob(3.7, -2.2, 5.1), atol=2e-3, rtol=0)


@pytest.mark.parametrize(("axis", "start", "stop"), [(0, (0, 9, 0), "yx"), (1, (0, 0, 9), "xz"), (2, (9, 0, 0), "zy")])
def test_a_turn_moves_a_spot_along_its_circle(axis: int, start: tuple[float, float, float], stop: str) -> None:
    degrees = [0.0, 0.0, 0.0]
    degrees[axis] = 20.0
    turned = moved(blob(*start), GRID, Pose((degrees[0], degrees[1], degrees[2])))
    place = {"z": 0.0, "y": 0.0, "x": 0.0}
    place[stop[0]], place[stop[1]] = 9 * math.cos(math.radians(20)), 9 * math.sin(math.radians(20))
    torch.testing.assert_close(turned, blob(place["z"], place["y"], place["x"]), atol=5e-3, rtol=0)


def test_a_turn_there_and_back_changes_nothing() -> None:
    image = blob(3, -6, 4) + 0.5j * blob(-9, 2, 0)
    there = moved(image, GRID, Pose(rotation_deg=(5.0, 0.0, 0.0)))
    torch.testing.assert_close(moved(there, GRID, Pose(rotation_deg=(-5.0, 0.0, 0.0))), image, atol=1e-4, rtol=0)


def test_a_restless_head_starts_at_rest_and_stays_within_its_limits() -> None:
    poses = restless_head(6, largest_deg=2.0, largest_mm=1.5, seed=4)
    assert poses[0] == Pose()
    assert max(abs(angle) for pose in poses for angle in pose.rotation_deg) == pytest.approx(2.0)
    assert max(abs(shift) for pose in poses for shift in pose.translation_mm) == pytest.approx(1.5)
    assert restless_head(6, 2.0, 1.5, seed=4) == poses
    assert pose_of_lines(7, poses[:3]).tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_a_head_without_a_pose_is_refused() -> None:
    with pytest.raises(UnusableInput, match="one pose"):
        restless_head(0, 1.0, 1.0)
