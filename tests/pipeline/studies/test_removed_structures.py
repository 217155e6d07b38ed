"""A perfect inversion loses and invents nothing, a blank one loses all, and one that dreams invents."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline.studies.claims_inversions import Inversion, held_out_samples
from pipeline.studies.removed_structures import (
    Findings,
    rate_with_interval,
    removed_structure_tables,
    removed_structures,
)
from pipeline.studies.removed_structures_pairs import STRUCTURES, pairs_of
from pipeline.studies.table import Estimate, EvaluationTable
from pipeline.training.datasets.sample import Sample
from pipeline.training.plans import AXIAL

pytestmark = pytest.mark.usefixtures("one_thread")

SEED = 9


@pytest.fixture(scope="module")
def scenes() -> list[Sample]:
    whole = torch.ones((40, 40, 40), dtype=torch.bool)
    drawn = held_out_samples(replace(AXIAL, shape=(40, 40, 40)), 2)
    return [replace(one, susceptibility=0.02 * one.susceptibility, mask=whole) for one in drawn]


def _value(table: EvaluationTable, method: str, structure: str, column: str) -> float:
    row = next(row for row in table.rows if row[0] == method and row[1] == structure)
    cell = row[table.columns.index(column)]
    return cell.value if isinstance(cell, Estimate) else float(str(cell))


def test_the_truth_loses_nothing_invents_nothing_and_changes_nothing_far_away(scenes: list[Sample]) -> None:
    truth = Inversion("truth", lambda drawn: drawn.susceptibility)
    blank = Inversion("blank", lambda drawn: torch.zeros_like(drawn.susceptibility))
    rates, sizes, far = removed_structures([truth, blank], scenes, seed=SEED)
    assert _value(rates, "truth", "all", "lost [%]") == 0
    assert _value(rates, "truth", "all", "invented [%]") == 0
    assert _value(rates, "truth", "all", "contrast gained") == pytest.approx(1.0, abs=1e-3)
    assert _value(rates, "truth", "all", "separation") == 1.0
    assert _value(rates, "blank", "all", "lost [%]") == 100
    assert _value(rates, "blank", "all", "separation") == 0.5
    assert all(isinstance(cell, Estimate) and cell.value < 1e-2 for cell in far.rows[0][1:])
    assert len(sizes.rows) == len(STRUCTURES)


def test_an_inversion_that_shows_what_is_not_there_is_found_out(scenes: list[Sample]) -> None:
    dreamt = {id(pair.without): pair.with_them.susceptibility for pair in pairs_of(scenes, STRUCTURES, SEED)}

    def dream(drawn: Sample) -> Tensor:
        return dreamt.get(id(drawn), drawn.susceptibility)

    rates = removed_structures([Inversion("dreamer", dream)], scenes, seed=SEED)[0]
    assert _value(rates, "dreamer", "all", "lost [%]") == 0
    assert _value(rates, "dreamer", "all", "invented [%]") > 20
    assert _value(rates, "dreamer", "all", "contrast gained") == pytest.approx(0.0, abs=1e-6)


def test_contrasts_are_compared_with_the_default_inversions_on_the_same_structures(scenes: list[Sample]) -> None:
    full = Inversion("weighted_tv", lambda drawn: drawn.susceptibility)
    half = Inversion("half", lambda drawn: 0.5 * drawn.susceptibility)
    rates = removed_structures([half, full], scenes, seed=SEED)[0]
    assert _value(rates, "weighted_tv", "all", "× weighted_tv") == 1.0
    assert _value(rates, "half", "all", "× weighted_tv") == pytest.approx(0.5, abs=1e-3)


def test_rates_have_the_interval_of_clopper_and_pearson() -> None:
    none_of_ten = rate_with_interval(0, 10)
    assert none_of_ten.value == 0
    assert none_of_ten.low == 0
    assert none_of_ten.high == pytest.approx(100 * (1 - 0.025**0.1))
    assert math.isnan(rate_with_interval(0, 0).value)


def test_separation_counts_pairs_whatever_the_threshold() -> None:
    found = Findings(present=(0.2, 0.4), absent=(0.1, 0.3), gained=())
    assert found.separation == 0.75
    assert found.lost.value == 100


def test_the_report_judges_classical_methods_where_there_are_no_weights(tmp_path: Path) -> None:
    told: list[float] = []
    tables = removed_structure_tables(tmp_path, n_scenes=1, n_heads=0, size=36, on_progress=told.append)
    assert len(tables) == 3
    names = {"tkd", "star", "weighted_tv", "weighted_tv × 6", "classical twin"}
    assert {row[0] for row in tables[2].rows} == names
    assert any("lodestone_net" in note for note in tables[0].notes)
    assert told == sorted(told)
