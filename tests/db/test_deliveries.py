"""Every object has one delivery per peer that wants its kind, and the summary tells what is proved and what is not."""

import pytest

from db import commitments, deliveries, dispatches, runs, series
from db.base import now
from db.commitments import CommitmentState
from db.deliveries import Delivery, DeliveryState, Evidence
from db.session import Database

MADE = [("2.25.0", "susceptibility"), ("2.25.1", "susceptibility"), ("2.25.2", "report")]


@pytest.fixture
def run_key(database: Database) -> str:
    """Add a series with one run, and return the run's key."""
    with database.begin() as session:
        key = series.create(session, "1.2.3", "1.2", "SCANNER").key
        columns = {"input_digest": "b" * 64, "recipe_name": "a", "recipe_text": "", "recipe_digest": "d" * 64}
        return runs.begin(session, key, 1, **columns).key


def planned(database: Database, run_key: str, **peers: tuple[str, ...] | None) -> dict[str, list[Delivery]]:
    with database.begin() as session:
        deliveries.plan(session, run_key, MADE, peers)
        return {peer: deliveries.of_run(session, run_key, peer) for peer in peers}


def test_a_peer_is_to_have_the_kinds_it_wants_and_all_where_it_names_none(database: Database, run_key: str) -> None:
    rows = planned(database, run_key, PACS=None, RESEARCH=("report",), NOBODY=("swi",))
    assert {peer: [row.kind for row in sent] for peer, sent in rows.items()} == {
        "PACS": ["susceptibility", "susceptibility", "report"],
        "RESEARCH": ["report"],
        "NOBODY": [],
    }


def test_planning_again_adds_only_what_is_new(database: Database, run_key: str) -> None:
    planned(database, run_key, PACS=("report",))
    with database.begin() as session:
        deliveries.of_run(session, run_key)[0].accept()
    (report, *images) = planned(database, run_key, PACS=None)["PACS"]
    assert report.state == DeliveryState.ACCEPTED
    assert [row.state for row in images] == [DeliveryState.PENDING] * 2


def test_the_summary_tells_accepted_committed_found_and_refused_apart(database: Database, run_key: str) -> None:
    first, second, third = planned(database, run_key, PACS=None)["PACS"]
    for row in (first, second):
        row.accept()
        row.status, row.attempts = "0x0000", 1
    first.deliver(Evidence.COMMITTED)
    third.end(DeliveryState.REFUSED, "PACS takes no such object.")
    third.attempts, third.status = 2, "0x0122"
    assert deliveries.summary([first, second, third])["PACS"] == {
        **{"pending": 0, "accepted": 1, "delivered": 1, "refused": 1, "failed": 0},
        **{"answered": 0, "committed": 1, "found": 0},
        **{"attempts": 2, "resends": 0, "refused_kinds": ["report"]},
        **{"status": "0x0122", "sentence": "PACS takes no such object."},
    }


def test_an_object_that_is_sent_again_is_proved_by_nothing_any_more(database: Database, run_key: str) -> None:
    row = planned(database, run_key, PACS=None)["PACS"][0]
    row.accept()
    row.deliver(Evidence.FOUND)
    row.send_again("PACS lost it.")
    assert (row.state, row.resends, row.evidence, row.delivered_at) == (DeliveryState.PENDING, 1, None, None)


def test_many_series_are_summed_up_as_each_alone_in_its_present_revision(database: Database, run_key: str) -> None:
    planned(database, run_key, PACS=None, RESEARCH=("report",))
    with database.begin() as session:
        first, second, third = deliveries.of_run(session, run_key, "PACS")
        for row in (first, second):
            row.accept()
            row.resends, row.attempts = 1, 2
        first.deliver(Evidence.COMMITTED)
        third.end(DeliveryState.REFUSED, "PACS takes no such object.")
    with database.read() as session:
        key = series.list_series(session)[0].key
        many = {key: 1} | {f"s-{number}": 1 for number in range(1200)}
        assert deliveries.summaries(session, many) == {key: deliveries.summary(deliveries.of_run(session, run_key))}
        assert deliveries.summaries(session, {key: 1})[key]["PACS"]["resends"] == 2
        assert deliveries.summaries(session, {key: 2}) == {}
        assert deliveries.summaries(session, {}) == {}


def test_a_transaction_is_found_by_its_uid_and_counted_per_peer(database: Database, run_key: str) -> None:
    with database.begin() as session:
        row = commitments.plan(session, "2.25.9", run_key, "PACS", ["2.25.0", "2.25.1"], now())
        assert row.as_dict()["n_asked"] == 2
    with database.read() as session:
        held = commitments.find(session, "2.25.9")
        assert held is not None
        assert (held.state, held.peer) == (CommitmentState.PLANNED, "PACS")
        assert commitments.find(session, "2.25.8") is None
        assert [commitments.count(session, run_key, peer) for peer in ("PACS", "OTHER")] == [1, 0]
        assert commitments.of_run(session, run_key) == [held]


def test_a_job_is_superseded_by_the_next_and_may_be_run_again_itself(database: Database, run_key: str) -> None:
    with database.begin() as session:
        assert dispatches.take(session, run_key, "PACS", 1)
        assert dispatches.take(session, run_key, "PACS", 1)
        line = dispatches.of(session, run_key, "PACS")
        assert dispatches.next_number(line) == 2
        assert not dispatches.take(session, run_key, "PACS", 1)
        assert line.running_job == 1
        assert dispatches.take(session, run_key, "PACS", 2)
        assert dispatches.take(session, run_key, "OTHER", 1)
