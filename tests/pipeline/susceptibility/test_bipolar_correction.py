"""The phase between odd and even echoes is found where it is, and nothing is changed where it is not."""

import math
from dataclasses import replace

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import NoSettings, StepContext
from pipeline.susceptibility.bipolar_correction import LINEAR, NONE, LinearSettings, linear
from pipeline.susceptibility.phase_unwrapping.turns import wrap
from tests.pipeline.susceptibility.echoes import B0_TESLA, GRID, SHAPE, Echoes, echoes

SPACINGS = pytest.mark.parametrize(
    "echo_times_s",
    [(0.004, 0.009, 0.014), (0.004, 0.009, 0.014, 0.019, 0.024), (0.003, 0.0071, 0.0125, 0.02)],
    ids=["three echoes", "five echoes", "unequal spacing"],
)
ALWAYS = LinearSettings(apply="always")


def plane(constant: float, slope: tuple[float, float, float], grid: Grid = GRID) -> torch.Tensor:
    """Return a phase [rad] that rises by so much per millimetre from the middle of the grid."""
    phase = torch.full(grid.shape, constant)
    for axis, (length, size, rise) in enumerate(zip(grid.shape, grid.voxel_size_mm, slope, strict=True)):
        shape = [1, 1, 1]
        shape[axis] = -1
        phase += (rise * size * (torch.arange(length) - (length - 1) / 2)).reshape(shape)
    return phase


def bipolar(scan: Echoes, alternating: torch.Tensor) -> torch.Tensor:
    """Return the scan's phase with a phase added to odd and taken from even echoes, half of it each."""
    signs = torch.tensor([1.0, -1.0]).repeat(len(scan.echo_times_s))[: len(scan.echo_times_s)]
    return wrap(scan.phase + 0.5 * signs[:, None, None, None] * alternating)


@SPACINGS
@pytest.mark.parametrize("constant", [0.4, -1.1])
def test_a_plane_between_odd_and_even_echoes_is_removed(echo_times_s: tuple[float, ...], constant: float) -> None:
    scan = echoes(echo_times_s=echo_times_s, noise=0.02, offset_rad=1.0)
    alternating = plane(constant, (0.004, -0.01, 0.03))
    corrected, found = linear(bipolar(scan, alternating), scan.magnitude, echo_times_s, GRID, mask=scan.mask)
    assert (found.on(GRID, scan.phase) - alternating)[scan.mask].abs().max() < 0.02
    assert wrap(corrected - scan.phase)[:, scan.mask].abs().max() < 0.02
    assert found.slope == pytest.approx((0.004, -0.01, 0.03), abs=1e-3)


def test_a_plane_that_wraps_across_the_head_is_found_too() -> None:
    scan = echoes(noise=0.02)
    alternating = plane(0.2, (0.0, 0.0, 0.35))
    corrected, _ = linear(bipolar(scan, alternating), scan.magnitude, scan.echo_times_s, GRID)
    assert wrap(corrected - scan.phase)[:, scan.mask].abs().max() < 0.03


@SPACINGS
@pytest.mark.parametrize("noise", [0.01, 0.08])
def test_echoes_that_were_all_read_in_one_direction_are_left_untouched(
    echo_times_s: tuple[float, ...], noise: float
) -> None:
    scan = echoes(echo_times_s=echo_times_s, noise=noise, offset_rad=1.0)
    corrected, found = linear(scan.phase, scan.magnitude, echo_times_s, GRID)
    assert torch.equal(corrected, scan.phase)
    assert found.root_mean_square < 0.03


def test_forced_on_such_echoes_it_stays_within_the_noise() -> None:
    scan = echoes(noise=0.02)
    corrected, found = linear(scan.phase, scan.magnitude, scan.echo_times_s, GRID, ALWAYS, scan.mask)
    change = wrap(corrected - scan.phase)[:, scan.mask].abs().max()
    assert 0 < change < 0.005
    assert found.root_mean_square < 0.01


def test_a_phase_of_many_errors_but_no_size_is_left_alone_unless_asked_for() -> None:
    scan = echoes(noise=0.005)
    phase = bipolar(scan, plane(0.02, (0.0, 0.0, 0.0)))
    untouched, found = linear(phase, scan.magnitude, scan.echo_times_s, GRID)
    assert torch.equal(untouched, phase)
    assert found.errors > 5
    corrected, _ = linear(phase, scan.magnitude, scan.echo_times_s, GRID, replace(ALWAYS, least_phase_rad=0.0))
    assert wrap(corrected - scan.phase)[:, scan.mask].abs().max() < 0.005


def test_along_a_known_readout_axis_only_that_slope_is_fitted() -> None:
    scan = echoes(noise=0.02)
    phase = bipolar(scan, plane(0.5, (0.0, 0.02, 0.0)))
    _, found = linear(phase, scan.magnitude, scan.echo_times_s, GRID, LinearSettings(readout_axis="y"))
    assert found.slope[1] == pytest.approx(0.02, abs=1e-3)
    assert found.slope[0] == found.slope[2] == 0.0


def test_with_equal_spacing_half_a_turn_is_the_same_as_a_constant_field() -> None:
    scan = echoes(noise=0.0)
    phase = bipolar(scan, plane(math.pi - 0.3, (0.0, 0.0, 0.0)))
    _, found = linear(phase, scan.magnitude, scan.echo_times_s, GRID)
    assert found.constant == pytest.approx(-0.3, abs=0.01)


def test_signal_outside_the_mask_does_not_shape_the_plane() -> None:
    scan = echoes(noise=0.01)
    phase = bipolar(scan, plane(0.5, (0.0, 0.0, 0.01)))
    foreign = torch.zeros(SHAPE, dtype=torch.bool)
    foreign[:4] = True
    spoiled = torch.where(foreign, wrap(phase * 3 + 1), phase)
    plain = linear(phase, scan.magnitude, scan.echo_times_s, GRID, mask=scan.mask & ~foreign)[1]
    other = linear(spoiled, scan.magnitude, scan.echo_times_s, GRID, mask=scan.mask & ~foreign)[1]
    assert plain == other


@pytest.mark.parametrize("n_echoes", [1, 2])
def test_fewer_than_three_echoes_are_refused_with_the_method_that_takes_them(n_echoes: int) -> None:
    scan = echoes(echo_times_s=(0.005, 0.010)[:n_echoes])
    with pytest.raises(UnusableInput, match=f"three echoes or more.*there are {n_echoes}.*`none`"):
        linear(scan.phase, scan.magnitude, scan.echo_times_s, GRID)


def test_images_of_other_shapes_are_refused() -> None:
    scan = echoes()
    with pytest.raises(UnusableInput, match="must both be"):
        linear(scan.phase, scan.magnitude[:, 1:], scan.echo_times_s, GRID)


def test_the_step_gives_what_the_function_gives() -> None:
    scan = echoes(noise=0.02)
    phase = bipolar(scan, plane(0.5, (0.0, 0.0, 0.01)))
    context = StepContext(grid=GRID, echo_times_s=scan.echo_times_s, b0_tesla=B0_TESLA)
    result = LINEAR.run({"phase": phase, "magnitude": scan.magnitude}, context, LINEAR.settings())
    assert torch.equal(result["phase"], linear(phase, scan.magnitude, scan.echo_times_s, GRID)[0])
    assert torch.equal(NONE.run({"phase": phase}, context, NoSettings())["phase"], phase)
