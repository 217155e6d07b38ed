"""Nothing is called delivered on a peer's word for storing alone where it offers to commit, or can be asked."""

from collections.abc import Callable

import pytest

from db.commitments import CommitmentState
from db.deliveries import DeliveryState, Evidence
from db.series import State
from dicom_io.network.storage_commitment import RECORDED, UNKNOWN_TRANSACTION, CommitmentAnswer
from node import destinations
from node.journey.delivered_answers import record_answer
from tests.node.journey.conftest import Site
from tests.node.outbox import PEER, Encoded
from tests.node.scripted_archive import Script
from tests.waiting import eventually

NO_SUCH_INSTANCE = 0x0112


def test_a_commitment_on_the_peer_s_own_association_makes_a_delivery(open_site: Callable[..., Site]) -> None:
    services, archive = open_site()
    encoded = Encoded(services)
    encoded.look()
    eventually(lambda: encoded.evidence() == {Evidence.COMMITTED: 3}, 20, "the commitment")
    assert archive.heard == [RECORDED]
    encoded.look()
    assert encoded.series().state == State.RECORDED
    events = encoded.events()
    assert events.index("commitment.requested") < events.index("commitment.answered") < events.index("series.delivered")
    assert set(archive.stores.values()) == {1}


def test_until_the_peer_commits_the_series_is_not_delivered(open_site: Callable[..., Site]) -> None:
    services, archive = open_site(Script(reports="never"))
    encoded = Encoded(services)
    encoded.look()
    assert encoded.states() == {DeliveryState.ACCEPTED: 3}
    assert encoded.series().state == State.ENCODED
    number, status = encoded.next_job()
    assert (number, status) == (2, "DELAYED")
    assert "peer.unconfirmed" not in encoded.events()
    assert encoded.delay_s(number) == pytest.approx(30 * 60, abs=60)
    encoded.look()
    assert len(archive.requests) == 1
    assert set(archive.stores.values()) == {1}
    assert archive.report() == RECORDED
    assert encoded.next_job()[1] in ("ENQUEUED", "DELAYED")
    encoded.look()
    assert encoded.series().state == State.RECORDED


def test_a_commitment_on_the_same_association_counts_too(
    open_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destinations, "SAME_ASSOCIATION_S", 10.0)
    services, archive = open_site(Script(reports="same"), listens=False)
    encoded = Encoded(services)
    encoded.look()
    eventually(lambda: archive.heard == [RECORDED], 10, "the archive's report")
    assert encoded.evidence() == {Evidence.COMMITTED: 3}
    assert encoded.series().state == State.RECORDED


def test_exactly_what_was_not_committed_is_sent_again(open_site: Callable[..., Site]) -> None:
    services, archive = open_site()
    encoded = Encoded(services)
    lost = encoded.uids[1]
    archive.script.failing = lambda uid: NO_SUCH_INSTANCE if uid == lost and archive.stores[uid] == 1 else None
    encoded.look_until_final()
    assert encoded.evidence() == {Evidence.COMMITTED: 3}
    assert {uid: archive.stores[uid] for uid in encoded.uids} == {uid: 1 + (uid == lost) for uid in encoded.uids}
    assert {row.sop_instance_uid: row.resends for row in encoded.rows()}[lost] == 1
    assert [one.n_committed for one in encoded.transactions()] == [2, 1]
    assert encoded.events().count("commitment.answered") == 2


def test_what_is_never_committed_is_sent_a_limited_number_of_times_and_then_failed(
    open_site: Callable[..., Site],
) -> None:
    services, archive = open_site(delivery="most_resends = 2")
    encoded = Encoded(services)
    lost = encoded.uids[0]
    archive.script.failing = lambda uid: 0x0213 if uid == lost else None
    encoded.look_until_final()
    assert archive.stores[lost] == 3
    ended = encoded.series()
    assert (ended.state, ended.refusal_class) == (State.FAILED, "PeerRefused")
    assert "did not commit to it: resource limitation" in ended.sentence
    assert "lodestone retry" in ended.sentence
    assert encoded.states() == {DeliveryState.DELIVERED: 2, DeliveryState.FAILED: 1}


def test_what_the_peer_does_not_name_in_its_answer_is_not_committed(open_site: Callable[..., Site]) -> None:
    services, _ = open_site(Script(reports="never"))
    encoded = Encoded(services)
    encoded.look()
    (asked,) = encoded.transactions()
    answer = CommitmentAnswer(asked.transaction_uid, tuple(encoded.uids[:2]), ())
    assert record_answer(services, answer, PEER) == RECORDED
    assert encoded.states() == {DeliveryState.DELIVERED: 2, DeliveryState.PENDING: 1}
    assert encoded.details("commitment.answered")["reasons"] == ["its answer does not name the object"]


