"""Laws that every unwrapping obeys: whole turns only, nothing outside the mask, the true phase where it is smooth."""

import math

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.method import Method, StepContext
from pipeline.methods import STEPS
from pipeline.susceptibility.phase_unwrapping.turns import TURN
from pipeline.units import radians_per_ppm
from tests.pipeline.susceptibility.echoes import B0_TESLA, GRID, Echoes, echoes

ALL = tuple(STEPS["phase_unwrapping"].values())
METHODS = pytest.mark.parametrize("method", ALL, ids=lambda method: method.name)


def unwrap(method: Method, scan: Echoes, phase: torch.Tensor | None = None) -> torch.Tensor:
    context = StepContext(grid=GRID, echo_times_s=scan.echo_times_s, b0_tesla=B0_TESLA)
    inputs = {
        "phase": scan.phase if phase is None else phase,
        "magnitude": scan.magnitude,
        "mask": scan.mask,
    }
    return method.run(inputs, context, method.settings())["unwrapped_phase"]


@METHODS
@pytest.mark.parametrize("noise", [0.0, 0.1, 1.0])
def test_unwrapping_adds_whole_turns_only_even_to_noise(method: Method, noise: float) -> None:
    scan = echoes(noise=noise, offset_rad=0.0, field_ppm=1.0)
    unwrapped = unwrap(method, scan)
    turns = torch.round((unwrapped - scan.phase) / TURN)
    assert turns[:, scan.mask].abs().max() >= 1
    assert torch.equal(unwrapped[:, scan.mask], (scan.phase + TURN * turns)[:, scan.mask])


@METHODS
def test_a_smooth_phase_comes_back_as_it_was(method: Method) -> None:
    scan = echoes(noise=0.01, offset_rad=0.0, field_ppm=1.2)
    unwrapped = unwrap(method, scan)
    for image, time in zip(unwrapped, scan.echo_times_s, strict=True):
        truth = radians_per_ppm(time, B0_TESLA) * scan.field
        assert truth[scan.mask].abs().max() > 2
        assert (image - truth)[scan.mask].abs().max() < 0.2


@METHODS
def test_whole_turns_added_to_the_input_change_nothing(method: Method) -> None:
    scan = echoes(noise=0.02, offset_rad=0.0, field_ppm=0.8)
    turned = scan.phase + TURN * torch.randint(-2, 3, scan.phase.shape, generator=torch.Generator().manual_seed(1))
    difference = unwrap(method, scan, turned) - unwrap(method, scan)
    assert difference[:, scan.mask].abs().max() < 1e-4


@METHODS
def test_outside_the_mask_the_unwrapped_phase_is_zero(method: Method) -> None:
    scan = echoes(noise=0.05)
    assert not unwrap(method, scan)[:, ~scan.mask].any()


@METHODS
def test_one_echo_alone_is_unwrapped_too(method: Method) -> None:
    scan = echoes(echo_times_s=(0.02,), offset_rad=0.0, field_ppm=0.9, noise=0.01)
    truth = radians_per_ppm(0.02, B0_TESLA) * scan.field
    error = (unwrap(method, scan)[0] - truth)[scan.mask]
    # One echo leaves a whole turn open.
    assert (error - TURN * torch.round(error.median() / TURN)).abs().max() < 0.2


@METHODS
def test_the_inputs_are_left_as_they_were(method: Method) -> None:
    scan = echoes(noise=0.05)
    before = scan.phase.clone(), scan.magnitude.clone(), scan.mask.clone()
    unwrap(method, scan)
    assert torch.equal(before[0], scan.phase)
    assert torch.equal(before[1], scan.magnitude)
    assert torch.equal(before[2], scan.mask)


@METHODS
def test_the_same_input_gives_the_same_bits(method: Method) -> None:
    scan = echoes(noise=0.2)
    assert torch.equal(unwrap(method, scan), unwrap(method, scan))


@METHODS
def test_an_empty_mask_is_refused_with_what_to_do(method: Method) -> None:
    scan = echoes()
    context = StepContext(grid=GRID, echo_times_s=scan.echo_times_s)
    inputs = {"phase": scan.phase, "magnitude": scan.magnitude, "mask": torch.zeros_like(scan.mask)}
    with pytest.raises(UnusableInput, match="check the magnitude or give a mask"):
        method.run(inputs, context, method.settings())


@METHODS
def test_a_missing_echo_time_is_refused(method: Method) -> None:
    scan = echoes()
    context = StepContext(grid=GRID, echo_times_s=scan.echo_times_s[:-1])
    inputs = {"phase": scan.phase, "magnitude": scan.magnitude, "mask": scan.mask}
    with pytest.raises(UnusableInput, match="4 echoes need as many echo times; 3"):
        method.run(inputs, context, method.settings())


def test_a_vortex_in_the_phase_still_gives_whole_turns() -> None:
    # No unwrapping is right everywhere here, but each must stay congruent and finite.
    scan = echoes(echo_times_s=(0.01,), offset_rad=0.0)
    _, y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in scan.mask.shape), indexing="ij")
    vortex = torch.atan2(y, x)[None]
    for method in ALL:
        turns = (unwrap(method, scan, vortex) - vortex)[:, scan.mask] / TURN
        assert (turns - turns.round()).abs().max() < 1e-6


@METHODS
def test_unwrapping_tells_how_far_it_is(method: Method) -> None:
    scan = echoes()
    heard: list[float] = []
    context = StepContext(grid=GRID, echo_times_s=scan.echo_times_s, on_iteration=heard.append)
    inputs = {"phase": scan.phase, "magnitude": scan.magnitude, "mask": scan.mask}
    method.run(inputs, context, method.settings())
    assert heard == sorted(heard)
    assert heard[0] == 0.0
    assert heard[-1] == 1.0


@METHODS
def test_each_island_of_the_mask_is_unwrapped_and_its_echoes_lie_on_one_line(method: Method) -> None:
    scan = echoes(noise=0.005, offset_rad=0.0, field_ppm=1.5)
    columns = torch.arange(scan.mask.shape[2])
    mask = scan.mask & (columns != 11)
    context = StepContext(grid=GRID, echo_times_s=scan.echo_times_s, b0_tesla=B0_TESLA)
    inputs = {"phase": scan.phase, "magnitude": scan.magnitude, "mask": mask}
    unwrapped = method.run(inputs, context, method.settings())["unwrapped_phase"]
    for image, time in zip(unwrapped, scan.echo_times_s, strict=True):
        truth = radians_per_ppm(time, B0_TESLA) * scan.field
        assert truth[mask].abs().max() > 2
        assert (image - truth)[mask].abs().max() < 0.2


@METHODS
def test_what_lies_outside_the_mask_does_not_matter(method: Method) -> None:
    scan = echoes(noise=0.05)
    disturbed = torch.where(scan.mask, scan.phase, 2.5)
    assert torch.equal(unwrap(method, scan, disturbed), unwrap(method, scan))


@METHODS
def test_a_late_echo_too_steep_to_follow_is_led_by_the_early_ones(method: Method) -> None:
    scan = echoes(echo_times_s=(0.002, 0.006, 0.018, 0.04), noise=0.01, offset_rad=0.0, field_ppm=6.0)
    steps = radians_per_ppm(0.04, B0_TESLA) * scan.field.diff(dim=0)
    assert steps.abs().max() > math.pi
    image = unwrap(method, scan)[-1]
    assert (image - radians_per_ppm(0.04, B0_TESLA) * scan.field)[scan.mask].abs().max() < 1.0
