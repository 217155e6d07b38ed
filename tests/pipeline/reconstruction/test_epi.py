"""Echo-planar readouts become k-space: without ghost, without drift, each line in its place."""

import math
from dataclasses import replace

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.reconstruction.epi import EpiCorrections, EpiLines, EpiReadouts, echo_trains, sort_epi
from pipeline.reconstruction.epi_ghost import PolarityPhase
from pipeline.simulation.raw_epi import EpiProtocol, MovingSignal, acquire_epi
from tests.pipeline.reconstruction.epi_scans import FAULTLESS, coils, combined, ghost, round_head

COMMON_FAULTS = EpiProtocol(n_shots=6, snr=math.inf)


@pytest.fixture(scope="module")
def head() -> MovingSignal:
    return round_head()


@pytest.fixture(scope="module")
def array() -> torch.Tensor:
    return coils()


@pytest.fixture(scope="module")
def faultless(head: MovingSignal, array: torch.Tensor) -> torch.Tensor:
    return combined(sort_epi(acquire_epi(head, array, FAULTLESS))[0], array)


@pytest.fixture(scope="module")
def faulty(head: MovingSignal, array: torch.Tensor) -> EpiReadouts:
    return acquire_epi(head, array, COMMON_FAULTS)


def test_a_faultless_scan_is_its_object_blurred_by_decay_alone(head, array, faultless) -> None:
    still = MovingSignal(head.scan, torch.zeros_like(head.field_hz), torch.zeros_like(head.field_hz))
    images = combined(sort_epi(acquire_epi(still, array, FAULTLESS))[0], array)
    torch.testing.assert_close(images, head.scan.images, atol=5e-4, rtol=0)
    assert float((faultless - head.scan.images)[0].abs().max()) < 0.3


def test_ghost_drift_and_shot_phases_leave_less_than_one_percent(head, array, faulty, faultless) -> None:
    kspace, corrections = sort_epi(faulty)
    assert corrections.by_navigators
    assert ghost(combined(kspace, array), faultless, head.scan.signal) < 0.005
    silent = replace(faulty.navigators, samples=torch.ones_like(faulty.navigators.samples))
    untouched = combined(sort_epi(replace(faulty, navigators=silent))[0], array)
    assert ghost(untouched, faultless, head.scan.signal) > 0.04


def test_what_was_out_of_place_is_found(faulty) -> None:
    corrections = sort_epi(faulty)[1]
    assert corrections.polarity.constant_rad.tolist() == pytest.approx([0.4] * 4, abs=0.01)
    drift = corrections.shots.frequency_hz
    assert float(drift[-1] - drift[0]) == pytest.approx(4.0, abs=0.6)


def test_without_navigators_the_ghost_is_found_by_entropy(head, array, faultless) -> None:
    steady = replace(COMMON_FAULTS, has_navigators=False, drift_hz=0.0, breathing_hz=0.0, shot_phase_rad=0.0)
    kspace, corrections = sort_epi(acquire_epi(head, array, steady))
    assert not corrections.by_navigators
    assert corrections.shots is None
    assert corrections.polarity.constant_rad.tolist() == pytest.approx([0.4] * 4, abs=0.02)
    assert ghost(combined(kspace, array), faultless, head.scan.signal) < 0.01


def test_what_is_left_of_the_ghost_is_told_whatever_the_noise(head, array, faulty) -> None:
    corrected = sort_epi(faulty)[1]
    assert corrected.ghost_share < 0.005
    assert "by its navigators; of the signal 0." in corrected.sentence
    noisy = acquire_epi(head, array, replace(COMMON_FAULTS, snr=30.0))
    assert sort_epi(noisy)[1].ghost_share < 0.01


def test_much_ghost_is_said_and_an_unknown_one_too() -> None:
    nothing = PolarityPhase.of_all_coils(1)
    assert "That is much" in EpiCorrections(nothing, True, None, 0.08).sentence
    assert "cannot be told" in EpiCorrections(nothing, False, None, None).sentence


def test_noise_does_not_bring_the_ghost_back(head, array, faultless) -> None:
    noisy, calm = (
        combined(sort_epi(acquire_epi(head, array, replace(faults, snr=60.0, seed=2)))[0], array)
        for faults in (COMMON_FAULTS, FAULTLESS)
    )
    assert ghost(noisy, calm, head.scan.signal) < 0.012


def test_an_undersampled_scan_measures_its_lines_only(head, array) -> None:
    pattern = torch.zeros(head.scan.grid.shape[:2], dtype=torch.bool)
    pattern[:, ::2] = True
    pattern[:, 12:24] = True
    kspace, _ = sort_epi(acquire_epi(head, array, COMMON_FAULTS, pattern))
    assert torch.equal(kspace.measured, pattern.expand(2, -1, -1))
    assert torch.equal((kspace.samples != 0).any(1).any(-1), kspace.measured)


def test_lines_measured_twice_are_averaged(faulty) -> None:
    lines = faulty.lines
    twice = EpiLines(
        *(torch.cat([values] * 2) for values in (lines.samples, lines.shot, lines.is_reversed, lines.time_s))
    )
    places = {name: torch.cat([getattr(faulty, name)] * 2) for name in ("echo", "step_y", "step_z")}
    again = replace(faulty, lines=twice, **places)
    torch.testing.assert_close(sort_epi(again)[0].samples, sort_epi(faulty)[0].samples, atol=1e-5, rtol=0)


def test_time_grows_evenly_over_the_lines_when_echo_times_are_shifted(faulty) -> None:
    assert faulty.seconds_per_line == pytest.approx(COMMON_FAULTS.echo_spacing_s / 6)
    assert echo_trains(6, 2) == [(0, 2, 4), (1, 3, 5)]


def test_readouts_that_contradict_the_header_are_refused(faulty) -> None:
    with pytest.raises(UnusableInput, match="step_y from 0 to 35"):
        replace(faulty, grid=replace(faulty.grid, shape=(6, 32, 32)))
    with pytest.raises(UnusableInput, match="trajectory"):
        replace(faulty, trajectory=faulty.trajectory[:-1])
    broken = faulty.lines.samples.clone()
    broken[3, 0, 7] = complex(math.nan, 0)
    with pytest.raises(UnusableInput, match="finite"):
        replace(faulty, lines=replace(faulty.lines, samples=broken))
    with pytest.raises(UnusableInput, match="shared evenly"):
        echo_trains(10, 3)


def test_navigators_of_one_polarity_are_refused(faulty) -> None:
    forward = replace(faulty.navigators, is_reversed=torch.zeros(len(faulty.navigators), dtype=torch.bool))
    with pytest.raises(UnusableInput, match="one polarity"):
        sort_epi(replace(faulty, navigators=forward))
