"""An evaluation that was stopped goes on with the pieces that were done, and with no others."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.studies.region_metrics import RegionError
from pipeline.training import evaluation
from pipeline.training.evaluation import Wanted, evaluate
from pipeline.training.evaluation_axes import AxisPlan, Level
from pipeline.training.evaluation_pieces import KeptPieces
from pipeline.training.evaluation_results import Result
from pipeline.training.evaluation_trials import COMPOSITE, Amount, Plan

PIECE = Plan(COMPOSITE, "report", 3)
RESULT = Result(
    "tkd",
    "tuned",
    COMPOSITE,
    "composite 3",
    level=Level(snr=20.0),
    multiple=0.1,
    scores={"nrmse": 1 / 3, "region_slope": math.inf},
    regions=(RegionError("putamen", 7, 40.1, 39.9),),
    seconds=0.25,
)


def test_what_was_kept_is_found_as_it_was(tmp_path: Path) -> None:
    kept = KeptPieces(tmp_path / "pieces", "this code")
    assert kept.find(PIECE) is None
    kept.keep(PIECE, [RESULT, replace(RESULT, level=None)])
    assert kept.find(PIECE) == [RESULT, replace(RESULT, level=None)]


def test_another_piece_or_other_code_finds_nothing(tmp_path: Path) -> None:
    KeptPieces(tmp_path, "this code").keep(PIECE, [RESULT])
    assert KeptPieces(tmp_path, "other code").find(PIECE) is None
    assert KeptPieces(tmp_path, "this code").find(AxisPlan(COMPOSITE, "report", 3)) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"results": [{"method": "tkd"}]}'])
def test_a_damaged_piece_is_computed_anew(tmp_path: Path, content: str) -> None:
    kept = KeptPieces(tmp_path, "this code")
    kept.keep(PIECE, [RESULT])
    next(tmp_path.glob("*.json")).write_text(content)
    assert kept.find(PIECE) is None


def test_an_evaluation_that_was_stopped_computes_only_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[str] = []

    def judged(wanted: Wanted, piece: Plan) -> list[Result]:
        if len(computed) == 2:
            raise KeyboardInterrupt
        computed.append(piece.name)
        return [replace(RESULT, trial=piece.name)]

    monkeypatch.setattr(evaluation, "judged", judged)
    wanted = Wanted((), amount=Amount(patches=4, scans={}, axis_patches=0, axis_heads=0))
    kept = KeptPieces(tmp_path, "this code")
    with pytest.raises(KeyboardInterrupt):
        evaluate(wanted, kept=kept)
    done, told = computed.copy(), list[str]()
    computed.clear()
    results = evaluate(wanted, on_work=told.append, kept=kept)
    assert sorted(done + computed) == sorted(told) == [f"composite {number}" for number in range(4)]
    assert [result.trial for result in results] == [f"composite {number}" for number in range(4)]
