"""Distortion: where the field displaces signal, its own phase tells how far, and it is brought back."""

from dataclasses import replace

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.reconstruction.epi import sort_epi
from pipeline.reconstruction.epi_distortion import (
    Distortion,
    displacement,
    find_distortion,
    found_places,
    interpolated,
    straightened,
    without_distortion,
)
from pipeline.simulation.raw_epi import acquire_epi
from tests.pipeline.reconstruction.epi_scans import FAULTLESS, GRID, coils, combined, round_head

SECONDS_PER_LINE = 0.25e-3


def test_cubics_between_lines_give_back_smooth_values() -> None:
    y = torch.arange(40.0)[:, None].expand(2, 40, 5)
    places = y + 0.37
    torch.testing.assert_close(
        interpolated(torch.sin(y / 5), places)[:, 2:-2], torch.sin(places / 5)[:, 2:-2], atol=1e-3, rtol=0
    )
    torch.testing.assert_close(interpolated(y, y), y)


def test_the_place_where_signal_was_found_solves_its_own_equation() -> None:
    y = torch.arange(50.0)[:, None].expand(3, 50, 4)
    shift = 2.5 * torch.exp(-((y - 25) / 6).square())
    found = found_places(shift)
    residual = found - (y + interpolated(shift, found))
    assert float(residual.abs().max()) < 0.01


@pytest.fixture(scope="module")
def scanned():
    head = round_head(field_hz=110.0)
    array = coils()
    slow = replace(FAULTLESS, n_shots=4, echo_spacing_s=4 * SECONDS_PER_LINE, ramp_s=0.1e-3, snr=80.0)
    head = replace(head, scan=replace(head.scan, echo_times_s=(0.018, 0.028)))
    readouts = acquire_epi(head, array, slow)
    return head, readouts, combined(sort_epi(readouts)[0], array)


def test_displacement_is_found_to_a_third_of_a_voxel_and_brought_back(scanned) -> None:
    head, readouts, images = scanned
    assert readouts.seconds_per_line == pytest.approx(SECONDS_PER_LINE)
    signal = head.scan.signal
    bright = images[0].abs() > 0.3 * images[0].abs()[signal].mean()
    measured = find_distortion(images, bright, readouts.echo_times_s, readouts.seconds_per_line, GRID)
    lines = torch.arange(GRID.shape[1])[:, None]
    true = lines + displacement(head.field_hz, SECONDS_PER_LINE)
    error = (found_places(measured.displacement) - true)[signal].abs()
    assert float((true - lines)[signal].abs().max()) > 0.8
    assert float(error.quantile(0.99)) < 0.3
    straight = without_distortion(images, measured, readouts.echo_times_s)
    before, after = (float((x[0].abs() - head.scan.images[0].abs())[signal].abs().mean()) for x in (images, straight))
    assert after < 0.6 * before


def test_the_phase_of_straightened_images_follows_the_field(scanned) -> None:
    head, readouts, images = scanned
    straight_field = Distortion(*(torch.zeros(GRID.shape) for _ in range(2)))
    torch.testing.assert_close(without_distortion(images, straight_field, readouts.echo_times_s), images)
    bright = images[0].abs() > 0.3 * images[0].abs()[head.scan.signal].mean()
    measured = find_distortion(images, bright, readouts.echo_times_s, readouts.seconds_per_line, GRID)
    straight = without_distortion(images, measured, readouts.echo_times_s)
    elapsed = readouts.echo_times_s[1] - readouts.echo_times_s[0]
    advance = 2 * torch.pi * elapsed * head.field_hz
    steps = straight[1] * straight[0].conj()
    expected = head.scan.images[1] * head.scan.images[0].conj()
    assert float(advance.max()) > 3
    errors = (steps * expected.conj()).angle()[head.scan.signal].abs()
    assert float(errors.median()) < 0.05


def test_one_call_puts_images_straight_and_says_how_far(scanned) -> None:
    head, readouts, images = scanned
    straight, _, finding = straightened(images, readouts.echo_times_s, readouts.seconds_per_line, GRID)
    assert finding.name == "epi_distortion"
    assert 0.2 < finding.figures["displacement_voxels_percentile_95"] < 1.2
    assert not finding.is_warning
    error = (straight[0].abs() - head.scan.images[0].abs())[head.scan.signal].abs().mean()
    assert float(error) < 0.6 * float((images[0].abs() - head.scan.images[0].abs())[head.scan.signal].abs().mean())
    alone = straightened(images[:1], readouts.echo_times_s[:1], readouts.seconds_per_line, GRID)[2]
    assert alone.is_warning
    assert "One echo alone" in alone.sentence
    with pytest.raises(UnusableInput, match="mask is empty"):
        straightened(torch.zeros_like(images), readouts.echo_times_s, readouts.seconds_per_line, GRID)


def test_images_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UnusableInput, match="grid"):
        find_distortion(torch.ones(1, 3, 3, 3) + 0j, torch.ones(3, 3, 3) > 0, (0.02,), 1e-4, GRID)
    empty = torch.zeros(GRID.shape, dtype=torch.bool)
    with pytest.raises(UnusableInput, match="mask is empty"):
        find_distortion(torch.ones(1, *GRID.shape) + 0j, empty, (0.02,), 1e-4, GRID)
    with pytest.raises(UnusableInput, match="does not fit"):
        without_distortion(torch.ones(1, 3, 3, 3) + 0j, Distortion(torch.ones(2, 3, 3), torch.ones(2, 3, 3)), (0.02,))
