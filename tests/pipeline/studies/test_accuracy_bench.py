"""The bench walks the tables, and says why a method has no scores instead of ending."""

from dataclasses import replace

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.method import Method, NoSettings
from pipeline.methods import STEPS
from pipeline.studies import accuracy_bench
from pipeline.studies.accuracy_bench import Result, chosen_methods, judge, summarise
from pipeline.studies.cases import Case
from pipeline.studies.step_scores import CHAIN, FIELD_MAP


def with_method(monkeypatch: pytest.MonkeyPatch, step: str, method: Method) -> None:
    monkeypatch.setitem(STEPS, step, {**STEPS.get(step, {}), method.name: method})


def refusing(artefacts, context, settings):
    raise UnusableInput("The field is upside down.")


def given_back(artefacts, context, settings):
    return {"susceptibility": artefacts["local_field"]}


def test_every_method_of_every_step_and_every_recipe_is_covered() -> None:
    chosen = chosen_methods()
    assert {(step, name) for step, ways in STEPS.items() for name in ways} <= set(chosen)
    assert (CHAIN, "default") in chosen
    assert (FIELD_MAP, "weighted_linear_fit") in chosen


def test_a_new_line_in_a_table_is_judged_at_once(monkeypatch, tiny_case: Case) -> None:
    invented = Method("invented", "nobody", given_back, NoSettings, ("local_field", "mask"), ("susceptibility",))
    with_method(monkeypatch, "dipole_inversion", invented)
    chosen = chosen_methods(["dipole_inversion"], ["invented"])
    assert chosen == [("dipole_inversion", "invented")]
    (result,) = judge(tiny_case, chosen)
    assert result.scores["kept"] == 100.0
    assert result.scores["nrmse"] > 30


def test_a_refusal_and_a_missing_input_are_remarks(monkeypatch, tiny_case: Case) -> None:
    stubborn = Method("stubborn", "nobody", refusing, NoSettings, ("local_field", "mask"), ("susceptibility",))
    greedy = replace(stubborn, name="greedy", inputs=("second_opinion",))
    for method in (stubborn, greedy):
        with_method(monkeypatch, "dipole_inversion", method)
    with_method(monkeypatch, "colouring", stubborn)
    asked = [("dipole_inversion", "stubborn"), ("dipole_inversion", "greedy"), ("colouring", "stubborn")]
    refused, lacking, picture = judge(tiny_case, asked)
    assert refused.remark == "refused: The field is upside down."
    assert lacking.remark == "not applicable: a simulated scan gives no second opinion"
    assert picture.remark.startswith("not applicable: its result is a picture")
    summaries = summarise([refused, lacking, picture])
    assert [summary.n_cases for summary in summaries] == [0, 0, 0]
    assert summaries[0].remarks == (refused.remark,)


def test_direct_methods_reach_a_sensible_map(tiny_case: Case) -> None:
    (result,) = judge(tiny_case, [("dipole_inversion", "tkd")])
    assert result.remark == ""
    assert 10 < result.scores["nrmse"] < 90
    assert 0.6 < result.scores["slope"] < 1.2


def test_the_field_map_starts_from_the_acquired_phase(tiny_case: Case) -> None:
    (result,) = judge(tiny_case, [(FIELD_MAP, "weighted_linear_fit")])
    assert result.remark == ""
    assert result.scores["median_over_bound"] < 3


def test_mean_and_worst_are_taken_over_the_cases() -> None:
    made = [
        Result("phase_unwrapping", "romeo", case, "f", {"wrong_percent": value, "wrong_percent_first_echo": 0.0}, 2.0)
        for case, value in (("one", 1.0), ("two", 4.0))
    ]
    (summary,) = summarise(made)
    assert (summary.mean["wrong_percent"], summary.worst["wrong_percent"]) == (2.5, 4.0)
    assert (summary.worst_case, summary.n_cases, summary.seconds) == ("two", 2, 2.0)


def test_the_field_map_is_taken_in_the_true_brain(tiny_case: Case) -> None:
    made = accuracy_bench.prepared(tiny_case, FIELD_MAP, "weighted_linear_fit")()
    assert torch.equal(made["mask"].bool(), tiny_case.mask)
