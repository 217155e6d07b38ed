"""A worker that is killed at any moment costs time, never a series and never a second result."""

import os
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest

from db.deliveries import DeliveryState
from db.series import State
from dicom_io.network.contexts import IMAGE_CLASSES, RESULT_CLASSES, storage_contexts
from dicom_io.network.peers import Caller
from dicom_io.network.storage_scp import IncomingInstance, ScpSettings, StorageScp
from node.app import build_services_from_file
from node.journey import received
from node.services import Services
from tests.node import scans
from tests.node.running import (
    FEW_KINDS,
    delivery_rows,
    events_of,
    is_alive,
    listening,
    record_of,
    send_to_node,
    wait_for,
    wait_for_the_end,
    working,
)
from tests.waiting import eventually, free_port

pytestmark = pytest.mark.e2e

N_OBJECTS = scans.SHAPE[0] + 2


class CountingArchive:
    """A Storage SCP that counts every C-STORE, and keeps the sender waiting at one of them until told."""

    def __init__(self, port: int = 0, waits_at: int | None = None, refuses_first: int = 0) -> None:
        self.stores: Counter[str] = Counter()
        self.is_waiting = threading.Event()
        self.may_go_on = threading.Event()
        self._waits_at = waits_at
        self._refusals_left = refuses_first
        contexts = tuple(storage_contexts(IMAGE_CLASSES + RESULT_CLASSES))
        settings = ScpSettings(ae_title="ARCHIVE", port=port, callers=(Caller("LODESTONE"),), contexts=contexts)
        self._scp = StorageScp(settings, self._keep, lambda *what: 0xA700, lambda *what: None, lambda *what: None)
        self.port = self._scp.start()

    def _keep(self, incoming: IncomingInstance) -> None:
        if self._refusals_left:
            self._refusals_left -= 1
            raise OSError("the disk is full")
        self.stores[incoming.SOPInstanceUID] += 1
        if self.stores.total() == self._waits_at:
            self.is_waiting.set()
            self.may_go_on.wait(60)

    def stop(self) -> None:
        """Take no new association."""
        self.may_go_on.set()
        self._scp.stop()


def build(node_toml, archive_port: int, more: str = "") -> tuple[Path, Services]:
    path = node_toml(port=free_port(), archive_port=archive_port, more=FEW_KINDS + more)
    return path, build_services_from_file(path)


def send_scan(services: Services, folder: Path) -> None:
    with listening(services):
        send_to_node(services, scans.write(folder, scans.instances()))


def test_a_worker_killed_while_mapping_is_succeeded_and_one_result_is_made(node_toml, tmp_path: Path) -> None:
    archive = CountingArchive()
    path, services = build(node_toml, archive.port)
    send_scan(services, tmp_path / "scanner")
    with working(path) as worker:
        child = eventually(worker.mapping_process, 60, "the start of the mapping process")
        worker.kill()
    eventually(lambda: not is_alive(child), 10, "the end of the mapping process")
    assert wait_for(services, lambda one: True, "the series").state == State.RECONSTRUCTED
    with working(path):
        ended = wait_for_the_end(services)
    events = events_of(services, ended.key)
    assert [events.count(f"series.{word}") for word in ("assembled", "mapped", "encoded", "recorded")] == [1, 1, 1, 1]
    assert ended.revision == 1
    assert set(archive.stores.values()) == {1}
    assert len(archive.stores) == N_OBJECTS
    archive.stop()
    services.close()


def test_a_worker_killed_while_delivering_repeats_only_the_object_it_heard_no_answer_to(
    node_toml, tmp_path: Path
) -> None:
    archive = CountingArchive(waits_at=7)
    path, services = build(node_toml, archive.port)
    send_scan(services, tmp_path / "scanner")
    with working(path) as worker:
        assert archive.is_waiting.wait(120)
        worker.kill()
    archive.may_go_on.set()
    key = wait_for(services, lambda one: True, "the series").key
    states = Counter(row.state for row in delivery_rows(services, key))
    assert states == {DeliveryState.ACCEPTED: 6, DeliveryState.PENDING: N_OBJECTS - 6}
    with working(path):
        ended = wait_for_the_end(services)
    assert len(archive.stores) == N_OBJECTS
    assert sorted(archive.stores.values()) == [1] * (N_OBJECTS - 1) + [2]
    made = record_of(services, ended.key)
    assert {output["SOPInstanceUID"] for output in made["outputs"]} == set(archive.stores)
    assert {row.state for row in delivery_rows(services, ended.key)} == {DeliveryState.DELIVERED}
    assert events_of(services, ended.key).count("series.recorded") == 1
    archive.stop()
    services.close()


def test_a_killed_mapping_process_is_started_again(node_toml, tmp_path: Path) -> None:
    archive = CountingArchive()
    path, services = build(node_toml, archive.port)
    send_scan(services, tmp_path / "scanner")
    with working(path) as worker:
        child = eventually(worker.mapping_process, 60, "the start of the mapping process")
        os.kill(child, signal.SIGKILL)
        ended = wait_for_the_end(services)
    assert events_of(services, ended.key).count("series.mapped") == 1
    archive.stop()
    services.close()


def test_a_peer_that_is_down_is_tried_again_until_it_is_there(node_toml, tmp_path: Path) -> None:
    port = free_port()
    path, services = build(node_toml, port)
    send_scan(services, tmp_path / "scanner")
    with working(path):
        key = wait_for(services, lambda one: one.state == State.ENCODED, "the objects").key
        eventually(lambda: events_of(services, key).count("peer.refused") >= 2, 60, "two refused attempts")
        archive = CountingArchive(port)
        wait_for_the_end(services)
    assert set(archive.stores.values()) == {1}
    assert max(row.attempts for row in delivery_rows(services, key)) >= 2
    archive.stop()
    services.close()


def test_a_failure_status_is_a_retry_and_never_a_success(node_toml, tmp_path: Path) -> None:
    archive = CountingArchive(refuses_first=3)
    path, services = build(node_toml, archive.port)
    send_scan(services, tmp_path / "scanner")
    with working(path):
        ended = wait_for_the_end(services)
    assert len(archive.stores) == N_OBJECTS
    assert "peer.refused" in events_of(services, ended.key)
    archive.stop()
    services.close()


def test_a_peer_that_never_answers_fails_the_series_and_a_person_can_retry(node_toml, tmp_path: Path) -> None:
    port = free_port()
    path, services = build(node_toml, port)
    patient = path.read_text()
    path.write_text(patient.replace("[delivery]", "[delivery]\ngive_up_after_h = 0.0001"))
    send_scan(services, tmp_path / "scanner")
    with working(path):
        ended = wait_for_the_end(services, State.FAILED)
        assert "ARCHIVE did not accept every object" in ended.sentence
    path.write_text(patient)
    archive = CountingArchive(port)
    received.retry(services, ended.key)
    with working(path):
        ended = wait_for_the_end(services)
    assert len(archive.stores) == N_OBJECTS
    archive.stop()
    services.close()


def test_a_worker_asked_to_stop_while_mapping_leaves_the_work_to_the_next(node_toml, tmp_path: Path) -> None:
    archive = CountingArchive()
    path, services = build(node_toml, archive.port)
    send_scan(services, tmp_path / "scanner")
    with working(path) as worker:
        eventually(worker.mapping_process, 60, "the start of the mapping process")
        worker.stop()
        assert worker.process.returncode == 0
    with working(path):
        ended = wait_for_the_end(services)
    assert events_of(services, ended.key).count("series.mapped") == 1
    archive.stop()
    services.close()
