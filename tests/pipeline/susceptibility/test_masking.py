"""The mask holds the brain of a simulated head and leaves scalp, skull and air out, whatever the coil and the noise."""

from dataclasses import replace

import pytest
import torch
from scipy import ndimage
from torch import Tensor

from pipeline.errors import UnusableInput
from pipeline.grid import Grid
from pipeline.method import StepContext
from pipeline.simulation.phantom import adult_head
from pipeline.simulation.scanner import SMALL, SimulatedScan, acquire
from pipeline.susceptibility.masking import (
    MAGNITUDE,
    PHASE_QUALITY,
    MagnitudeSettings,
    PhaseQualitySettings,
    brain_mask,
    coarse_factors,
)


@pytest.fixture(scope="module")
def scan() -> SimulatedScan:
    return acquire(adult_head(), SMALL)


def eroded(region: Tensor, voxels: int) -> Tensor:
    return torch.from_numpy(ndimage.binary_erosion(region.numpy(), iterations=voxels))


def dilated(region: Tensor, voxels: int) -> Tensor:
    return torch.from_numpy(ndimage.binary_dilation(region.numpy(), iterations=voxels))


def assert_brain_and_little_else(mask: Tensor, brain: Tensor) -> None:
    inner = eroded(brain, 2)
    assert (mask & inner).sum() >= 0.99 * inner.sum()
    assert (mask & brain).sum() >= 0.95 * brain.sum()
    # Two voxels of 3 mm hold the fluid around the brain; scalp and face begin further out.
    assert (mask & ~dilated(brain, 2)).sum() <= 0.002 * brain.sum()


def assert_one_body_without_holes(mask: Tensor) -> None:
    assert ndimage.label(mask.numpy())[1] == 1
    assert torch.equal(torch.from_numpy(ndimage.binary_fill_holes(mask.numpy())), mask)


def mask_of(scan: SimulatedScan, signal: Tensor) -> Tensor:
    return brain_mask(signal.abs(), signal.angle(), scan.acquisition.grid)[0]


def signal_of(scan: SimulatedScan) -> Tensor:
    return torch.polar(scan.acquisition.magnitude, scan.acquisition.phase)


def test_the_brain_is_found_whole_in_one_body_without_holes(scan: SimulatedScan) -> None:
    mask = mask_of(scan, signal_of(scan))
    assert_brain_and_little_else(mask, scan.brain)
    assert_one_body_without_holes(mask)


def test_one_echo_is_enough(scan: SimulatedScan) -> None:
    assert_brain_and_little_else(mask_of(scan, signal_of(scan)[:1]), scan.brain)


@pytest.mark.parametrize("snr", [20.0, 8.0])
def test_noise_does_not_open_the_mask(scan: SimulatedScan, snr: float) -> None:
    signal = signal_of(scan)
    level = float(scan.acquisition.magnitude[0][scan.brain].mean()) / snr
    chance = torch.Generator().manual_seed(4)
    noise = torch.complex(*(level * torch.randn(signal.shape, generator=chance) for _ in range(2)))
    mask = mask_of(scan, signal + noise)
    assert_brain_and_little_else(mask, scan.brain)
    assert_one_body_without_holes(mask)


@pytest.mark.parametrize("ratio", [3.0, 8.0])
def test_a_bright_rim_of_surface_coils_does_not_pull_the_mask_outwards(scan: SimulatedScan, ratio: float) -> None:
    z, y, x = (torch.linspace(-1, 1, length) for length in scan.brain.shape)
    square = z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2
    assert_brain_and_little_else(mask_of(scan, signal_of(scan) * ratio ** (square - 0.5)), scan.brain)


def test_a_scalp_three_times_as_bright_stays_out(scan: SimulatedScan) -> None:
    outside = ~dilated(scan.brain, 2)
    assert_brain_and_little_else(mask_of(scan, signal_of(scan) * (1 + 2 * outside)), scan.brain)


def test_air_stored_as_zeros_is_no_tissue(scan: SimulatedScan) -> None:
    signal = signal_of(scan)
    air = signal[0].abs() < 0.1 * signal[0].abs().max()
    assert_brain_and_little_else(mask_of(scan, torch.where(air, 0, signal)), scan.brain)


def test_a_brain_already_stripped_of_its_scalp_is_kept_whole(scan: SimulatedScan) -> None:
    assert_brain_and_little_else(mask_of(scan, signal_of(scan) * scan.brain), scan.brain)


def test_a_slab_through_the_middle_keeps_its_brain(scan: SimulatedScan) -> None:
    part = slice(20, 38)
    signal, brain = signal_of(scan)[:, part], scan.brain[part]
    size = scan.acquisition.grid.voxel_size_mm
    mask, _ = brain_mask(signal.abs(), signal.angle(), Grid((18, *brain.shape[1:]), size))
    assert (mask & brain).sum() >= 0.97 * brain.sum()
    assert (mask & ~dilated(brain, 2)).sum() <= 0.002 * brain.sum()


def test_a_volume_filled_by_brain_is_masked_whole() -> None:
    chance = torch.Generator().manual_seed(6)
    magnitude = 100 + torch.randn(2, 20, 24, 24, generator=chance)
    phase = 0.02 * torch.randn(2, 20, 24, 24, generator=chance)
    mask, quality = brain_mask(magnitude, phase, Grid((20, 24, 24), (1.0, 1.0, 1.0)))
    assert mask.all()
    assert quality.min() > 0.9


def test_a_dark_focus_inside_the_brain_leaves_no_hole(scan: SimulatedScan) -> None:
    signal = signal_of(scan).clone()
    bleed = torch.zeros_like(scan.brain)
    bleed[30:33, 34:37, 28:31] = True
    assert (bleed & ~scan.brain).sum() == 0
    signal[:, bleed] *= 1e-3
    assert mask_of(scan, signal)[bleed].all()


