"""The physics of the simulated scanner against closed forms."""

import math

import pytest
import torch

from pipeline.grid import Grid
from pipeline.operators.dipole import Dipole
from pipeline.simulation.forward import complex_noise, echo_signal, relative_field, rotation, shim

DIRECTIONS = [(1.0, 0.0, 0.0), (math.cos(0.35), math.sin(0.35), 0.0), (0.6, 0.48, 0.64)]


def ball(grid: Grid, radius_mm: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a soft-edged ball in the middle and the positions `(zyx, z, y, x)` relative to it."""
    axes = [(torch.arange(n) - n // 2) * step for n, step in zip(grid.shape, grid.voxel_size_mm, strict=True)]
    place = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    edge = 1.25 * max(grid.voxel_size_mm)
    return (0.5 - (place.norm(dim=0) - radius_mm) / edge).clamp(0, 1), place


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("voxel", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0)])
def test_the_field_of_a_ball_is_that_of_the_textbook(direction, voxel) -> None:
    grid = Grid((96, 96, 96) if voxel[0] == 1 else (48, 96, 96), voxel, direction)
    radius, susceptibility = 9.0, 0.7
    shares, place = ball(grid, radius)
    field = relative_field(susceptibility * shares, voxel, direction)
    distance = place.norm(dim=0)
    along = sum(axis * part for axis, part in zip(place, direction, strict=True))
    outside = susceptibility / 3 * (radius / distance) ** 3 * (3 * (along / distance) ** 2 - 1)
    where = (distance > radius + 3) & (distance < 2.2 * radius)
    error = (field - outside)[where]
    # What is left comes from the soft edge and from the copies beyond the edges of the grid.
    assert float(error.norm() / outside[where].norm()) < 0.05
    assert float(field[distance < radius - 3].abs().max()) < 0.03 * susceptibility


def test_the_field_agrees_with_the_operator_that_is_inverted_though_written_apart() -> None:
    grid = Grid((30, 32, 45), (1.5, 1.0, 0.8), (0.6, 0.48, 0.64))
    shares, _ = ball(grid, 7.0)
    ours = relative_field(shares, grid.voxel_size_mm, grid.b0_direction)
    torch.testing.assert_close(ours, Dipole.on(grid, shares)(shares), atol=2e-3, rtol=0)


def test_shims_leave_neither_offset_nor_slope_over_the_brain() -> None:
    brain = torch.zeros(20, 24, 28)
    brain[4:17, 5:20, 6:22] = 1
    z, y, x = torch.meshgrid(torch.arange(20.0), torch.arange(24.0), torch.arange(28.0), indexing="ij")
    curved = 0.01 * (x - 14).square()
    shimmed = shim(3.0 - 0.2 * z + 0.1 * y + 0.3 * x + curved, brain, every=1)
    inside = brain > 0
    assert abs(float(shimmed[inside].mean())) < 1e-4
    for axis in (z, y, x):
        centred = axis[inside] - axis[inside].mean()
        assert abs(float((centred * shimmed[inside]).mean())) < 1e-3
    assert float(shimmed[inside].std()) > 0.1


def test_phase_grows_with_field_and_time() -> None:
    field = torch.full((2, 2, 2), 0.1)
    signal = echo_signal(torch.ones(2, 2, 2), torch.zeros(2, 2, 2), field, 0.005, 3.0, (2, 2, 2))
    # 0.1 ppm of 3 T are 12.77 Hz; over 5 ms that is 0.4013 rad.
    assert float(signal.angle()) == pytest.approx(0.4013, abs=1e-4)


def test_uneven_field_inside_a_voxel_costs_it_signal() -> None:
    field = torch.zeros(2, 2, 2)
    field[:, :, 1] = 0.2
    even = echo_signal(torch.ones(2, 2, 2), torch.full((2, 2, 2), 20.0), field * 0, 0.02, 3.0, (2, 2, 2))
    uneven = echo_signal(torch.ones(2, 2, 2), torch.full((2, 2, 2), 20.0), field, 0.02, 3.0, (2, 2, 2))
    assert float(even.abs()) == pytest.approx(math.exp(-0.4), rel=1e-5)
    angle = 2 * math.pi * 42.577478518 * 3.0 * 0.02 * 0.2
    assert float(uneven.abs()) == pytest.approx(math.exp(-0.4) * abs(math.cos(angle / 2)), rel=1e-4)


def test_noise_has_its_standard_deviation_in_both_parts_and_follows_its_seed() -> None:
    noise = complex_noise((40, 40, 40), 0.3, torch.Generator().manual_seed(5))
    assert float(noise.real.std()) == pytest.approx(0.3, rel=0.02)
    assert float(noise.imag.std()) == pytest.approx(0.3, rel=0.02)
    assert torch.equal(noise, complex_noise((40, 40, 40), 0.3, torch.Generator().manual_seed(5)))


def test_a_turn_about_x_brings_the_back_towards_the_head() -> None:
    turned = rotation((20.0, 0.0, 0.0)) @ torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    assert turned.tolist() == pytest.approx([0.0, math.cos(math.radians(20)), math.sin(math.radians(20))])


def test_turns_keep_lengths_and_handedness() -> None:
    matrix = rotation((20.0, -35.0, 110.0))
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(3, dtype=torch.float64))
    assert float(torch.linalg.det(matrix)) == pytest.approx(1.0)
