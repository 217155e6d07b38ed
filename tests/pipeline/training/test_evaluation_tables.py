"""Tables say of results what is in them: the best tuned method, paired ratios, changes, and who has no weights."""

import math
from dataclasses import replace

import pytest

from pipeline.method import LEARNED_MAP_USED
from pipeline.studies.region_metrics import RegionError
from pipeline.studies.table import Estimate
from pipeline.training.evaluation import COVERED, FLAGGED
from pipeline.training.evaluation_axes import CENTRE, Level
from pipeline.training.evaluation_axis_tables import axis_tables, dependence, dependence_table, nucleus_changes
from pipeline.training.evaluation_results import AFTER, BEFORE, DEFAULT, METRICS, TUNED_WEIGHT, Result
from pipeline.training.evaluation_tables import (
    average_table,
    best_tuned,
    comparison_tables,
    ratio_table,
    refinement_table,
    trust_table,
    verdict_table,
)


def _result(method: str, variant: str, generator: str, number: int, error: float, **more: object) -> Result:
    scores = dict.fromkeys(METRICS, error)
    return Result(method, variant, generator, f"{generator} {number}", scores=scores, **more)  # type: ignore[arg-type]


def _comparison() -> list[Result]:
    """Return two generators: tkd is best when tuned on the first, star on the second; the network is at 0.8 and 1.0."""
    results = []
    for generator, errors in (("composite", (60.0, 40.0, 50.0, 32.0)), ("textured", (60.0, 50.0, 30.0, 30.0))):
        for number, hard in enumerate((0.5, 1.0, 1.5)):
            default, tkd, star, network = (hard * error for error in errors)
            results += [
                _result("tkd", DEFAULT, generator, number, default),
                _result("tkd", TUNED_WEIGHT, generator, number, tkd, multiple=2.0),
                _result("star", DEFAULT, generator, number, default),
                _result("star", TUNED_WEIGHT, generator, number, star, multiple=4.0),
                _result("lodestone_net", DEFAULT, generator, number, network),
            ]
    return results


def test_the_best_tuned_method_is_chosen_for_each_generator() -> None:
    assert [best_tuned(_comparison(), name) for name in ("composite", "textured")] == ["tkd", "star"]


def test_the_ratio_is_to_the_best_tuned_method_of_each_generator_and_averaged_over_generators() -> None:
    table = ratio_table(_comparison())
    assert table.columns == ("network", "composite (to tkd)", "textured (to star)", "average", "averages (to star)")
    (name, first, second, average, whole) = table.rows[0]
    assert name == "lodestone_net"
    for cell, wanted in ((first, 0.8), (second, 1.0), (average, 0.9)):
        assert isinstance(cell, Estimate)
        # The network errs in proportion on every sample, so pairing leaves no spread.
        assert (cell.value, cell.low, cell.high) == pytest.approx((wanted,) * 3)
    assert isinstance(whole, Estimate)
    assert whole.value == pytest.approx(62 / 80)
    assert whole.low < whole.value < whole.high


def test_a_network_that_was_computed_on_fewer_samples_is_compared_on_those() -> None:
    results = [
        result for result in _comparison() if not (result.method == "lodestone_net" and result.trial.endswith("2"))
    ]
    cell = ratio_table(results).rows[0][1]
    assert isinstance(cell, Estimate)
    assert cell.value == pytest.approx(0.8)


def test_every_method_stands_in_the_table_with_its_weight_and_the_best_comes_first() -> None:
    table = comparison_tables(_comparison(), {"lodestone_net": "undertrained"})[0]
    assert [(row[0], row[1]) for row in table.rows[:2]] == [("lodestone_net", "undertrained"), ("tkd", "× 2")]
    assert len(table.rows) == 5
    assert [row[0] for row in average_table(_comparison()).rows[:2]] == ["lodestone_net", "star"]


def test_a_network_without_weights_has_a_row_and_the_command_that_trains_it() -> None:
    table = comparison_tables(_comparison(), {"lodestone_net": "undertrained", "xqsm": "no weights"})[0]
    assert table.rows[-1][:3] == ("xqsm", "no weights", 0)
    assert "xqsm: no weights; train it with `lodestone train xqsm --export`." in table.notes


def test_a_refusal_stands_below_the_table() -> None:
    refused = Result("medi_0", DEFAULT, "composite", "composite 0", remark="It needs two echoes.")
    table = comparison_tables([*_comparison(), refused], {})[0]
    row = next(row for row in table.rows if row[0] == "medi_0")
    assert row[2] == 0
    assert "medi_0: It needs two echoes." in table.notes


