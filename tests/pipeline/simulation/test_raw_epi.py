"""The simulated echo-planar scan: lines in the order of acquisition, with the faults that were asked for."""

import math
from dataclasses import replace

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.reconstruction.epi import sort_epi
from pipeline.simulation.phantom import Head
from pipeline.simulation.raw_epi import EpiProtocol, MovingSignal, acquire_epi
from pipeline.simulation.scanner import SMALL, acquire
from tests.pipeline.reconstruction.epi_scans import FAULTLESS, GRID, coils, combined, round_head


@pytest.fixture(scope="module")
def array() -> torch.Tensor:
    return coils()


def test_shots_follow_one_another_and_polarities_alternate_within_each(array) -> None:
    readouts = acquire_epi(round_head(), array, FAULTLESS)
    first = readouts.lines.shot == 0
    assert readouts.step_y[first & (readouts.echo == 0)].tolist() == [0, 6, 12, 18, 24, 30]
    assert readouts.lines.is_reversed[first & (readouts.echo == 0)].tolist() == [False, True] * 3
    assert (readouts.lines.shot.diff() >= 0).all()
    assert len(readouts.navigators) == 3 * 6 * GRID.shape[0]


def test_the_middle_of_k_space_is_measured_at_the_echo_time(array) -> None:
    readouts = acquire_epi(round_head(), array, FAULTLESS)
    middle = (readouts.step_y == 18) & (readouts.echo == 1)
    assert readouts.lines.time_s[middle].tolist() == pytest.approx([0.024] * GRID.shape[0])
    steps = acquire_epi(round_head(), array, replace(FAULTLESS, shifts_echo_times=False))
    times = steps.lines.time_s[(steps.echo == 0) & (steps.step_z == 0)].reshape(6, 6)
    assert torch.equal(times[0], times[5])


def test_off_resonance_displaces_the_head_against_the_time(array) -> None:
    calm = round_head()
    shifted = replace(calm, field_hz=torch.full(GRID.shape, 50.0))
    readouts = acquire_epi(shifted, array, replace(FAULTLESS, n_shots=2, echo_spacing_s=0.4e-3, ramp_s=0.1e-3))
    voxels = 50 * readouts.seconds_per_line * GRID.shape[1]
    there = combined(sort_epi(readouts)[0], array)[0].abs()
    here = calm.scan.images[0].abs()
    lines = torch.arange(GRID.shape[1])[:, None]
    centres = [float((image * lines).sum() / image.sum()) for image in (there, here)]
    assert voxels == pytest.approx(0.36, abs=0.01)
    assert centres[0] - centres[1] == pytest.approx(-voxels, abs=0.1)


def test_the_same_protocol_gives_the_same_readouts_and_noise_is_asked_for(array) -> None:
    first, again = (acquire_epi(round_head(), array, EpiProtocol(n_shots=6)) for _ in range(2))
    assert torch.equal(first.lines.samples, again.lines.samples)
    level = float(first.noise.real.std())
    louder = acquire_epi(round_head(), array, EpiProtocol(n_shots=6, snr=25.0))
    assert float(louder.noise.real.std()) == pytest.approx(2 * level, rel=0.05)


def test_a_simulated_head_decays_as_its_echoes_say(head: Head) -> None:
    small = replace(SMALL, shape=(12, 16, 16), voxel_size_mm=(12.0, 13.0, 13.0), finest_mm=6.5, snr=math.inf)
    scan = acquire(head, replace(small, echo_times_s=(0.012, 0.024)))
    signal = MovingSignal.of_scan(scan)
    assert 5 < float(signal.r2star_per_s[scan.brain].median()) < 60
    advance = (signal.scan.images[1] * signal.scan.images[0].conj()).angle()[scan.brain]
    expected = (2 * math.pi * 0.012 * signal.field_hz)[scan.brain]
    assert float(torch.polar(torch.ones_like(advance), advance - expected).angle().abs().median()) < 0.1


def test_a_train_that_would_begin_before_its_excitation_is_refused(array) -> None:
    with pytest.raises(UnusableInput, match="echo train does not fit"):
        acquire_epi(round_head(), array, replace(FAULTLESS, n_shots=1))
