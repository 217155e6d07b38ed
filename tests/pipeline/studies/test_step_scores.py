"""The truth gets full marks in every step, and each kind of wrong output the marks it deserves."""

import math

import pytest
import torch
from torch import Tensor

from pipeline.methods import STEPS
from pipeline.studies.cases import Case
from pipeline.studies.step_scores import CHAIN, FIELD_MAP, STEP_SCORES, Column

PICTURES = {"weighting"}


def truth_of(case: Case) -> dict[str, Tensor]:
    """Return every artefact as a perfect method would make it."""
    images = case.scan.acquisition
    paramagnetic, diamagnetic = case.sources
    return {
        "susceptibility": case.scan.susceptibility,
        "local_field": case.scan.local_field,
        "total_field": case.scan.total_field,
        "unwrapped_phase": case.unwrapped_phase,
        "mask": case.mask,
        "magnitude": images.magnitude,
        "r2star": case.r2star if case.r2star is not None else torch.zeros(case.grid.shape),
        "paramagnetic": paramagnetic,
        "diamagnetic": diamagnetic,
    }


PERFECT = {"low": 0.0, "high": 1.0, "one": 1.0}


@pytest.mark.parametrize("step", STEP_SCORES)
def test_the_truth_gets_full_marks(step: str, tiny_case: Case) -> None:
    made = truth_of(tiny_case)
    made["phase"] = tiny_case.scan.acquisition.phase if step == "bipolar_correction" else tiny_case.offset_free_phase
    column = STEP_SCORES[step].columns[0]
    scores = STEP_SCORES[step].score(tiny_case, made)
    assert scores[column.key] == pytest.approx(PERFECT[column.good], abs=1e-3)
    assert {entry.key for entry in STEP_SCORES[step].columns} == set(scores)


def test_every_step_is_scored_unless_it_makes_a_picture() -> None:
    assert set(STEPS) - PICTURES <= set(STEP_SCORES)
    assert set(STEP_SCORES) - {FIELD_MAP, CHAIN} <= set(STEPS) | {"source_separation", "coil_combination"}


def test_a_wrong_turn_is_counted_and_a_turn_of_a_whole_echo_is_not(tiny_case: Case) -> None:
    score = STEP_SCORES["phase_unwrapping"].score
    wrong = tiny_case.unwrapped_phase.clone()
    wrong[1] += 2 * math.pi
    assert score(tiny_case, {"unwrapped_phase": wrong})["wrong_percent"] == 0.0
    slab = tiny_case.mask.clone()
    slab[:16] = False
    wrong[1][slab] -= 2 * math.pi
    expected = 100 * float(slab.sum() / tiny_case.mask.sum())
    expected = min(expected, 100 - expected)
    assert score(tiny_case, {"unwrapped_phase": wrong})["wrong_percent"] == pytest.approx(expected, abs=1e-4)


def test_half_a_mask_keeps_half_and_leaves_nothing_outside(tiny_case: Case) -> None:
    half = tiny_case.mask.clone()
    half[..., : half.shape[-1] // 2] = False
    scores = STEP_SCORES["masking"].score(tiny_case, {"mask": half})
    assert scores["outside"] == 0.0
    assert scores["kept"] == pytest.approx(50, abs=10)
    assert scores["dice"] == pytest.approx(2 * scores["kept"] / (100 + scores["kept"]))


def test_a_reference_that_moves_zero_is_told_in_ppb(tiny_case: Case) -> None:
    scores = STEP_SCORES["referencing"].score(tiny_case, {"susceptibility": tiny_case.scan.susceptibility + 0.012})
    assert scores["zero_ppb"] == pytest.approx(12.0, abs=0.01)


def test_a_weak_calcification_and_a_biased_dentate_are_told(tiny_case: Case) -> None:
    scan = tiny_case.scan
    labels = {name: label for label, name in scan.label_names.items()}
    lesion = torch.nn.functional.max_pool3d((scan.labels == labels["Calcification"])[None].float(), 3, 1, 1)[0] > 0
    weak = torch.where(lesion, 0.5 * scan.susceptibility, scan.susceptibility)
    weak[scan.labels == labels["Left dentate nucleus"]] -= 0.02
    scores = STEP_SCORES["dipole_inversion"].score(tiny_case, {"susceptibility": weak})
    assert 25 < scores["calcification_moment_error"] < 75
    if not math.isnan(scores["dentate_error_ppb"]):
        assert scores["dentate_error_ppb"] == pytest.approx(20.0, abs=2.0)


def test_the_worst_of_a_figure_depends_on_what_is_good() -> None:
    values = [0.9, 1.3, math.nan, 0.95]
    assert Column("error", "", "%").worst(values) == 1.3
    assert Column("xsim", "", "1", "high").worst(values) == 0.9
    assert Column("slope", "", "1", "one").worst([0.9, 1.05]) == 0.9
    assert math.isnan(Column("error", "", "%").worst([math.nan]))
