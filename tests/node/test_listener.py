import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage
from sqlalchemy import select

from db.audit import list_events
from db.audit import verify as verify_audit
from db.errors import RecordBusy
from db.instances import Instance
from dicom_io.errors import ContradictoryHeader, DicomError, NotDicom, PeerRefused, PeerUnreachable
from dicom_io.network.part10 import read_envelope
from dicom_io.network.peers import Peer
from dicom_io.network.storage_commitment import UNKNOWN_TRANSACTION
from dicom_io.network.storage_scu import SendResult, send
from dicom_io.network.verification import echo
from node import app
from node.errors import DiskFull, InvalidSettings
from node.inbox import Inbox
from node.listener import Listener, status_of
from node.services import Services
from node.settings import Settings
from node.site import write_site
from tests.dicom_io.network.committing_archive import report_anew, report_of
from tests.dicom_io.network.conftest import write_image
from tests.waiting import eventually, free_port


@pytest.fixture
def site(tmp_path: Path) -> Settings:
    return write_site(tmp_path / "site", port=free_port(), allowed=("SCANNER",))


@pytest.fixture
def services(site: Settings) -> Iterator[Services]:
    built = app.build_services(site)
    yield built
    built.close()


@pytest.fixture
def listener(site: Settings, services: Services) -> Iterator[Listener]:
    started = Listener(site, services)
    started.start()
    yield started
    started.stop(1.0)


def peer_of(site: Settings) -> Peer:
    return Peer("node", site.node.ae_title, "127.0.0.1", site.node.port)


def rows(services: Services) -> list[Instance]:
    with services.database.read() as session:
        return list(session.scalars(select(Instance).order_by(Instance.id)))


def events(services: Services, name: str) -> list[dict]:
    with services.database.read() as session:
        return [row.details for row in list_events(session) if row.event == name]


def test_an_acknowledged_instance_is_in_the_inbox_and_in_the_record(
    listener: Listener, services: Services, site: Settings, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "image.dcm")
    (result,) = send(peer_of(site), [image], calling_ae="SCANNER")
    assert result.status == 0x0000
    (row,) = rows(services)
    assert (row.sop_instance_uid, row.calling_ae) == (result.SOPInstanceUID, "SCANNER")
    kept = services.inbox.verify(row.inbox_name, row.sha256)
    assert kept.read_bytes().endswith(image.read_bytes()[read_envelope(image).dataset_offset :])


def test_an_instance_sent_three_times_is_kept_once(
    listener: Listener, services: Services, site: Settings, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "image.dcm")
    for _ in range(3):
        assert send(peer_of(site), [image], calling_ae="SCANNER")[0].status == 0x0000
    assert len(rows(services)) == 1
    assert list(services.inbox.names()) == [rows(services)[0].inbox_name]


def test_an_unknown_caller_is_rejected_and_in_the_audit(listener: Listener, services: Services, site: Settings) -> None:
    with pytest.raises(PeerUnreachable, match="Calling AE title not recognised"):
        echo(peer_of(site), "STRANGER")
    (refusal,) = events(services, "association.refused")
    assert refusal["calling_ae"] == "STRANGER"


def test_an_unknown_object_type_is_not_accepted_and_in_the_audit(
    listener: Listener, services: Services, site: Settings, tmp_path: Path
) -> None:
    ct = write_image(tmp_path / "ct.dcm", sop_class=CTImageStorage)
    with pytest.raises(PeerRefused, match="takes no CT Image Storage"):
        send(peer_of(site), [ct], calling_ae="SCANNER")
    (refusal,) = events(services, "presentation_context.refused")
    assert "CT Image Storage" in refusal["reason"]
    assert not rows(services)


def test_a_full_disk_is_told_to_the_sender_and_recovers_by_itself(
    site: Settings, services: Services, tmp_path: Path
) -> None:
    images = [write_image(tmp_path / f"{number}.dcm") for number in range(3)]
    full = Services(**{**vars(services), "inbox": Inbox(services.inbox.folder, free_space_watermark_mb=1e9)})
    listener = Listener(site, full)
    listener.start()
    with pytest.raises(PeerRefused, match=r"stored 0 of 3 objects.*0xA700"):
        send(peer_of(site), images, calling_ae="SCANNER")
    listener.stop(1.0)
    assert not rows(services)
    assert not list(services.inbox.names())
    assert [event["error_class"] for event in events(services, "instance.refused")] == ["DiskFull"]
    again = Listener(site, services)
    again.start()
    send(peer_of(site), images, calling_ae="SCANNER")
    again.stop(1.0)
    assert len(rows(services)) == 3


def test_a_database_that_cannot_be_written_means_a_failure_for_the_sender(
    listener: Listener, services: Services, site: Settings, tmp_path: Path
) -> None:
    with services.database.begin() as session:
        session.connection().exec_driver_sql("ALTER TABLE lodestone_instances RENAME TO elsewhere")
    with pytest.raises(PeerRefused, match="0x0110, processing failure"):
        send(peer_of(site), [write_image(tmp_path / "image.dcm")], calling_ae="SCANNER")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DiskFull("full"), 0xA700),
        (OSError(28, "No space left on device"), 0xA700),
        (MemoryError(), 0xA700),
        (RecordBusy("locked"), 0xA700),
        (ContradictoryHeader("two"), 0xA900),
        (NotDicom("none"), 0xC000),
        (DicomError("any"), 0xC000),
        (ZeroDivisionError(), 0x0110),
    ],
)
def test_each_error_has_its_status(error: Exception, status: int) -> None:
    assert status_of(error) == status


