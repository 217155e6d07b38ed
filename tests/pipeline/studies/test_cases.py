"""A case's inputs are the truth with the least possible noise, masked; tuning never sees the reported heads."""

import math

import pytest
import torch

from pipeline.studies.cases import (
    QUICK_SCANS,
    REPORTING_SEEDS,
    SCANS,
    TUNING_SEEDS,
    Case,
    least_field_noise,
)
from pipeline.units import radians_per_ppm


def test_settings_are_tuned_on_other_heads_than_results_are_reported_on() -> None:
    assert not set(TUNING_SEEDS) & set(REPORTING_SEEDS)
    assert len(TUNING_SEEDS) >= len(SCANS)
    assert len(REPORTING_SEEDS) >= len(SCANS)


def test_scans_are_straight_and_oblique_isotropic_and_not_and_of_low_and_high_noise() -> None:
    protocols = SCANS.values()
    assert {any(protocol.rotation_deg) for protocol in protocols} == {True, False}
    assert {len(set(protocol.voxel_size_mm)) == 1 for protocol in protocols} == {True, False}
    assert (min(p.snr for p in protocols), max(p.snr for p in protocols)) == (20.0, 100.0)
    for protocol in (*protocols, *QUICK_SCANS.values()):
        assert min(protocol.samples_per_voxel) >= 2


def test_fields_carry_the_least_possible_noise_and_end_at_the_mask(tiny_case: Case) -> None:
    given = tiny_case.artefacts_for("dipole_inversion")
    mask = tiny_case.mask
    error = (given["local_field"] - tiny_case.scan.local_field)[mask] / tiny_case.field_noise[mask]
    assert float(error.std()) == pytest.approx(1.0, abs=0.05)
    assert not bool(given["local_field"][~mask].any())
    assert not bool(given["total_field"][~mask].any())


def test_the_least_noise_of_two_echoes_is_that_of_their_difference() -> None:
    magnitude = torch.full((2, 4, 4, 4), 10.0)
    expected = 0.2 / 10 * math.sqrt(2) / radians_per_ppm(0.012, 3.0)
    assert float(least_field_noise(magnitude, 0.2, (0.004, 0.016), 3.0)[0, 0, 0]) == pytest.approx(expected, rel=1e-4)


def test_unwrapped_phase_differs_from_wrapped_by_whole_turns_and_follows_the_field(tiny_case: Case) -> None:
    turns = (tiny_case.unwrapped_phase - tiny_case.offset_free_phase) / (2 * math.pi)
    assert torch.allclose(turns, turns.round(), atol=1e-4)
    deep = tiny_case.depth_mm > 15
    true = tiny_case.scan.total_field * radians_per_ppm(tiny_case.protocol.echo_times_s[-1], 3.0)
    assert float((tiny_case.unwrapped_phase[-1] - true)[deep].abs().median()) < 0.1


def test_the_sources_have_their_signs_and_sum_to_the_truth(tiny_case: Case) -> None:
    paramagnetic, diamagnetic = tiny_case.sources
    assert float(paramagnetic.min()) >= 0 >= float(diamagnetic.max())
    assert torch.allclose(paramagnetic + diamagnetic, tiny_case.scan.susceptibility, atol=1e-6)


def test_every_second_echo_alternates_for_bipolar_correction(tiny_case: Case) -> None:
    given = tiny_case.artefacts_for("bipolar_correction")["phase"]
    changed = (given - tiny_case.scan.acquisition.phase)[:, tiny_case.mask].abs().amax(1) > 1e-3
    assert changed.tolist() == [False, True, False, True, False]


def test_each_orientation_has_its_own_direction_and_field(tiny_case: Case) -> None:
    fields = tiny_case.artefacts_for("multi_orientation_inversion")["local_fields"]
    directions = tiny_case.context.b0_directions
    assert len(fields) == len(directions) == len(set(directions))
    assert all(math.hypot(*direction) == pytest.approx(1.0, abs=1e-3) for direction in directions)
    assert float((fields[0] - fields[1])[tiny_case.mask].std()) > 2 * float(
        tiny_case.field_noise[tiny_case.mask].median()
    )


def test_masking_is_not_given_the_mask(tiny_case: Case) -> None:
    assert "mask" not in tiny_case.artefacts_for("masking")
