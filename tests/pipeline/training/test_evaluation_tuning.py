"""The best weight is found by climbing, on trials that are not reported, and every method has one."""

import math

import pytest

from pipeline.errors import UnusableInput
from pipeline.methods import STEPS
from pipeline.training import evaluation_tuning
from pipeline.training.evaluation_trials import GENERATORS, STREAMS
from pipeline.training.evaluation_tuning import (
    TUNED,
    Tuning,
    classical_methods,
    knob,
    settings_at,
    tune,
    tuned_multiple,
    tuning_tables,
)


def _valley(lowest: float):
    """Return an error that is least at a multiple."""
    return lambda method, trials, multiple: 40 + 10 * abs(math.log2(multiple / lowest))


@pytest.mark.parametrize("lowest", [0.25, 0.5, 1.0, 2.0, 16.0])
def test_the_climb_ends_at_the_lowest_error_on_either_side_of_the_default(lowest: float, monkeypatch) -> None:
    monkeypatch.setattr(evaluation_tuning, "_mean_error", _valley(lowest))
    found = tune("total_variation", ())
    assert found is not None
    assert found.best == lowest
    assert len(found.errors) <= 2 + abs(math.log2(lowest / 4)) + 1


def test_the_climb_stops_at_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_tuning, "_mean_error", _valley(1e6))
    found = tune("l2", ())
    assert found is not None
    assert found.best == evaluation_tuning.MOST_MULTIPLE


def test_a_method_that_refuses_the_trials_has_no_best_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*asked: object) -> None:
        raise UnusableInput("It needs two echoes.")

    monkeypatch.setattr(evaluation_tuning, "classical_map", refuse)
    assert tune("medi_0", (object(),)) is None  # type: ignore[arg-type]


def test_every_classical_method_has_a_knob_that_changes_its_settings_within_their_limits() -> None:
    for name in classical_methods():
        method = STEPS["dipole_inversion"][name]
        default, doubled, vast = method.settings(), settings_at(method, 2.0), settings_at(method, 1e9)
        for setting in knob(name).settings:
            assert getattr(doubled, setting) == pytest.approx(2 * getattr(default, setting))
            limit = type(method.settings()).__dataclass_fields__[setting].metadata["maximum"]
            assert limit is None or getattr(vast, setting) == limit


def test_the_table_of_tuned_weights_knows_every_generator_and_names_only_methods_that_exist() -> None:
    assert set(TUNED) == set(GENERATORS)
    for generator, multiples in TUNED.items():
        assert set(multiples) <= set(classical_methods())
        missing = set(classical_methods()) - set(multiples)
        # Patches hold one echo and no CSF, which MEDI+0 needs.
        assert missing == ({"medi_0"} if generator == "composite" else set())
    assert tuned_multiple("composite", "medi_0") == 1.0


def test_the_tables_tell_the_best_multiple_and_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_tuning, "classical_methods", lambda: ("tkd", "l2"))
    found = {"tkd": Tuning("tkd", {1.0: 50.0, 2.0: 40.0}), "l2": None}
    monkeypatch.setattr(evaluation_tuning, "tuned_piece", lambda piece: found[piece[1]])
    told: list[str] = []
    tables = tuning_tables(1, told.append)
    assert len(told) == 2 * len(GENERATORS)
    assert tables[0].rows == (("tkd", 2.0, 40.0, "1: 50.0, 2: 40.0"),)
    assert tables[-1].rows == (("tkd", *[2.0] * len(GENERATORS)), ("l2", *[None] * len(GENERATORS)))


def test_tuning_seeds_are_no_reporting_seeds() -> None:
    assert STREAMS["tuning"] != STREAMS["report"]
