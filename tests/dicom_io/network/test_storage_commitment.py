import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage, generate_uid
from pynetdicom import AE
from pynetdicom.sop_class import ModalityPerformedProcedureStep, Verification

from dicom_io.errors import CommitmentNotOffered, PeerRefused, PeerUnreachable
from dicom_io.network.part10 import read_envelope
from dicom_io.network.peers import Caller, Peer
from dicom_io.network.storage_commitment import (
    UNKNOWN_TRANSACTION,
    CommitmentAnswer,
    Reference,
    failure_meaning,
    offers_commitment,
    request_commitment,
)
from dicom_io.network.storage_scp import ScpSettings, StorageScp
from dicom_io.network.storage_scu import send
from dicom_io.network.verification import echo
from tests.dicom_io.network.committing_archive import CommittingArchive, report_anew, report_of
from tests.dicom_io.network.conftest import Provider, write_image
from tests.e2e.orthanc import running_orthanc
from tests.waiting import eventually, free_port

UIDS = ("1.2.3.1", "1.2.3.2", "1.2.3.3")
REFERENCES = [Reference(MRImageStorage, uid) for uid in UIDS]


class Heard:
    """Keeps the answers that a handler hears, and returns `status` for them."""

    def __init__(self) -> None:
        self.answers: list[tuple[CommitmentAnswer, str]] = []
        self.status = 0x0000
        self.fails_with: Exception | None = None

    def __call__(self, answer: CommitmentAnswer, calling_ae: str) -> int:
        if self.fails_with is not None:
            raise self.fails_with
        self.answers.append((answer, calling_ae))
        return self.status


@pytest.fixture
def archive() -> Iterator[CommittingArchive]:
    """Run an archive that offers storage commitment."""
    made = CommittingArchive()
    yield made
    made.stop()


@pytest.fixture
def heard() -> Heard:
    """Return a handler of answers."""
    return Heard()


@pytest.fixture
def listener(heard: Heard) -> Iterator[Peer]:
    """Run our own listener, at which ARCHIVE may only report and SCANNER may store, and return its address."""
    yield from listening(heard, reporters=(Caller("ARCHIVE", "127.0.0.1"),), callers=(Caller("SCANNER"),))


def listening(on_commitment: Callable[[CommitmentAnswer, str], int] | None, **settings: object) -> Iterator[Peer]:
    scp = StorageScp(
        ScpSettings("NODE", **settings),
        on_instance=lambda incoming: None,
        on_failure=lambda error, calling_ae, association: 0x0110,
        on_refusal=lambda what, calling_ae, reason: None,
        on_end=lambda calling_ae, association: None,
        on_commitment=on_commitment,
    )
    scp.start()
    yield Peer("node", "NODE", "127.0.0.1", scp.port)
    scp.stop(1.0)


# The request


def test_the_request_names_every_object_and_the_transaction(archive: CommittingArchive, heard: Heard) -> None:
    request_commitment(archive.peer, REFERENCES, "2.25.1", "NODE", heard)
    (request,) = archive.requests
    assert request.TransactionUID == "2.25.1"
    asked = [(item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) for item in request.ReferencedSOPSequence]
    assert asked == [(MRImageStorage, uid) for uid in UIDS]
    assert not heard.answers


@pytest.mark.parametrize(("status", "name"), [(0x0110, "processing failure"), (0x0213, "resource limitation")])
def test_a_refused_request_is_told_by_code_and_name(
    archive: CommittingArchive, heard: Heard, status: int, name: str
) -> None:
    archive.status = status
    with pytest.raises(PeerRefused, match=f"0x{status:04X}, {name}"):
        request_commitment(archive.peer, REFERENCES, "2.25.1", "NODE", heard)


def test_a_request_that_is_not_answered_is_a_refusal(archive: CommittingArchive, heard: Heard) -> None:
    archive.hangs_up = True
    with pytest.raises(PeerRefused, match="did not answer"):
        request_commitment(archive.peer, REFERENCES, "2.25.1", "NODE", heard)


@pytest.fixture
def archive_without_commitment() -> Iterator[Peer]:
    """Run a peer that takes associations, but not storage commitment."""
    entity = AE("ARCHIVE")
    entity.add_supported_context(Verification)
    entity.add_supported_context(ModalityPerformedProcedureStep)
    server = entity.start_server(("127.0.0.1", 0), block=False)
    yield Peer("PACS", "ARCHIVE", "127.0.0.1", server.server_address[1])
    server.shutdown()


