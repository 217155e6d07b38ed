"""The simulated scan: its images follow from the truth that comes with it."""

import math
from dataclasses import replace

import pytest
import torch

from pipeline.simulation.phantom import Head
from pipeline.simulation.scanner import SMALL, Protocol, SimulatedScan, acquire
from pipeline.units import radians_per_ppm

OBLIQUE = replace(SMALL, rotation_deg=(20.0, 0.0, 0.0))


@pytest.fixture(scope="module")
def oblique(head: Head) -> SimulatedScan:
    return acquire(head, OBLIQUE)


def centre_mm(scan: SimulatedScan, label: int) -> torch.Tensor:
    """Return the centre of a labelled structure in patient coordinates."""
    z, y, x = (scan.labels == label).nonzero().double().mean(0)
    row, column, slices = (torch.tensor(direction, dtype=torch.float64) for direction in scan.directions)
    dz, dy, dx = scan.acquisition.grid.voxel_size_mm
    return torch.tensor(scan.first_position_mm, dtype=torch.float64) + x * dx * row + y * dy * column + z * dz * slices


def test_phase_is_wrapped_and_differs_between_echoes_by_the_total_field(scan: SimulatedScan) -> None:
    images = scan.acquisition
    assert float(images.phase.abs().max()) <= math.pi
    elapsed = images.echo_times_s[1] - images.echo_times_s[0]
    expected = scan.total_field * radians_per_ppm(elapsed, images.b0_tesla)
    difference = torch.polar(torch.ones_like(expected), images.phase[1] - images.phase[0] - expected).angle()
    assert float(difference[scan.brain].abs().median()) < 0.05


def test_the_first_echo_carries_a_phase_offset_that_is_no_field(scan: SimulatedScan) -> None:
    images = scan.acquisition
    field_phase = scan.total_field * radians_per_ppm(images.echo_times_s[0], images.b0_tesla)
    offset = torch.polar(torch.ones_like(field_phase), images.phase[0] - field_phase)[scan.brain]
    assert float(offset.angle().median().abs()) > 0.2
    assert float(offset.mean().abs()) < 0.99


def test_noise_has_the_level_the_protocol_asks_for(head: Head, scan: SimulatedScan) -> None:
    other = acquire(head, replace(SMALL, seed=1))
    assert torch.equal(other.susceptibility, scan.susceptibility)
    images = [torch.polar(one.acquisition.magnitude, one.acquisition.phase) for one in (scan, other)]
    noise = (images[0] - images[1])[:, scan.brain] / math.sqrt(2)
    expected = float(scan.acquisition.magnitude[0][scan.brain].mean()) / SMALL.snr
    for echo in noise:
        assert float(echo.real.std()) == pytest.approx(expected, rel=0.03)


def test_the_same_protocol_gives_the_same_images(head: Head, scan: SimulatedScan) -> None:
    again = acquire(head, SMALL).acquisition
    assert torch.equal(again.magnitude, scan.acquisition.magnitude)
    assert torch.equal(again.phase, scan.acquisition.phase)


def test_an_oblique_volume_knows_where_b0_and_the_patient_are(scan: SimulatedScan, oblique: SimulatedScan) -> None:
    tilt = math.radians(20.0)
    assert oblique.acquisition.grid.b0_direction == pytest.approx((math.cos(tilt), math.sin(tilt), 0.0))
    label = next(label for label, name in scan.label_names.items() if name == "Left putamen")
    torch.testing.assert_close(centre_mm(scan, label), centre_mm(oblique, label), atol=0.7, rtol=0)
    assert centre_mm(scan, label)[0] > 20


def test_a_tilt_changes_the_grid_and_not_the_head(scan: SimulatedScan, oblique: SimulatedScan) -> None:
    for label, name in scan.label_names.items():
        counts = [int((one.labels == label).sum()) for one in (scan, oblique)]
        if min(counts) > 60:
            values = [float(one.susceptibility[one.labels == label].mean()) for one in (scan, oblique)]
            assert values[0] == pytest.approx(values[1], abs=0.004), name
    spreads = [float(one.local_field[one.brain].std()) for one in (scan, oblique)]
    assert spreads[0] == pytest.approx(spreads[1], rel=0.05)


def test_the_truth_is_zero_outside_the_brain_and_the_labels_lie_inside(scan: SimulatedScan) -> None:
    near = torch.nn.functional.max_pool3d(scan.brain[None].float(), 3, 1, 1)[0] > 0
    assert float(scan.susceptibility[~near].abs().max()) == 0.0
    assert float(scan.susceptibility[scan.brain].abs().mean()) > 0.005
    assert bool(scan.brain[scan.labels > 0].all())


def test_magnitude_decays_and_dark_bone_surrounds_the_brain(scan: SimulatedScan) -> None:
    images = scan.acquisition.magnitude
    first, last = (float(images[echo][scan.brain].mean()) for echo in (0, -1))
    assert last < 0.95 * first
    shell = torch.nn.functional.max_pool3d(scan.brain[None].float(), 5, 1, 2)[0].bool() & ~scan.brain
    assert float(images[0][shell].median()) < 0.6 * first


def test_progress_is_told_and_ends_at_one(head: Head) -> None:
    told: list[float] = []
    acquire(head, replace(SMALL, shape=(20, 24, 20), voxel_size_mm=(6.0, 6.0, 6.0), finest_mm=3.0), told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) > 4


@pytest.mark.parametrize(
    ("voxel", "expected"), [((1.2, 1.2, 1.2), (2, 2, 2)), ((2.0, 1.0, 1.0), (3, 2, 2)), ((0.5, 0.5, 0.5), (2, 2, 2))]
)
def test_every_voxel_is_averaged_from_finer_samples(voxel, expected) -> None:
    assert Protocol(shape=(8, 8, 8), voxel_size_mm=voxel).samples_per_voxel == expected
