"""Shots: their phases and the drift of the field are told apart, and taken out of their lines."""

import math

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.reconstruction.epi_drift import ShotPhases, shot_phases, without_shot_phases

TIMES = torch.tensor([0.004, 0.005, 0.006], dtype=torch.float64)
N_SHOTS = 80


def scan(phases: torch.Tensor, frequencies: torch.Tensor, noise: float = 0.0) -> torch.Tensor:
    """Return three navigators per shot of two coils."""
    chance = torch.Generator().manual_seed(3)
    body = torch.view_as_complex(torch.randn(3, 2, 30, 2, generator=chance))
    angles = phases[:, None] + 2 * math.pi * frequencies[:, None] * TIMES
    lines = torch.polar(torch.ones_like(angles), angles).to(body)[:, :, None, None] * body
    lines = lines + noise * torch.view_as_complex(torch.randn(*lines.shape, 2, generator=chance))
    return lines.flatten(0, 1)


def found(lines: torch.Tensor, n_shots: int = N_SHOTS) -> ShotPhases:
    return shot_phases(lines, torch.arange(n_shots).repeat_interleave(3), TIMES.repeat(n_shots))


@pytest.fixture
def course() -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(1)
    phases = 0.3 * torch.randn(N_SHOTS, generator=chance, dtype=torch.float64)
    return phases, torch.linspace(-3, 3, N_SHOTS, dtype=torch.float64)


def test_phases_and_drift_are_told_apart(course) -> None:
    phases, drift = course
    result = found(scan(phases, drift))
    torch.testing.assert_close(result.frequency_hz, drift, atol=0.02, rtol=0)
    torch.testing.assert_close(result.phase_rad, phases - phases.mean(), atol=0.01, rtol=0)


def test_noise_of_single_shots_is_averaged_over_the_slow_drift(course) -> None:
    result = found(scan(*course, noise=0.05))
    assert float((result.frequency_hz - course[1]).square().mean().sqrt()) < 0.6


def test_lines_measured_later_are_corrected_for_more_drift(course) -> None:
    phases, drift = course
    shot, late = torch.arange(N_SHOTS), torch.full((N_SHOTS,), 0.025, dtype=torch.float64)
    angles = phases + 2 * math.pi * drift * 0.025
    lines = torch.polar(torch.ones_like(angles), angles).to(torch.complex64)[:, None, None].expand(-1, 2, 6)
    corrected = without_shot_phases(lines, shot, late, found(scan(phases, drift)))
    assert float(corrected.angle().std()) < 0.02


def test_shots_that_are_alike_stay_as_they_are() -> None:
    nothing = torch.zeros(5, dtype=torch.float64)
    result = found(scan(nothing, nothing), 5)
    torch.testing.assert_close(result.phase_rad, nothing, atol=1e-6, rtol=0)
    torch.testing.assert_close(result.frequency_hz, nothing, atol=1e-4, rtol=0)


def test_a_shot_without_navigators_is_named() -> None:
    result = found(scan(torch.zeros(4), torch.zeros(4)), 4)
    with pytest.raises(UnusableInput, match="Shot 6 has no navigators"):
        without_shot_phases(torch.zeros(1, 2, 3) + 0j, torch.tensor([5]), torch.tensor([0.02]), result)
    with pytest.raises(UnusableInput, match="as many navigators"):
        shot_phases(torch.zeros(3, 2, 3) + 0j, torch.tensor([0, 0, 1]), torch.tensor([0.1, 0.2, 0.1]))