def test_the_scale_of_the_magnitude_does_not_matter(scan: SimulatedScan) -> None:
    signal = signal_of(scan)
    assert torch.equal(mask_of(scan, 1e6 * signal), mask_of(scan, signal))


def test_the_step_gives_mask_and_quality(scan: SimulatedScan) -> None:
    signal = signal_of(scan)
    context = StepContext(grid=scan.acquisition.grid, echo_times_s=SMALL.echo_times_s)
    given = {"magnitude": signal.abs(), "phase": signal.angle()}
    result = PHASE_QUALITY.run(given, context, PHASE_QUALITY.settings())
    assert tuple(result) == PHASE_QUALITY.outputs
    assert result["mask"].dtype == torch.bool
    assert result["quality"].shape == scan.brain.shape


def test_the_decay_of_the_echoes_tells_the_fluid_around_the_brain(scan: SimulatedScan) -> None:
    signal, grid = signal_of(scan), scan.acquisition.grid
    with_fluid, by_signal, by_decay = (
        brain_mask(signal.abs(), signal.angle(), grid, PhaseQualitySettings(peel_mm=depth), times)[0]
        for depth, times in ((0.0, ()), (4.0, ()), (4.0, SMALL.echo_times_s))
    )
    outside = [int((mask & ~scan.brain).sum()) for mask in (with_fluid, by_signal, by_decay)]
    assert outside[1] < 0.9 * outside[0]
    assert outside[2] <= outside[1]
    assert_brain_and_little_else(by_decay, scan.brain)
    assert_one_body_without_holes(by_decay)


def test_a_decay_that_noise_hides_takes_nothing_off(scan: SimulatedScan) -> None:
    signal, grid = signal_of(scan), scan.acquisition.grid
    close_together = (0.0030, 0.0031, 0.0032)
    masks = [
        brain_mask(signal.abs() / signal.abs().mean(dim=(1, 2, 3), keepdim=True), signal.angle(), grid, None, times)[0]
        for times in ((), close_together)
    ]
    assert torch.equal(*masks)


def test_erosion_is_in_millimetres_and_starts_at_the_border_of_the_image_too() -> None:
    magnitude = torch.full((1, 20, 24, 24), 100.0)
    grid = Grid((20, 24, 24), (3.0, 1.0, 1.5))
    mask, _ = brain_mask(magnitude, torch.zeros_like(magnitude), grid, PhaseQualitySettings(erosion_mm=3.0))
    expected = torch.zeros(20, 24, 24, dtype=torch.bool)
    expected[1:-1, 3:-3, 2:-2] = True
    assert torch.equal(mask, expected)


def test_an_erosion_that_leaves_nothing_is_refused() -> None:
    magnitude = torch.full((1, 20, 24, 24), 100.0)
    with pytest.raises(UnusableInput, match="leaves nothing"):
        brain_mask(magnitude, None, Grid((20, 24, 24), (1.0, 1.0, 1.0)), MagnitudeSettings(erosion_mm=40.0))


def test_the_magnitude_alone_finds_the_brain(scan: SimulatedScan) -> None:
    context = StepContext(grid=scan.acquisition.grid, echo_times_s=SMALL.echo_times_s)
    made = MAGNITUDE.apply({"magnitude": scan.acquisition.magnitude}, context, MAGNITUDE.settings())
    assert_brain_and_little_else(made["mask"], scan.brain)
    assert (made["quality"] == 1).all()


def test_one_magnitude_image_serves_all_echoes(scan: SimulatedScan) -> None:
    context = StepContext(grid=scan.acquisition.grid, echo_times_s=SMALL.echo_times_s)
    given = {"magnitude": scan.acquisition.magnitude[0], "phase": scan.acquisition.phase}
    made = PHASE_QUALITY.apply(given, context, PHASE_QUALITY.settings())
    assert_brain_and_little_else(made["mask"], scan.brain)


def test_images_without_signal_are_refused() -> None:
    empty = torch.zeros(1, 20, 20, 20)
    with pytest.raises(UnusableInput, match="zero everywhere"):
        brain_mask(empty, empty, Grid((20, 20, 20), (1.0, 1.0, 1.0)))


def test_images_of_nothing_but_noise_are_refused() -> None:
    chance = torch.Generator().manual_seed(7)
    noise = torch.complex(*(torch.randn(2, 24, 24, 24, generator=chance) for _ in range(2)))
    with pytest.raises(UnusableInput, match="No body of tissue"):
        brain_mask(noise.abs(), noise.angle(), Grid((24, 24, 24), (2.0, 2.0, 2.0)), PhaseQualitySettings())


@pytest.mark.parametrize("rounding", [1e-10, 1e-6, -1e-10, -1e-6])
def test_rounding_of_a_voxel_size_moves_no_voxel_of_the_mask(scan: SimulatedScan, rounding: float) -> None:
    images, grid = scan.acquisition, scan.acquisition.grid
    size = (grid.voxel_size_mm[0] * (1 + rounding), *grid.voxel_size_mm[1:])
    expected, _ = brain_mask(images.magnitude, images.phase, grid, None, images.echo_times_s)
    found, _ = brain_mask(images.magnitude, images.phase, replace(grid, voxel_size_mm=size), None, images.echo_times_s)
    assert (found != expected).sum() <= 1


@pytest.mark.parametrize("step", [0.48, 0.96, 1.6, 4.8])
def test_rounding_of_a_voxel_size_keeps_the_grid_on_which_the_scalp_is_told_apart(step: float) -> None:
    assert coarse_factors((step, step, step)) == coarse_factors((step * (1 + 1e-9), step * (1 - 1e-9), step))
