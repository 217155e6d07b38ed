"""An object that fails its own validation ends the series in view of a person, and nothing of the run is sent."""

from pathlib import Path

import pytest

from db import audit
from db.series import State
from node.app import build_services_from_file
from tests.node import scans
from tests.node.running import delivery_rows, events_of, listening, send_to_node, wait_for_the_end, working
from tests.node.scripted_archive import ScriptedArchive
from tests.node.worker_with_damaged_images import ATTRIBUTE
from tests.waiting import free_port

pytestmark = pytest.mark.e2e


def test_a_damaged_object_is_refused_audited_and_not_sent(node_toml, tmp_path: Path) -> None:
    archive = ScriptedArchive().start()
    path = node_toml(port=free_port(), archive_port=archive.port)
    services = build_services_from_file(path)
    with listening(services):
        send_to_node(services, scans.write(tmp_path / "scanner", scans.instances()))
    with working(path, "tests.node.worker_with_damaged_images"):
        ended = wait_for_the_end(services, State.REFUSED)
    assert ended.refusal_class == "InvalidObject"
    assert ATTRIBUTE in ended.sentence
    with services.database.read() as session:
        last = audit.list_events(session, ended.key)[-1]
    assert (last.event, last.details["class"], last.details["during"]) == ("series.refused", "InvalidObject", "mapped")
    assert delivery_rows(services, ended.key) == []
    assert not list(services.outbox.rglob("*.dcm"))
    assert not archive.stores
    assert "series.encoded" not in events_of(services, ended.key)
    services.close()
    archive.stop()
