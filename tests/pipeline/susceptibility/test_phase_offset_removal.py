"""MCPC-3D-S finds the smooth phase at echo time zero and leaves the rest."""

import math
from dataclasses import replace

import pytest
import torch

from pipeline.errors import SingleEcho, UnusableInput
from pipeline.method import NoSettings, StepContext
from pipeline.susceptibility.phase_offset_removal import (
    MCPC_3D_S,
    NONE,
    EchoPair,
    OffsetSettings,
    aspire,
    mcpc_3d_s,
    signal_mask,
    whole_echo_pair,
)
from pipeline.susceptibility.phase_unwrapping.turns import wrap
from pipeline.units import radians_per_ppm
from tests.pipeline.susceptibility.echoes import B0_TESLA, GRID, Echoes, echoes

SHARP = OffsetSettings(smoothing_mm=1.0)


def left_over(scan: Echoes, settings: OffsetSettings = SHARP) -> torch.Tensor:
    """Return the phase [rad] that stays in each echo beside the field's own, inside the ball."""
    corrected, _ = mcpc_3d_s(scan.phase, scan.magnitude, scan.echo_times_s, GRID, settings)
    grown = torch.stack([radians_per_ppm(time, B0_TESLA) * scan.field for time in scan.echo_times_s])
    return wrap(corrected - grown)[:, scan.mask]


@pytest.mark.parametrize(
    "echo_times_s", [(0.005, 0.010), (0.004, 0.009, 0.014), (0.003, 0.0071, 0.0125, 0.02)], ids=len
)
def test_a_smooth_offset_is_removed_from_every_echo(echo_times_s: tuple[float, ...]) -> None:
    scan = echoes(echo_times_s=echo_times_s, offset_rad=1.5, noise=0.005)
    before = torch.stack(
        [
            phase - radians_per_ppm(time, B0_TESLA) * scan.field
            for phase, time in zip(scan.phase, echo_times_s, strict=True)
        ]
    )
    assert wrap(before)[:, scan.mask].abs().mean() > 0.5
    left = left_over(scan)
    assert left.abs().mean() < 0.06
    assert left.abs().max() < 0.4


def test_two_echoes_determine_the_offset_exactly() -> None:
    scan = echoes(echo_times_s=(0.0047, 0.0121), offset_rad=1.2, noise=0.0)
    _, offset = mcpc_3d_s(scan.phase, scan.magnitude, scan.echo_times_s, GRID, OffsetSettings(smoothing_mm=0.0))
    assert wrap(offset - scan.offset)[scan.mask].abs().max() < 1e-3


def test_the_offset_found_is_the_offset_taken() -> None:
    scan = echoes(noise=0.02)
    corrected, offset = mcpc_3d_s(scan.phase, scan.magnitude, scan.echo_times_s, GRID)
    assert wrap(corrected + offset - scan.phase).abs().max() < 1e-5
    assert corrected.abs().max() <= math.pi + 1e-6


def test_a_mask_keeps_foreign_signal_from_shaping_the_offset() -> None:
    scan = echoes(noise=0.0, offset_rad=1.0)
    foreign = torch.zeros_like(scan.mask)
    foreign[:, :3] = True
    phase = torch.where(foreign, scan.phase + 2.0, scan.phase)
    magnitude = torch.where(foreign, 3.0, scan.magnitude)
    settings = OffsetSettings(smoothing_mm=4.0)
    alone = mcpc_3d_s(scan.phase, scan.magnitude, scan.echo_times_s, GRID, settings, scan.mask)[1]
    masked = mcpc_3d_s(phase, magnitude, scan.echo_times_s, GRID, settings, scan.mask & ~foreign)[1]
    near = scan.mask & ~foreign
    assert wrap(masked - alone)[near].abs().max() < 0.2


def test_one_echo_is_refused_with_the_method_that_takes_it() -> None:
    scan = echoes(echo_times_s=(0.01,))
    with pytest.raises(SingleEcho, match="choose phase offset removal `none`"):
        mcpc_3d_s(scan.phase, scan.magnitude, scan.echo_times_s, GRID)