def test_an_answer_that_does_not_come_in_time_is_replaced_by_a_query(open_site: Callable[..., Site]) -> None:
    services, _ = open_site(Script(reports="never"))
    encoded = Encoded(services)
    encoded.look()
    encoded.let_time_pass(minutes=31)
    encoded.look()
    assert encoded.evidence() == {Evidence.FOUND: 3}
    assert encoded.series().state == State.RECORDED
    assert "commitment.overdue" in encoded.events()
    assert encoded.details("peer.queried") == {"peer": PEER, "n_found": 3, "n_missing": 0}


def test_an_answer_that_comes_after_the_query_still_counts(open_site: Callable[..., Site]) -> None:
    services, archive = open_site(Script(reports="never"))
    encoded = Encoded(services)
    encoded.look()
    encoded.let_time_pass(minutes=31)
    encoded.look()
    assert archive.report() == RECORDED
    assert encoded.evidence() == {Evidence.COMMITTED: 3}
    assert encoded.details("commitment.answered")["is_late"] is True
    assert encoded.series().state == State.RECORDED


def test_what_is_neither_committed_nor_found_is_sent_again(open_site: Callable[..., Site]) -> None:
    services, archive = open_site(Script(reports="never"))
    encoded = Encoded(services)
    encoded.look()
    lost = encoded.uids[2]
    del archive.held[lost]
    encoded.let_time_pass(minutes=31)
    encoded.look()
    assert encoded.states() == {DeliveryState.DELIVERED: 2, DeliveryState.PENDING: 1}
    archive.script.reports = "anew"
    encoded.look_until_final()
    assert archive.stores[lost] == 2
    assert encoded.evidence() == {Evidence.FOUND: 2, Evidence.COMMITTED: 1}


def test_an_old_failure_does_not_undo_what_was_committed_since(open_site: Callable[..., Site]) -> None:
    services, archive = open_site(Script(reports="never", knows_when_queried=False))
    encoded = Encoded(services)
    encoded.look()
    encoded.let_time_pass(minutes=31)
    encoded.look()
    archive.script.reports = "anew"
    encoded.look_until_final()
    assert encoded.evidence() == {Evidence.COMMITTED: 3}
    archive.script.failing = lambda uid: NO_SUCH_INSTANCE
    assert archive.report(0) == RECORDED
    assert encoded.evidence() == {Evidence.COMMITTED: 3}
    assert encoded.series().state == State.RECORDED


def test_a_peer_that_never_answers_and_takes_no_query_fails_after_a_limited_number_of_requests(
    open_site: Callable[..., Site],
) -> None:
    services, archive = open_site(Script(reports="never", offers_query=False), delivery="most_resends = 1")
    encoded = Encoded(services)
    for _ in range(4):
        encoded.look()
        encoded.let_time_pass(minutes=31)
    assert len(archive.requests) == 2
    assert set(archive.stores.values()) == {1}
    assert encoded.states() == {DeliveryState.FAILED: 3}
    assert "asked 2 times to commit" in encoded.series().sentence


def test_without_commitment_a_query_proves_that_the_peer_holds_everything(open_site: Callable[..., Site]) -> None:
    services, _ = open_site(Script(offers_commitment=False))
    encoded = Encoded(services)
    encoded.look()
    assert encoded.evidence() == {Evidence.FOUND: 3}
    assert encoded.series().state == State.RECORDED


def test_without_commitment_and_query_the_answer_to_the_store_has_to_do(open_site: Callable[..., Site]) -> None:
    services, _ = open_site(Script(offers_commitment=False, offers_query=False))
    encoded = Encoded(services)
    encoded.look()
    assert encoded.evidence() == {Evidence.ANSWERED: 3}
    assert encoded.series().state == State.RECORDED


def test_a_peer_that_lost_what_it_accepted_gets_it_again_after_a_time_to_index(open_site: Callable[..., Site]) -> None:
    services, archive = open_site(Script(offers_commitment=False, knows_when_queried=False))
    encoded = Encoded(services)
    encoded.look()
    assert encoded.states() == {DeliveryState.ACCEPTED: 3}
    assert "does not know 3 of them yet" in encoded.details("peer.unconfirmed")["reason"]
    encoded.let_time_pass(minutes=31)
    encoded.look()
    assert encoded.states() == {DeliveryState.PENDING: 3}
    archive.script.knows_when_queried = True
    encoded.look_until_final()
    assert set(archive.stores.values()) == {2}
    assert encoded.evidence() == {Evidence.FOUND: 3}


