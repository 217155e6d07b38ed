"""Every way to combine coils keeps the field and comes near to the sum with the true sensitivities."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline.errors import SingleEcho, UnusableInput
from pipeline.method import Method, StepContext
from pipeline.reconstruction.coil_combination.adaptive import ADAPTIVE, adaptive
from pipeline.reconstruction.coil_combination.mdi import MDI, mdi
from pipeline.reconstruction.coil_combination.offset_removal import ASPIRE, MCPC_3D_S, aspire, mcpc_3d_s
from pipeline.reconstruction.coil_combination.virtual_reference import VIRTUAL_REFERENCE, virtual_reference
from pipeline.susceptibility.phase_unwrapping.turns import wrap
from tests.pipeline.reconstruction.coil_combination.coil_images import GRID, CoilScan, coil_scan
from tests.pipeline.susceptibility.echoes import B0_TESLA

Combine = Callable[..., tuple[Tensor, Tensor]]
METHODS = (MCPC_3D_S, ASPIRE, ADAPTIVE, VIRTUAL_REFERENCE, MDI)
by_sensitivity = pytest.mark.parametrize("combine", [mcpc_3d_s, aspire, adaptive, virtual_reference])
without_offset = pytest.mark.parametrize("combine", [mcpc_3d_s, aspire, mdi])
for_one_echo = pytest.mark.parametrize("combine", [adaptive, virtual_reference])


def combined(combine: Combine, scan: CoilScan) -> tuple[Tensor, Tensor]:
    return combine(scan.phase, scan.magnitude, scan.echo_times_s, GRID)


def inner(scan: CoilScan) -> Tensor:
    """Return the ball without its rim, where a smooth sensitivity is cut."""
    mask = scan.mask
    for axis in range(3):
        mask = mask & torch.roll(scan.mask, 2, axis) & torch.roll(scan.mask, -2, axis)
    return mask


@by_sensitivity
def test_magnitude_and_noise_are_those_of_the_true_sensitivities(combine: Combine) -> None:
    scan = coil_scan(noise=0.02)
    phase, magnitude = combined(combine, scan)
    inside = inner(scan)
    ratio = (magnitude / scan.ideal.abs())[:, inside]
    assert ratio.mean() == pytest.approx(1.0, abs=0.03)
    assert ratio.std() < 0.03
    apart = wrap(phase - scan.ideal.angle())
    assert wrap(apart[1:] - apart[:1])[:, inside].square().mean().sqrt() < 0.01


@without_offset
def test_the_phase_starts_at_zero(combine: Combine) -> None:
    scan = coil_scan(noise=0.005)
    phase, _ = combined(combine, scan)
    left = wrap(phase - scan.grown())[:, inner(scan)]
    assert left.mean().abs() < 0.05
    assert left.abs().mean() < 0.1


@for_one_echo
@pytest.mark.parametrize("n_echoes", [1, 3])
def test_the_offset_that_is_left_is_smooth_and_the_same_in_all_echoes(combine: Combine, n_echoes: int) -> None:
    scan = coil_scan(echo_times_s=(0.005, 0.010, 0.015)[:n_echoes], noise=0.005)
    phase, _ = combined(combine, scan)
    inside = inner(scan)
    offset = wrap(phase - scan.grown())
    assert wrap(offset - offset[:1])[:, inside].abs().max() < 0.1
    for axis in range(3):
        both = inside & torch.roll(inside, 1, axis)
        assert wrap(offset[0] - torch.roll(offset[0], 1, axis))[both].abs().max() < 0.4


@pytest.mark.parametrize("combine", [mcpc_3d_s, aspire, adaptive, virtual_reference, mdi])
def test_a_phase_of_its_own_in_each_coil_changes_nothing_but_a_constant(combine: Combine) -> None:
    scan = coil_scan(noise=0.005)
    turned = wrap(scan.phase + torch.tensor([0.3, -2.0, 1.1, 2.9, -0.7, 0.0])[None, :, None, None, None])
    plain, magnitude = combined(combine, scan)
    other, again = combined(combine, replace(scan, phase=turned))
    apart = wrap(other - plain)[:, inner(scan)]
    assert wrap(apart - apart[0, 0]).abs().max() < 0.02
    torch.testing.assert_close(again[:, inner(scan)], magnitude[:, inner(scan)], atol=5e-3, rtol=0)


@pytest.mark.parametrize("combine", [mcpc_3d_s, aspire, adaptive, virtual_reference, mdi])
def test_one_coil_keeps_its_magnitude(combine: Combine) -> None:
    scan = coil_scan(n_coils=1, noise=0.005)
    phase, magnitude = combined(combine, scan)
    inside = inner(scan)
    torch.testing.assert_close(magnitude[:, inside], scan.magnitude[:, 0, inside], atol=0.02, rtol=0)
    differences = wrap(phase[1:] - phase[:1] - scan.phase[1:, 0] + scan.phase[:1, 0])
    assert differences[:, inside].abs().max() < 1e-3


@pytest.mark.parametrize("combine", [mcpc_3d_s, aspire, adaptive, virtual_reference, mdi])
def test_an_empty_or_misshapen_series_is_refused(combine: Combine) -> None:
    scan = coil_scan()
    with pytest.raises(UnusableInput, match="zero everywhere"):
        combine(scan.phase, torch.zeros_like(scan.magnitude), scan.echo_times_s, GRID)
    with pytest.raises(UnusableInput, match="must both be"):
        combine(scan.phase, scan.magnitude[:, 1:], scan.echo_times_s, GRID)
    with pytest.raises(UnusableInput, match="3 echoes but there are 2 echo times"):
        combine(scan.phase, scan.magnitude, scan.echo_times_s[:2], GRID)


@without_offset
def test_one_echo_is_refused_where_two_are_needed(combine: Combine) -> None:
    scan = coil_scan(echo_times_s=(0.005,))
    with pytest.raises(SingleEcho, match="two echoes"):
        combined(combine, scan)


def test_aspire_names_echo_times_without_a_whole_multiple() -> None:
    scan = coil_scan(echo_times_s=(0.004, 0.012, 0.020))
    with pytest.raises(UnusableInput, match="4, 12, 20 ms"):
        combined(aspire, scan)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_the_step_tells_its_progress_and_gives_both_images(method: Method) -> None:
    scan = coil_scan()
    told: list[float] = []
    context = StepContext(GRID, scan.echo_times_s, B0_TESLA, on_iteration=told.append)
    made = method.apply({"coil_phase": scan.phase, "coil_magnitude": scan.magnitude}, context, method.settings())
    assert set(made) == {"phase", "magnitude"}
    assert all(tuple(image.shape) == (3, *GRID.shape) for image in made.values())
    assert told == sorted(told)
    assert told[0] < 0.2
    assert told[-1] == pytest.approx(1.0)
