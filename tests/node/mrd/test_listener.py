"""A stream is complete exactly at its close message; whatever else happens is named, and what came is kept."""

import contextlib
import hashlib
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from db import audit, instances, series
from db.series import State
from dicom_io.kspace.mrd_messages import stream_of
from dicom_io.kspace.mrd_stream import read_stream
from dicom_io.kspace.raw_data import RAW_DATA_STORAGE, PayloadFormat
from node.app import build_services_from_file
from node.journey import received
from node.kspace_intake import admit_forgotten
from node.kspace_store import KspaceStore
from node.mrd import session
from node.mrd.listener import MrdListener
from node.services import Services
from tests.dicom_io.kspace.raw_scans import IDENTITY, raw_scan
from tests.node.mrd.clients import Client
from tests.node.running import all_series
from tests.waiting import eventually

KSPACE = "[kspace]\nlisten = true\nport = 0\nidle_timeout_s = 20\n"


@pytest.fixture
def site(node_toml: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Services, MrdListener]]:
    monkeypatch.setattr(session, "LOOK_EVERY_S", 0.05)
    built = build_services_from_file(node_toml(more=KSPACE))
    listener = MrdListener(built)
    listener.start()
    yield built, listener
    listener.stop()
    built.close()


def examined(services: Services) -> series.Series:
    """Wait for the only series, examine it, and return it."""
    (one,) = eventually(lambda: all_series(services), 20, "a series in the record")
    eventually(lambda: all_series(services)[0].association_ended_at, 20, "the end of the stream")
    received.step(one.key, services)
    return all_series(services)[0]


def test_a_whole_stream_becomes_a_series_of_its_study(site: tuple[Services, MrdListener]) -> None:
    services, listener = site
    scan = raw_scan()
    client = Client(listener.port)
    client.send(scan)
    (said,) = client.answers()
    client.close()
    one = examined(services)
    assert one.key in said
    assert one.state == State.RECEIVED
    assert one.enqueued_at is not None
    assert one.study_instance_uid == IDENTITY["StudyInstanceUID"]
    assert one.sop_class_uid == RAW_DATA_STORAGE
    content = b"".join(stream_of(scan, "lodestone"))
    (kept,) = services.kspace.kept()
    assert kept.path.read_bytes() == content
    assert kept.sha256 == hashlib.sha256(content).hexdigest()


def test_the_same_stream_twice_is_one_series(site: tuple[Services, MrdListener]) -> None:
    services, listener = site
    for _ in range(2):
        client = Client(listener.port)
        client.send(raw_scan())
        client.answers()
        client.close()
    assert len(all_series(services)) == 1
    assert all_series(services)[0].n_instances == 1


def test_a_client_killed_in_the_middle_leaves_a_named_incomplete_acquisition(
    site: tuple[Services, MrdListener],
) -> None:
    services, listener = site
    scan = raw_scan()
    client = Client(listener.port)
    client.send(scan, share=0.6)
    # As a killed process would: the connection is reset, and nothing says goodbye.
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    one = examined(services)
    assert one.state == State.REFUSED
    assert one.refusal_class == "IncompleteRawData"
    assert "ends inside a message after 8 readouts" in one.sentence
    assert one.study_instance_uid == IDENTITY["StudyInstanceUID"]
    (kept,) = services.kspace.kept()
    content = b"".join(stream_of(scan, "lodestone"))
    assert content.startswith(kept.path.read_bytes())
    assert kept.n_bytes > len(content) // 2


def test_bytes_that_are_no_messages_are_kept_and_named(site: tuple[Services, MrdListener]) -> None:
    services, listener = site
    client = Client(listener.port)
    client.socket.sendall(next(stream_of(raw_scan())) + b"\x07\x07 no message")
    (said,) = client.answers()
    client.close()
    assert "no known MRD message" in said
    one = examined(services)
    assert (one.state, one.refusal_class) == (State.REFUSED, "MalformedRawData")
    assert len(list(services.kspace.kept())) == 1


def test_a_client_that_says_nothing_leaves_nothing(site: tuple[Services, MrdListener]) -> None:
    services, listener = site
    client = Client(listener.port)
    client.close()
    eventually(lambda: not list(services.kspace.arriving.iterdir()), 10, "the end of the connection")
    assert all_series(services) == []


def test_a_stranger_is_turned_away(node_toml: Callable[..., Path]) -> None:
    built = build_services_from_file(node_toml(more=KSPACE + 'allow = ["10.0.0.0/24"]\n'))
    listener = MrdListener(built)
    listener.start()
    client = Client(listener.port)
    with pytest.raises((EOFError, ConnectionError)):
        client.answers()
    client.close()
    listener.stop()
    assert all_series(built) == []
    built.close()


def test_what_a_killed_node_had_received_is_found_again(services: Services) -> None:
    content = b"".join(stream_of(raw_scan()))
    for name, share in (("a" * 32, 0.5), ("b" * 32, 1.0), ("c" * 32, 0.0)):
        (services.kspace.arriving / f"{name}.mrd.part").write_bytes(content[: int(share * len(content))])
    assert admit_forgotten(services) == 2
    assert admit_forgotten(services) == 0
    for one in all_series(services):
        received.step(one.key, services)
    found = {one.refusal_class for one in all_series(services)}
    assert found == {None, "IncompleteRawData"}
    assert list(services.kspace.arriving.iterdir()) == []


def test_no_patient_enters_record_or_log(site: tuple[Services, MrdListener], capfd: pytest.CaptureFixture[str]) -> None:
    services, listener = site
    client = Client(listener.port)
    client.send(raw_scan())
    said = client.answers()
    client.close()
    with services.database.read() as found:
        written = str([one.as_dict() for one in series.list_series(found)])
        written += str([event.as_dict() for event in audit.list_events(found)])
        written += str([row.as_input() for row in instances.of_series(found, [all_series(services)[0].key])])
    logged = capfd.readouterr()
    for text in (written, logged.out + logged.err, str(said)):
        assert "Phantom" not in text
        assert "RAW-1" not in text


def test_the_disk_holds_the_stream_as_it_comes(tmp_path: Path) -> None:
    store = KspaceStore(tmp_path)
    scan = raw_scan()
    with store.receive(PayloadFormat.MRD_STREAM) as arriving:
        for message in stream_of(scan):
            arriving.write(memoryview(message))
            (part,) = store.arriving.iterdir()
            assert part.stat().st_size == arriving.n_bytes
        kept = arriving.finish()
    assert len(read_stream(kept.path).samples) == scan.n_readouts
    assert store.verify(kept.format, kept.sha256) == kept.path


def test_what_came_before_an_error_of_the_node_is_found_at_its_next_start(services: Services) -> None:
    content = b"".join(stream_of(raw_scan()))
    with contextlib.suppress(ZeroDivisionError), services.kspace.receive(PayloadFormat.MRD_STREAM) as arriving:
        arriving.write(memoryview(content)[:4000])
        raise ZeroDivisionError
    assert admit_forgotten(services) == 1
    (kept,) = services.kspace.kept()
    assert kept.path.read_bytes() == content[:4000]