def test_a_peer_that_must_commit_and_does_not_offer_it_is_told_and_given_up(open_site: Callable[..., Site]) -> None:
    services, archive = open_site(Script(offers_commitment=False), peer='commitment = "required"')
    encoded = Encoded(services)
    encoded.look()
    assert encoded.states() == {DeliveryState.ACCEPTED: 3}
    assert "does not offer storage commitment" in encoded.details("peer.unconfirmed")["reason"]
    encoded.let_time_pass(minutes=73 * 60)
    encoded.look()
    assert encoded.states() == {DeliveryState.FAILED: 3}
    assert 'commitment = "required"' in encoded.series().sentence
    assert set(archive.stores.values()) == {1}


def test_where_commitment_is_off_nobody_is_asked(open_site: Callable[..., Site]) -> None:
    services, archive = open_site(peer='commitment = "off"')
    encoded = Encoded(services)
    encoded.look()
    assert encoded.evidence() == {Evidence.ANSWERED: 3}
    assert archive.requests == []


def test_a_request_that_is_refused_is_made_again_and_a_query_decides_in_the_end(open_site: Callable[..., Site]) -> None:
    services, archive = open_site(Script(action_status=0x0110))
    encoded = Encoded(services)
    encoded.look()
    assert encoded.states() == {DeliveryState.ACCEPTED: 3}
    assert "0x0110" in encoded.details("peer.unconfirmed")["reason"]
    assert encoded.next_job()[1] == "DELAYED"
    encoded.let_time_pass(minutes=31)
    encoded.look()
    assert len(archive.requests) == 2
    assert encoded.evidence() == {Evidence.FOUND: 3}


def test_a_stranger_s_answer_and_one_to_an_unknown_transaction_are_refused_and_audited(
    open_site: Callable[..., Site],
) -> None:
    services, _ = open_site(Script(reports="never"))
    encoded = Encoded(services)
    encoded.look()
    (asked,) = encoded.transactions()
    answer = CommitmentAnswer(asked.transaction_uid, tuple(encoded.uids), ())
    assert record_answer(services, answer, "SCANNER") == UNKNOWN_TRANSACTION
    assert record_answer(services, CommitmentAnswer("2.25.4", tuple(encoded.uids), ()), PEER) == UNKNOWN_TRANSACTION
    assert encoded.states() == {DeliveryState.ACCEPTED: 3}
    assert encoded.details("commitment.refused")["calling_ae"] == PEER


def test_an_answer_that_comes_twice_changes_nothing(open_site: Callable[..., Site]) -> None:
    services, archive = open_site(Script(reports="never"))
    encoded = Encoded(services)
    encoded.look()
    assert archive.report() == RECORDED
    rows, number = [row.as_dict() for row in encoded.rows()], encoded.next_job()[0]
    archive.script.failing = lambda uid: NO_SUCH_INSTANCE
    assert archive.report() == RECORDED
    assert [row.as_dict() for row in encoded.rows()] == rows
    assert encoded.next_job()[0] == number
    assert encoded.events().count("commitment.answered") == 1


def test_a_worker_that_dies_between_plan_and_request_asks_under_a_new_transaction(
    open_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    services, archive = open_site()
    encoded = Encoded(services)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(destinations.DicomDestination, "commit", die)
        with pytest.raises(KeyboardInterrupt):
            encoded.look()
    assert [one.state for one in encoded.transactions()] == [CommitmentState.PLANNED]
    encoded.look()
    eventually(lambda: encoded.evidence() == {Evidence.COMMITTED: 3}, 20, "the commitment")
    assert [one.state for one in encoded.transactions()] == [CommitmentState.PLANNED, CommitmentState.ANSWERED]
    assert set(archive.stores.values()) == {1}


def test_a_job_that_waits_under_an_older_number_does_nothing(open_site: Callable[..., Site]) -> None:
    services, archive = open_site(Script(reports="never"))
    encoded = Encoded(services)
    encoded.look()
    archive.report()
    assert encoded.next_job()[0] == 3
    events = encoded.events()
    encoded.look(2)
    assert encoded.events()[: len(events)] == events
    assert encoded.next_job()[0] == 3


def test_what_the_peer_loses_after_the_series_was_recorded_is_sent_again(open_site: Callable[..., Site]) -> None:
    services, archive = open_site(Script(reports="never"))
    encoded = Encoded(services)
    encoded.look()
    encoded.let_time_pass(minutes=31)
    encoded.look()
    assert encoded.series().state == State.RECORDED
    lost = encoded.uids[0]
    archive.script.failing = lambda uid: NO_SUCH_INSTANCE if uid == lost else None
    assert archive.report() == RECORDED
    assert encoded.states() == {DeliveryState.DELIVERED: 2, DeliveryState.PENDING: 1}
    assert encoded.next_job()[1] == "DELAYED"
    archive.script = Script()
    encoded.look()
    eventually(lambda: encoded.evidence() == {Evidence.COMMITTED: 3}, 20, "the second commitment")
    assert archive.stores[lost] == 2
