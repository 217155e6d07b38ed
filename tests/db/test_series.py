"""A series moves along the seven words in their order, and every move leaves a row in the audit."""

import pytest
from sqlalchemy.exc import IntegrityError

from db import audit, series
from db.errors import NotInRecord, StateConflict, Superseded
from db.series import ENDS, JOURNEY, Series, State
from db.session import Database


@pytest.fixture
def key(database: Database) -> str:
    """Add one series and return its key."""
    with database.begin() as session:
        return series.create(session, "1.2.3", "1.2", "SCANNER").key


def test_each_word_follows_the_one_before_and_is_audited(database: Database, key: str) -> None:
    for state in JOURNEY[1:]:
        with database.begin() as session:
            series.change_state(session, series.get(session, key), state)
    with database.read() as session:
        assert series.get(session, key).state == State.RECORDED
        events = [row.event for row in audit.list_events(session, key)]
    assert events == [f"series.{state}" for state in JOURNEY]


def test_a_further_map_is_found_with_its_series_and_by_each_recipe_once(database: Database, key: str) -> None:
    with database.begin() as session:
        further = series.create_further(session, series.get(session, key), "v_sharp_tv")
        assert (series.uid_of(session, further), further.source_key) == ("1.2.3", key)
    with database.read() as session:
        assert [one.key for one in series.further_maps(session, key)] == [further.key]
        assert [one.key for one in series.waiting(session)] == [key]
        assert [row.details for row in audit.list_events(session, further.key)] == [
            {"map_of": key, "map_by": "v_sharp_tv"}
        ]
    with pytest.raises(IntegrityError), database.begin() as session:
        series.create_further(session, series.get(session, key), "v_sharp_tv")


@pytest.mark.parametrize("state", [State.RECONSTRUCTED, State.MAPPED, State.DELIVERED, State.RECORDED, State.RECEIVED])
def test_no_word_can_be_skipped_or_repeated(database: Database, key: str, state: State) -> None:
    with pytest.raises(StateConflict, match=key), database.begin() as session:
        series.change_state(session, series.get(session, key), state)


@pytest.mark.parametrize("end", [State.REFUSED, State.IGNORED, State.FAILED])
def test_a_series_that_has_ended_stays_where_it_is(database: Database, key: str, end: State) -> None:
    with database.begin() as session:
        series.change_state(session, series.get(session, key), end, {}, "No phase came.", "PhaseMissing")
    with database.read() as session:
        ended = series.get(session, key)
        for state in set(State) - {State.JOINED}:
            with pytest.raises(StateConflict):
                series.change_state(session, ended, state)


def test_a_refusal_keeps_its_class_and_sentence(database: Database, key: str) -> None:
    with database.begin() as session:
        series.change_state(session, series.get(session, key), State.REFUSED, {}, "No phase came.", "PhaseMissing")
    with database.read() as session:
        found = series.get(session, key)
        assert (found.refusal_class, found.sentence) == ("PhaseMissing", "No phase came.")
        details = audit.list_events(session, key)[-1].details
    assert details == {"revision": 1, "class": "PhaseMissing", "sentence": "No phase came."}


def test_reopening_begins_a_new_revision_and_forgets_the_refusal(database: Database, key: str) -> None:
    with database.begin() as session:
        found = series.get(session, key)
        series.change_state(session, found, State.REFUSED, {}, "No phase came.", "PhaseMissing")
        series.reopen(session, found, "the phase came")
    with database.read() as session:
        found = series.get(session, key)
        assert (found.state, found.revision, found.refusal_class, found.sentence) == (State.RECEIVED, 2, None, "")
        assert found.enqueued_at is None


def test_work_for_an_old_revision_is_dropped(database: Database, key: str) -> None:
    with database.begin() as session:
        series.reopen(session, series.get(session, key), "an instance came late")
    with database.read() as session:
        series.expect_revision(series.get(session, key), 2)
        with pytest.raises(Superseded, match="revision 1 is dropped"):
            series.expect_revision(series.get(session, key), 1)


def test_an_unknown_key_is_said_to_be_unknown(database: Database) -> None:
    with pytest.raises(NotInRecord, match="s-unknown"), database.read() as session:
        series.get(session, "s-unknown")


@pytest.mark.parametrize("state", State)
def test_nothing_is_left_to_do_once_a_word_is_reached_or_the_journey_has_ended(state: State) -> None:
    held = Series(state=state)
    if state in ENDS:
        assert all(series.has_reached(held, word) for word in JOURNEY)
    else:
        assert series.has_reached(held, state)
        assert not series.has_reached(held, JOURNEY[JOURNEY.index(state) + 1])


def test_keys_hold_nothing_that_was_received(database: Database) -> None:
    with database.begin() as session:
        keys = {series.create(session, f"1.2.840.{number}", "1.2", "SCANNER").key for number in range(20)}
    assert len(keys) == 20
    assert all(key.startswith("s-") and len(key) == 14 for key in keys)
