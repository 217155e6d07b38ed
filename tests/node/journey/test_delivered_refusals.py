"""A peer that refuses, warns or falls silent is told by name, and nothing it does is taken for success."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian, JPEG2000Lossless, ParametricMapStorage

from db.base import now
from db.deliveries import DeliveryState, Evidence
from db.series import State
from node import worker
from node.completeness_sweep import Sweep
from node.errors import ArtefactDamaged
from tests.node.journey.conftest import Site
from tests.node.outbox import PEER, SERIES, STUDY, Encoded
from tests.node.scripted_archive import Script


def test_a_kind_that_the_peer_does_not_take_is_told_and_holds_nothing_back(open_site: Callable[..., Site]) -> None:
    services, _ = open_site(Script(refused_classes={Comprehensive3DSRStorage, ParametricMapStorage}))
    encoded = Encoded(services, {"report": Comprehensive3DSRStorage, "parametric_map": ParametricMapStorage})
    encoded.look_until_final()
    ended = encoded.series()
    assert ended.state == State.RECORDED
    assert "ARCHIVE does not take 2 objects (parametric map, report)" in ended.sentence
    assert encoded.states() == {DeliveryState.DELIVERED: 3, DeliveryState.REFUSED: 2}
    assert encoded.details("objects.refused")["kinds"] == ["parametric_map", "report"]
    assert encoded.rows()[-1].sentence.startswith("ARCHIVE: the peer takes no ")


def test_a_kind_that_a_peer_must_have_and_does_not_take_fails_the_series(open_site: Callable[..., Site]) -> None:
    script = Script(refused_classes={Comprehensive3DSRStorage})
    services, _ = open_site(script, peer='objects = ["susceptibility", "report"]')
    encoded = Encoded(services, {"report": Comprehensive3DSRStorage, "parametric_map": ParametricMapStorage})
    assert len(encoded.rows()) == 4
    encoded.look_until_final()
    ended = encoded.series()
    assert ended.state == State.FAILED
    assert "ARCHIVE does not take one object (report)" in ended.sentence


def test_a_peer_that_takes_only_another_transfer_syntax_takes_nothing_and_says_so(
    open_site: Callable[..., Site],
) -> None:
    services, archive = open_site(Script(syntaxes=(JPEG2000Lossless,)))
    encoded = Encoded(services)
    encoded.look()
    assert encoded.states() == {DeliveryState.REFUSED: 3}
    assert encoded.series().state == State.FAILED
    assert not archive.stores


def test_a_status_for_an_unsupported_class_is_final_and_any_other_is_tried_again(
    open_site: Callable[..., Site],
) -> None:
    services, archive = open_site(Script(syntaxes=(ExplicitVRLittleEndian,)))
    encoded = Encoded(services, {"report": Comprehensive3DSRStorage})
    report, poisoned = encoded.uids[3], encoded.uids[0]

    def answer(uid: str, copy: int) -> int:
        return 0x0122 if uid == report else 0xC000 if uid == poisoned and copy == 1 else 0x0000

    archive.script.store_status = answer
    encoded.look()
    assert encoded.states()[DeliveryState.REFUSED] == 1
    assert [row.status for row in encoded.rows()] == ["0xC000", "0x0000", "0x0000", "0x0122"]
    encoded.look_until_final()
    assert (archive.stores[report], archive.stores[poisoned]) == (1, 2)
    assert encoded.series().state == State.RECORDED


def test_a_warning_is_stored_told_and_still_to_be_committed(open_site: Callable[..., Site]) -> None:
    services, archive = open_site()
    encoded = Encoded(services)
    archive.script.store_status = lambda uid, copy: 0xB000
    encoded.look_until_final()
    assert encoded.evidence() == {Evidence.COMMITTED: 3}
    assert {row.status for row in encoded.rows()} == {"0xB000"}
    assert {row.sentence for row in encoded.rows()} == {
        "ARCHIVE: stored with a warning: the peer changed elements of it."
    }


def test_an_empty_status_is_no_success_and_does_not_hold_back_the_next_object(open_site: Callable[..., Site]) -> None:
    services, archive = open_site()
    encoded = Encoded(services)
    silent = encoded.uids[0]
    archive.script.store_status = lambda uid, copy: None if uid == silent and copy == 1 else 0x0000
    encoded.look()
    assert encoded.rows()[0].state == DeliveryState.PENDING
    assert encoded.rows()[0].status == "no answer"
    encoded.look_until_final()
    assert [archive.stores[uid] for uid in encoded.uids] == [2, 1, 1]
    assert encoded.evidence() == {Evidence.COMMITTED: 3}


def test_an_object_that_the_peer_says_it_has_is_believed_only_after_a_query(open_site: Callable[..., Site]) -> None:
    services, archive = open_site(Script(offers_commitment=False))
    encoded = Encoded(services)
    present, absent, _ = encoded.uids
    archive.held[present] = (STUDY, SERIES)
    archive.script.store_status = lambda uid, copy: 0x0111 if uid in (present, absent) else 0x0000
    encoded.look()
    assert [row.evidence for row in encoded.rows()] == [Evidence.FOUND, None, Evidence.FOUND]
    assert encoded.rows()[0].sentence.startswith("ARCHIVE: duplicate SOP instance")
    assert encoded.series().state == State.ENCODED


def test_a_peer_that_rejects_the_association_is_told_by_name_and_tried_again(open_site: Callable[..., Site]) -> None:
    services, _ = open_site(Script(admits=("SOMEBODY",)))
    encoded = Encoded(services)
    encoded.look()
    assert encoded.states() == {DeliveryState.PENDING: 3}
    assert "Calling AE title not recognised" in encoded.rows()[0].sentence
    assert encoded.rows()[0].attempts == 1
    assert encoded.next_job() == (2, "DELAYED")
    assert encoded.details("peer.refused")["retry_in_s"] == 0.2


def test_a_file_that_is_not_what_was_validated_is_not_sent(open_site: Callable[..., Site]) -> None:
    services, archive = open_site()
    encoded = Encoded(services)
    encoded.files()[0].write_bytes(b"something else")
    with pytest.raises(ArtefactDamaged, match="not the object that was validated"):
        encoded.look()
    assert not archive.stores


def test_a_failed_peer_is_given_up_after_its_hours(open_site: Callable[..., Site]) -> None:
    services, archive = open_site()
    archive.stop()
    encoded = Encoded(services)
    with services.database.begin() as session:
        for row in encoded.rows():
            session.merge(row).created_at = now() - timedelta(hours=73)
    encoded.look()
    assert encoded.states() == {DeliveryState.FAILED: 3}
    assert "peer.given_up" in encoded.events()
    assert "ARCHIVE did not accept every object within 72 h" in encoded.series().sentence


def test_a_dead_job_to_a_peer_fails_the_series_where_a_person_sees_it(
    open_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    services, archive = open_site(listens=False)
    archive.stop()
    monkeypatch.setattr(worker._Holder, "services", services)
    encoded = Encoded(services)
    encoded.look()
    sweep = Sweep(services, worker.end)
    sweep.look_at_jobs()
    assert encoded.series().state == State.ENCODED
    services.jobs.client.cancel_workflow(services.jobs.delivery_id(encoded.key, 1, PEER, encoded.next_job()[0]))
    sweep.look_at_jobs()
    assert encoded.series().state == State.FAILED
    assert encoded.series().sentence.startswith("The delivery to ARCHIVE ended.")
