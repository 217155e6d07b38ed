"""The same node on PostgreSQL: one changed URL, the same journey, the same safety."""

from pathlib import Path

import pytest

from db.series import State
from node.app import build_services_from_file
from node.archive import EmbeddedArchive
from tests.node import scans
from tests.node.running import (
    events_of,
    listening,
    record_of,
    send_to_node,
    wait_for,
    wait_for_the_end,
    working,
)
from tests.postgresql import running_server
from tests.waiting import eventually, free_port

pytestmark = pytest.mark.e2e


def test_a_series_survives_a_killed_worker_on_postgresql_too(node_toml, tmp_path: Path) -> None:
    archive = EmbeddedArchive(tmp_path / "archive")
    archive.start()
    with running_server() as url:
        path = node_toml(port=free_port(), archive_port=archive.port, more=f'[database]\nurl = "{url}"\n')
        services = build_services_from_file(path)
        with listening(services):
            send_to_node(services, scans.write(tmp_path / "scanner", scans.instances()))
        with working(path) as worker:
            eventually(worker.mapping_process, 60, "the start of the mapping process")
            worker.kill()
        assert wait_for(services, lambda one: True, "the series").state == State.RECONSTRUCTED
        with working(path):
            ended = wait_for_the_end(services)
        assert events_of(services, ended.key).count("series.mapped") == 1
        known = record_of(services, ended.key)
        assert known["seal"]["is_intact"]
        assert len(archive.objects()) == len(known["outputs"]) > scans.SHAPE[0] + 2
        services.close()
    archive.stop()
