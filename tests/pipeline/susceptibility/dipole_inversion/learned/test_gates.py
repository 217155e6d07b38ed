"""A misfit is judged in both directions, beside the noise and beside the twin's; background speaks against no map."""

import functools
import math

import pytest
import torch
from torch import Tensor

from pipeline.susceptibility.dipole_inversion.learned.data_term import DataTerm
from pipeline.susceptibility.dipole_inversion.learned.envelope import EnvelopeVerdict
from pipeline.susceptibility.dipole_inversion.learned.gates import (
    GateLimits,
    MapFigures,
    envelope_finding,
    map_figures,
    map_findings,
)
from tests.pipeline.susceptibility.dipole_inversion.heads import SmallHead, small_head

LIMITS = GateLimits((0.5, 2.0), (0.7, 1.5), 0.4)


@functools.cache
def head() -> SmallHead:
    return small_head((26, 28, 26))


def figures(susceptibility: Tensor, ramp: float = 0.0) -> MapFigures:
    given = head().artefacts(torch.float64)
    field = given["local_field"] + ramp * torch.linspace(-1, 1, 28, dtype=torch.float64)[:, None]
    term = DataTerm.of(field, head().mask, head().grid, given["field_noise"], order=4)
    term = term.cleaned(term.framed(susceptibility), 4)
    return map_figures(susceptibility, 0.9 * head().truth, head().mask, term)


def test_the_truth_leaves_about_the_noise_even_beside_a_slow_field() -> None:
    for ramp in (0.0, 0.05):
        found = figures(head().truth, ramp)
        assert found.misfit == pytest.approx(0.9, abs=0.15)
        assert found.misfit_to_twin < 1.0
        assert found.change == pytest.approx(1 / 9, abs=1e-6)


def test_a_map_of_wrong_size_misses_the_field() -> None:
    assert figures(1.5 * head().truth).misfit > 1.5


@pytest.mark.parametrize(
    ("found", "name", "phrase"),
    [
        (MapFigures(2.1, 1.0, 0.1), "consistency", "contradicts the field"),
        (MapFigures(1.0, 1.6, 0.1), "consistency", "contradicts the field"),
        (MapFigures(math.nan, 1.0, 0.1), "consistency", "contradicts the field"),
        (MapFigures(0.4, 1.0, 0.1), "consistency", "explains the noise"),
        (MapFigures(1.0, 0.6, 0.1), "consistency", "explains the noise"),
        (MapFigures(1.0, 1.0, 0.5), "change", "50 %"),
        (MapFigures(1.0, 1.0, math.inf), "change", "differs"),
    ],
)
def test_a_figure_beyond_its_limit_warns(found: MapFigures, name: str, phrase: str) -> None:
    warnings = [finding for finding in map_findings(found, LIMITS) if finding.is_warning]
    assert [finding.name for finding in warnings] == [name]
    assert phrase in warnings[0].sentence
    assert all(math.isfinite(value) for value in warnings[0].figures.values())


def test_figures_between_the_limits_are_told_without_a_warning() -> None:
    told = map_findings(MapFigures(1.0, 1.0, 0.1), LIMITS)
    assert not any(finding.is_warning for finding in told)
    assert told[0].figures == {"learned_misfit": 1.0, "learned_misfit_to_twin": 1.0}


def test_an_envelope_s_verdict_becomes_a_finding() -> None:
    inside = envelope_finding(EnvelopeVerdict(True, (), 2.0, 5.0))
    outside = envelope_finding(EnvelopeVerdict(False, ("the tilt",), math.inf, 5.0))
    assert not inside.is_warning
    assert outside.is_warning
    assert outside.figures == {"envelope_threshold": 5.0}
    assert "the tilt" in outside.sentence