def test_a_peer_without_commitment_is_told_apart_from_one_that_is_down(
    archive_without_commitment: Peer, archive: CommittingArchive, heard: Heard
) -> None:
    with pytest.raises(CommitmentNotOffered, match="PACS"):
        request_commitment(archive_without_commitment, REFERENCES, "2.25.1", "NODE", heard)
    assert not offers_commitment(archive_without_commitment)
    assert offers_commitment(archive.peer)
    down = Peer("PACS", "ARCHIVE", "127.0.0.1", free_port())
    for ask in (
        lambda: request_commitment(down, REFERENCES, "2.25.1", "NODE", heard),
        lambda: offers_commitment(down),
    ):
        with pytest.raises(PeerUnreachable, match="cannot be reached"):
            ask()


def test_commitment_is_not_asked_for_nothing(archive: CommittingArchive, heard: Heard) -> None:
    with pytest.raises(ValueError, match="no object"):
        request_commitment(archive.peer, [], "2.25.1", "NODE", heard)
    assert not archive.requests


# The report on the same association


def test_a_report_on_the_same_association_is_heard_and_acknowledged(archive: CommittingArchive, heard: Heard) -> None:
    archive.reports_at_once, archive.failing = True, {UIDS[1]: 0x0112}
    started = time.monotonic()
    request_commitment(archive.peer, REFERENCES, "2.25.1", "NODE", heard, answer_within_s=60.0)
    assert time.monotonic() - started < 30
    assert heard.answers == [(CommitmentAnswer("2.25.1", (UIDS[0], UIDS[2]), ((UIDS[1], 0x0112),)), "ARCHIVE")]
    assert eventually(lambda: archive.heard, 10, "the acknowledgement") == [0x0000]


def test_a_report_that_could_not_be_recorded_is_not_acknowledged(archive: CommittingArchive, heard: Heard) -> None:
    archive.reports_at_once, heard.fails_with = True, OSError("disk full")
    with pytest.raises(OSError, match="disk full"):
        request_commitment(archive.peer, REFERENCES, "2.25.1", "NODE", heard, answer_within_s=60.0)
    assert eventually(lambda: archive.heard, 10, "the acknowledgement") == [0x0110]


def test_waiting_ends_with_its_time_where_no_report_comes(archive: CommittingArchive, heard: Heard) -> None:
    started = time.monotonic()
    request_commitment(archive.peer, REFERENCES, "2.25.1", "NODE", heard, answer_within_s=0.3)
    assert 0.3 <= time.monotonic() - started < 20
    assert not heard.answers


def test_waiting_ends_where_the_peer_ends_the_association(archive: CommittingArchive, heard: Heard) -> None:
    waiter = threading.Thread(
        target=request_commitment, args=(archive.peer, REFERENCES, "2.25.1", "NODE", heard, 300.0), daemon=True
    )
    waiter.start()
    eventually(lambda: archive.requests, 10, "the request")
    for association in archive._server.ae.active_associations:
        association.abort()
    waiter.join(20)
    assert not waiter.is_alive()


# The report on an association of the peer's own


@pytest.mark.parametrize("proposes_role", [True, False], ids=["as provider by role selection", "without a role"])
def test_a_late_report_on_a_new_association_is_heard(listener: Peer, heard: Heard, proposes_role: bool) -> None:
    report = report_of("2.25.1", UIDS[:2], {UIDS[2]: 0x0213})
    assert report_anew(listener, report, proposes_role=proposes_role, event_type=2) == 0x0000
    assert heard.answers == [(CommitmentAnswer("2.25.1", UIDS[:2], ((UIDS[2], 0x0213),)), "ARCHIVE")]


def test_the_handler_s_status_is_what_the_peer_hears(listener: Peer, heard: Heard) -> None:
    heard.status = UNKNOWN_TRANSACTION
    assert report_anew(listener, report_of("2.25.99", UIDS)) == UNKNOWN_TRANSACTION


def test_a_report_that_fails_here_is_not_acknowledged_and_the_next_is_heard(listener: Peer, heard: Heard) -> None:
    heard.fails_with = RuntimeError("the database is away")
    assert report_anew(listener, report_of("2.25.1", UIDS)) == 0x0110
    heard.fails_with = None
    assert report_anew(listener, report_of("2.25.1", UIDS)) == 0x0000


