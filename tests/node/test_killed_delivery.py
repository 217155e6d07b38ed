"""A worker that is killed while a peer thinks about its commitment loses nothing and sends nothing twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.deliveries import DeliveryState, Evidence
from db.series import State
from dicom_io.network.peers import Peer
from dicom_io.network.storage_commitment import RECORDED
from node.app import build_services_from_file
from node.services import Services
from tests.node import scans
from tests.node.running import (
    FEW_KINDS,
    Worker,
    delivery_rows,
    events_of,
    listening,
    record_of,
    send_to_node,
    wait_for,
    wait_for_the_end,
    working,
)
from tests.node.scripted_archive import Script, ScriptedArchive
from tests.waiting import eventually, free_port

pytestmark = pytest.mark.e2e

N_OBJECTS = scans.SHAPE[0] + 2


@pytest.fixture
def archive() -> Iterator[ScriptedArchive]:
    """Run an archive that commits to nothing until the test lets it."""
    made = ScriptedArchive(Script(reports="never")).start()
    yield made
    made.stop()


@pytest.fixture
def site(node_toml, archive: ScriptedArchive) -> Iterator[tuple[Path, Services]]:
    """Return the settings and collaborators of a node that delivers to the archive."""
    path = node_toml(port=free_port(), archive_port=archive.port, more=FEW_KINDS)
    services = build_services_from_file(path)
    node = services.settings.node
    archive.reports_to = Peer("node", node.ae_title, node.host, node.port)
    yield path, services
    services.close()


def wait_for_request(worker: Worker, archive: ScriptedArchive, services: Services) -> str:
    """Wait until the archive was asked and the node knows that, and return the series' key."""
    eventually(lambda: archive.requests, 120, "the request for commitment")
    key = wait_for(services, lambda one: one.state == State.ENCODED, "the objects").key
    eventually(lambda: "commitment.requested" in events_of(services, key), 60, "the record of the request")
    assert worker.process.poll() is None
    return key


def kill_after_the_request(site: tuple[Path, Services], archive: ScriptedArchive, folder: Path) -> str:
    """Let a series go as far as the request for commitment, kill the worker, and return the series' key."""
    path, services = site
    send_to_node(services, scans.write(folder / "scanner", scans.instances()))
    with working(path) as worker:
        key = wait_for_request(worker, archive, services)
        worker.kill()
    return key


def test_a_commitment_that_comes_while_no_worker_lives_is_heard_and_the_next_worker_concludes(
    site: tuple[Path, Services], archive: ScriptedArchive, tmp_path: Path
) -> None:
    path, services = site
    with listening(services):
        key = kill_after_the_request(site, archive, tmp_path)
        assert {row.state for row in delivery_rows(services, key)} == {DeliveryState.ACCEPTED}
        assert archive.report() == RECORDED
        assert {row.evidence for row in delivery_rows(services, key)} == {Evidence.COMMITTED}
        assert wait_for(services, lambda one: True, "the series").state == State.ENCODED
        with working(path):
            wait_for_the_end(services)
    assert record_of(services, key)["peers"]["ARCHIVE"]["committed"] == N_OBJECTS
    assert set(archive.stores.values()) == {1}
    assert len(archive.requests) == 1
    assert events_of(services, key).count("commitment.answered") == 1


def test_a_part_that_was_not_committed_is_sent_again_by_the_next_worker_alone(
    site: tuple[Path, Services], archive: ScriptedArchive, tmp_path: Path
) -> None:
    path, services = site
    with listening(services):
        key = kill_after_the_request(site, archive, tmp_path)
        lost = sorted(archive.stores)[:2]
        archive.script.failing = lambda uid: 0x0112 if uid in lost and archive.stores[uid] == 1 else None
        archive.report()
        archive.script.reports = "anew"
        with working(path):
            wait_for_the_end(services)
    assert {uid: copies for uid, copies in archive.stores.items() if copies > 1} == dict.fromkeys(lost, 2)
    told = record_of(services, key)["peers"]["ARCHIVE"]
    assert (told["committed"], told["resends"]) == (N_OBJECTS, 2)


def test_a_worker_killed_in_the_middle_of_its_request_asks_once_more(
    site: tuple[Path, Services], archive: ScriptedArchive, tmp_path: Path
) -> None:
    path, services = site
    with listening(services):
        send_to_node(services, scans.write(tmp_path / "scanner", scans.instances()))
        with working(path) as worker:
            archive.while_asked = worker.kill
            eventually(lambda: worker.process.poll() is not None, 120, "the worker's end")
        archive.while_asked = None
        key = wait_for(services, lambda one: True, "the series").key
        assert "commitment.requested" not in events_of(services, key)
        archive.script.reports = "anew"
        with working(path):
            wait_for_the_end(services)
    assert len(archive.requests) == 2
    assert archive.requests[0].TransactionUID != archive.requests[1].TransactionUID
    assert set(archive.stores.values()) == {1}
    assert record_of(services, key)["peers"]["ARCHIVE"]["committed"] == N_OBJECTS