def test_images_without_signal_are_refused() -> None:
    scan = echoes()
    with pytest.raises(UnusableInput, match="zero everywhere"):
        mcpc_3d_s(scan.phase, torch.zeros_like(scan.magnitude), scan.echo_times_s, GRID)


def test_images_on_another_grid_are_refused() -> None:
    scan = echoes()
    with pytest.raises(UnusableInput, match="must both be"):
        mcpc_3d_s(scan.phase, scan.magnitude, scan.echo_times_s, replace(GRID, shape=(20, 28, 25)))


def test_the_step_gives_what_the_function_gives() -> None:
    scan = echoes(noise=0.02)
    context = StepContext(grid=GRID, echo_times_s=scan.echo_times_s, b0_tesla=B0_TESLA)
    given = {"phase": scan.phase, "magnitude": scan.magnitude}
    result = MCPC_3D_S.run(given, context, MCPC_3D_S.settings())
    assert tuple(result) == MCPC_3D_S.outputs
    assert torch.equal(result["phase"], mcpc_3d_s(scan.phase, scan.magnitude, scan.echo_times_s, GRID)[0])


@pytest.mark.parametrize(
    ("echo_times_s", "pair"),
    [
        ((0.005, 0.010, 0.015), EchoPair(0, 1, 1.0)),
        ((0.006, 0.009, 0.012), EchoPair(0, 2, 1.0)),
        ((0.010, 0.015), EchoPair(0, 1, 2.0)),
    ],
)
def test_aspire_takes_the_echoes_with_the_smallest_whole_multiple(
    echo_times_s: tuple[float, ...], pair: EchoPair
) -> None:
    assert whole_echo_pair(echo_times_s) == pair
    assert not pair.needs_unwrapping


@pytest.mark.parametrize("echo_times_s", [(0.005, 0.010, 0.015), (0.010, 0.015)])
def test_aspire_removes_the_offset_without_unwrapping(echo_times_s: tuple[float, ...]) -> None:
    scan = echoes(echo_times_s=echo_times_s, offset_rad=1.5, noise=0.005, field_ppm=1.5)
    corrected, _ = aspire(scan.phase, scan.magnitude, scan.echo_times_s, GRID, SHARP)
    grown = torch.stack([radians_per_ppm(time, B0_TESLA) * scan.field for time in echo_times_s])
    left = wrap(corrected - grown)[:, scan.mask]
    assert left.abs().mean() < 0.06


def test_aspire_names_the_echo_times_that_do_not_match() -> None:
    scan = echoes(echo_times_s=(0.004, 0.012, 0.020))
    with pytest.raises(UnusableInput, match=r"4, 12, 20 ms.*mcpc_3d_s"):
        aspire(scan.phase, scan.magnitude, scan.echo_times_s, GRID)
    with pytest.raises(SingleEcho, match="two echoes"):
        whole_echo_pair((0.004,))


def test_the_offset_does_not_depend_on_the_voxel_size_of_the_blocks() -> None:
    scan = echoes(noise=0.0, offset_rad=1.0)
    fine = replace(GRID, voxel_size_mm=(1.0, 0.5, 0.75))
    joined = mcpc_3d_s(scan.phase, scan.magnitude, scan.echo_times_s, fine, OffsetSettings(smoothing_mm=4.0))[1]
    alone = mcpc_3d_s(scan.phase, scan.magnitude, scan.echo_times_s, GRID, OffsetSettings(smoothing_mm=8.0))[1]
    assert wrap(joined - alone)[scan.mask].abs().max() < 0.05


def test_none_leaves_the_phase_alone() -> None:
    scan = echoes(echo_times_s=(0.01,))
    result = NONE.run({"phase": scan.phase}, StepContext(grid=GRID, echo_times_s=(0.01,)), NoSettings())
    assert torch.equal(result["phase"], scan.phase)


def test_the_signal_mask_takes_a_part_of_the_bright_signal() -> None:
    magnitude = torch.zeros(10, 10, 10)
    magnitude[2:8, 2:8, 2:8] = 100.0
    magnitude[0, 0, 0] = 4.0
    magnitude[0, 0, 1] = 6.0
    chosen = signal_mask(magnitude, 0.05)
    assert int(chosen.sum()) == 6**3 + 1
    assert chosen[0, 0, 1]