def test_whoever_runs_the_listener_learns_why_a_report_was_not_taken(provider: Provider, heard: Heard) -> None:
    provider.allowed = (Caller("ARCHIVE"),)
    provider.start(on_commitment=heard)
    report_anew(provider.peer, report_of(None, UIDS))
    heard.fails_with = RuntimeError("the database is away")
    report_anew(provider.peer, report_of("2.25.1", UIDS))
    assert [failure[:2] for failure in provider.failures] == [
        ("MalformedReport", "ARCHIVE"),
        ("RuntimeError", "ARCHIVE"),
    ]


def test_a_failure_without_a_reason_is_a_failure(listener: Peer, heard: Heard) -> None:
    assert report_anew(listener, report_of("2.25.1", failed={UIDS[0]: None}), event_type=2) == 0x0000
    assert heard.answers[0][0] == CommitmentAnswer("2.25.1", (), ((UIDS[0], 0x0110),))


def test_what_is_named_as_committed_and_as_failed_has_failed(listener: Peer, heard: Heard) -> None:
    assert report_anew(listener, report_of("2.25.1", UIDS, {UIDS[0]: 0x0112}), event_type=1) == 0x0000
    assert heard.answers[0][0] == CommitmentAnswer("2.25.1", UIDS[1:], ((UIDS[0], 0x0112),))


def with_uid(uid: str) -> Dataset:
    report = report_of("2.25.1", UIDS)
    report["TransactionUID"]._value = uid
    return report


@pytest.mark.parametrize(
    ("report", "how", "status"),
    [
        (report_of("2.25.1", UIDS), {"event_type": 3}, 0x0113),
        (report_of("2.25.1", UIDS), {"instance_uid": "1.2.3"}, 0x0112),
        (report_of(None, UIDS), {}, 0x0115),
        (report_of("2.25.1"), {}, 0x0115),
        (with_uid("../../etc"), {}, None),
        (b"", {}, None),
        (b"\x08\x00\x95\x11\xff\xff\xff\x7f2.25", {}, None),
        (bytes(range(64)), {}, None),
    ],
    ids=["event", "instance", "no transaction", "no object", "no UID", "empty", "cut", "noise"],
)
def test_a_malformed_report_is_refused_with_a_status_and_the_next_is_heard(
    listener: Peer, heard: Heard, report: Dataset | bytes, how: dict[str, object], status: int | None
) -> None:
    answered = report_anew(listener, report, **how)
    assert answered in ((0x0110, 0x0115) if status is None else (status,))
    assert not heard.answers
    assert report_anew(listener, report_of("2.25.1", UIDS)) == 0x0000


# Who may report


def test_a_stranger_cannot_report(listener: Peer, heard: Heard) -> None:
    with pytest.raises(ConnectionRefusedError):
        report_anew(listener, report_of("2.25.1", UIDS), calling_ae="STRANGER")
    assert not heard.answers


def test_a_reporter_may_verify_but_not_store(listener: Peer, tmp_path: Path) -> None:
    assert echo(listener, "ARCHIVE") > 0
    image = write_image(tmp_path / "image.dcm")
    with pytest.raises(PeerRefused, match="0x0124, not authorised"):
        send(listener, [image], calling_ae="ARCHIVE")
    assert send(listener, [image], calling_ae="SCANNER")[0].is_accepted


def test_without_a_handler_the_service_is_not_offered(provider: Provider) -> None:
    provider.start()
    assert not offers_commitment(provider.peer, "SCANNER")


@pytest.mark.e2e
def test_orthanc_commits_to_what_it_holds_and_only_to_that(
    program: Callable[[str], str], tmp_path: Path, listener: Peer, heard: Heard
) -> None:
    images = [write_image(tmp_path / f"{number}.dcm") for number in range(2)]
    held = [read_envelope(path).SOPInstanceUID for path in images]
    missing = generate_uid()
    with running_orthanc(tmp_path / "pacs", program("Orthanc"), "ARCHIVE") as pacs:
        pacs.put_modality("NODE", "NODE", listener.port)
        peer = Peer("PACS", "ARCHIVE", "127.0.0.1", pacs.dicom_port)
        send(peer, images, calling_ae="NODE")
        asked = [Reference(MRImageStorage, uid) for uid in (*held, missing)]
        request_commitment(peer, asked, "2.25.1", "NODE", heard)
        ((answer, reporter),) = eventually(lambda: list(heard.answers), 30, "Orthanc's report")
    assert (answer.transaction_uid, reporter) == ("2.25.1", "ARCHIVE")
    assert set(answer.committed) == set(held)
    assert [uid for uid, _ in answer.failed] == [missing]
    assert failure_meaning(answer.failed[0][1]).startswith("no such object instance")