def test_a_taken_port_is_explained(listener: Listener, site: Settings, services: Services) -> None:
    with pytest.raises(InvalidSettings, match=r"\[node\]"):
        Listener(site, services).start()


@pytest.fixture
def committing(tmp_path: Path) -> Iterator[tuple[Settings, Services]]:
    """Run a node that asks ORTHANC for commitment and lets nobody else in."""
    site = write_site(tmp_path / "site", port=free_port(), archives=(f"ORTHANC@127.0.0.1:{free_port()}",))
    built = app.build_services(site)
    listener = Listener(site, built)
    listener.start()
    yield site, built
    listener.stop(1.0)
    built.close()


def test_an_archive_may_report_on_commitment_and_not_store(
    committing: tuple[Settings, Services], tmp_path: Path
) -> None:
    site, built = committing
    echo(peer_of(site), "ORTHANC")
    with pytest.raises(PeerRefused, match="not authorised"):
        send(peer_of(site), [write_image(tmp_path / "image.dcm")], calling_ae="ORTHANC")
    assert not rows(built)


def test_a_report_on_what_nobody_asked_for_is_refused_and_in_the_audit(committing: tuple[Settings, Services]) -> None:
    site, built = committing
    assert report_anew(peer_of(site), report_of("2.25.1", ["2.25.2"]), "ORTHANC") == UNKNOWN_TRANSACTION
    assert events(built, "commitment.refused")[0]["transaction"] == "2.25.1"


def test_a_report_that_cannot_be_read_is_refused_and_in_the_audit(committing: tuple[Settings, Services]) -> None:
    site, built = committing
    assert report_anew(peer_of(site), report_of(None, ["2.25.2"]), "ORTHANC") == UNKNOWN_TRANSACTION
    assert events(built, "commitment.refused")[0]["error_class"] == "MalformedReport"
    assert not events(built, "instance.refused")


def test_a_stranger_s_report_is_not_heard(committing: tuple[Settings, Services]) -> None:
    site, built = committing
    with pytest.raises(ConnectionRefusedError):
        report_anew(peer_of(site), report_of("2.25.1", ["2.25.2"]), "STRANGER")
    assert events(built, "association.refused")[0]["calling_ae"] == "STRANGER"


@contextmanager
def listening(site: Settings) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-m", "tests.node.listening_process", str(site.file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == site.node.port
        try:
            yield process
        finally:
            process.kill()


def after_acknowledgements(n_acknowledged: int) -> Callable[[subprocess.Popen, Path, list], None]:
    def kill(process: subprocess.Popen, inbox: Path, acknowledged: list[SendResult]) -> None:
        eventually(lambda: len(acknowledged) >= n_acknowledged, 60, "that many acknowledgements")
        os.kill(process.pid, signal.SIGKILL)

    return kill


def after_files(n_files: int) -> Callable[[subprocess.Popen, Path, list], None]:
    def kill(process: subprocess.Popen, inbox: Path, acknowledged: list[SendResult]) -> None:
        # Busy on purpose: the moment between the file's name and the row's commit is what matters.
        while sum(1 for _ in inbox.glob("??/*.dcm")) < n_files:
            assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)

    return kill


@pytest.mark.e2e
@pytest.mark.parametrize(
    "kill",
    [
        pytest.param(after_acknowledgements(1), id="after one acknowledgement"),
        pytest.param(after_acknowledgements(25), id="after 25 acknowledgements"),
        pytest.param(after_files(3), id="at the third file"),
        pytest.param(after_files(40), id="at the 40th file"),
    ],
)
def test_a_listener_killed_in_the_middle_of_a_transfer_loses_no_acknowledged_instance(
    site: Settings, services: Services, tmp_path: Path, kill: Callable[[subprocess.Popen, Path, list], None]
) -> None:
    images = [write_image(tmp_path / f"{number}.dcm") for number in range(120)]
    acknowledged: list[SendResult] = []
    with listening(site) as process:
        killer = threading.Thread(target=kill, args=(process, services.inbox.folder, acknowledged))
        killer.start()
        with pytest.raises((PeerRefused, PeerUnreachable)):
            send(peer_of(site), images, acknowledged.append, calling_ae="SCANNER")
        killer.join(60)
    safe = {result.SOPInstanceUID for result in acknowledged if result.is_accepted}
    assert len(safe) < len(images)
    recorded = {row.sop_instance_uid: row for row in rows(services)}
    assert safe <= set(recorded)
    for row in recorded.values():
        services.inbox.verify(row.inbox_name, row.sha256)
    with listening(site):
        assert all(result.status == 0x0000 for result in send(peer_of(site), images, calling_ae="SCANNER"))
    assert len(rows(services)) == len(images)
    assert not list(services.inbox.folder.glob("??/*.part"))
    with services.database.read() as session:
        assert verify_audit(session).is_intact