def test_the_trust_table_counts_gates_false_alarms_and_intervals_that_hold() -> None:
    trust = ((1.0, 0.0, 0.9), (1.0, 0.0, 1.0), (0.0, 1.0, 0.8))
    ours = [result for result in _comparison() if result.method == "lodestone_net"]
    results = [
        replace(result, scores=result.scores | {LEARNED_MAP_USED: used, FLAGGED: flagged, COVERED: covered})
        for result, (used, flagged, covered) in zip(ours, 2 * trust, strict=True)
    ]
    table = trust_table(results)
    assert table is not None
    assert [row[0] for row in table.rows] == ["composite", "textured", "all"]
    assert [cell.value for cell in table.rows[-1][2:] if isinstance(cell, Estimate)] == pytest.approx(
        [200 / 3, 100 / 3, 90.0]
    )
    verdicts = {str(row[0]): row[3] for row in verdict_table(results, lambda method: {}).rows}
    assert verdicts["usual inputs that are flagged [%]"] is False
    assert verdicts["90 % intervals of regions that hold [%]"] is True
    assert trust_table(_comparison()) is None


def test_a_note_names_the_networks_that_are_told_no_direction() -> None:
    blind = [replace(result, method="xqsm") for result in _comparison() if result.method == "lodestone_net"]
    notes = " ".join(comparison_tables(blind, {})[0].notes)
    assert "axial cubes only: xqsm." in notes


def _refined(before: tuple[float, float], after: tuple[float, float], trial: str) -> list[Result]:
    return [
        Result("lodestone_net", variant, "composite", trial, scores={"residual": pair[0], "nrmse": pair[1]})
        for variant, pair in ((BEFORE, before), (AFTER, after))
    ]


def test_refinement_is_judged_on_the_mean_and_the_worst_sample_is_named() -> None:
    results = _comparison() + _refined((2.0, 50.0), (1.0, 45.0), "a") + _refined((2.0, 10.0), (1.5, 12.0), "b")
    row = refinement_table(results).rows[0]
    change = row[6]
    assert isinstance(change, Estimate)
    assert change.value == pytest.approx(100 * (57 / 60 - 1))
    assert row[7] == pytest.approx(20.0)


def _on_axis(level: Level, shares: dict[str, float], method: str = "lodestone_net") -> Result:
    regions = tuple(RegionError(name, 100, 50.0, 50.0 * share) for name, share in shares.items())
    return Result(
        method, DEFAULT, "textured", "textured 0", level=level, scores=dict.fromkeys(METRICS, 30.0), regions=regions
    )


TILTED = Level(tilt_deg=40.0)


def test_the_change_of_a_nucleus_is_that_of_its_recovered_share() -> None:
    results = [_on_axis(CENTRE, {"putamen": 0.8, "red": 1.0}), _on_axis(TILTED, {"putamen": 0.88, "red": 0.95})]
    changes = {change.nucleus: change.percent for change in nucleus_changes(results, "lodestone_net", "tilt")}
    assert changes == pytest.approx({"putamen": 10.0, "red": -5.0})
    assert dependence(results, "lodestone_net")["tilt"].value == pytest.approx(7.5)
    row = dependence_table(results).rows[0]
    assert row[3] == pytest.approx(10.0)
    assert math.isnan(row[6])  # type: ignore[arg-type]


def test_a_factor_has_a_table_once_two_of_its_levels_were_computed() -> None:
    assert axis_tables([_on_axis(CENTRE, {"putamen": 1.0})]) == []
    titles = [table.title for table in axis_tables([_on_axis(CENTRE, {}), _on_axis(TILTED, {})])]
    assert titles == ["tilt, heads: detrended NRMSE [%]"]


def test_the_verdict_compares_each_figure_with_its_limit() -> None:
    results = [*_comparison(), *_refined((2.0, 50.0), (1.0, 51.0), "a")]
    moved = {"tilt": Estimate(4.0, 3.5, 4.5)}
    verdicts = {str(row[0]): row[3] for row in verdict_table(results, lambda method: moved).rows}
    assert verdicts == {
        "lodestone_net over the best tuned method of each generator, average": False,
        "lodestone_net over star, the best tuned method on average": True,
        "lodestone_net over tkd, composite": True,
        "lodestone_net over star, textured": True,
        "change of a nucleus' mean with tilt [%], lodestone_net": False,
        "residual of lodestone_net after DF-QSM [noise]": True,
        "DF-QSM's change of the NRMSE of lodestone_net [%]": False,
    }
