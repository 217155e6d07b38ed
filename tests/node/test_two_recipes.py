"""With match = "all" two recipes make two maps of one series for two peers; a killed worker repeats neither."""

from pathlib import Path

import pydicom
import pytest

from db import provenance
from db.series import State
from node.app import build_services_from_file
from node.archive import EmbeddedArchive
from tests.node import scans
from tests.node.running import FEW_KINDS, all_series, events_of, listening, record_of, send_to_node, working
from tests.waiting import eventually, free_port

pytestmark = pytest.mark.e2e

STUDY = """
[routing]
match = "all"
[[peers]]
name = "RESEARCH"
ae_title = "RESEARCH"
host = "127.0.0.1"
port = {port}
[[rules]]
name = "study"
recipe = "v_sharp_tv"
destinations = ["RESEARCH"]
"""


def maps_in(archive: EmbeddedArchive) -> list[pydicom.Dataset]:
    held = [pydicom.dcmread(archive.folder / entry["file"]) for entry in archive.objects()]
    return [one for one in held if one.Modality == "MR"]


def test_two_recipes_make_two_maps_that_travel_apart(node_toml, tmp_path: Path) -> None:
    ward, research = EmbeddedArchive(tmp_path / "ward"), EmbeddedArchive(tmp_path / "research", "RESEARCH")
    ward.start()
    more = FEW_KINDS + STUDY.format(port=research.start())
    path = node_toml(port=free_port(), archive_port=ward.port, more=more)
    services = build_services_from_file(path)
    with listening(services):
        send_to_node(services, scans.write(tmp_path / "scanner", scans.instances()))
        with working(path) as worker:
            eventually(lambda: len(all_series(services)) == 2, 60, "the second map's place in the record")
            eventually(worker.mapping_process, 60, "the start of a mapping process")
            worker.kill()
        with working(path):
            ends = [State.RECORDED] * 2
            eventually(lambda: [one.state for one in all_series(services)] == ends, 120, "the end of both")
    further, first = all_series(services)
    assert (further.map_of, further.recipe, first.recipe) == (first.key, "v_sharp_tv", "default")
    for one, archive in ((first, ward), (further, research)):
        maps, known = maps_in(archive), record_of(services, one.key)
        assert len(maps) == scans.SHAPE[0]
        assert {made.SeriesInstanceUID for made in maps} < {made["SeriesInstanceUID"] for made in known["outputs"]}
        assert known["recipe"]["name"] == one.recipe
        assert known["seal"]["is_intact"]
        events = events_of(services, one.key)
        assert [events.count(f"series.{word}") for word in ("received", "mapped", "encoded", "recorded")] == [1] * 4
    assert ["v_sharp_tv" in made.SeriesDescription for made in (maps_in(ward)[0], maps_in(research)[0])] == [
        False,
        True,
    ]
    with services.database.read() as session:
        assert provenance.of_instance(session, maps_in(research)[0].SOPInstanceUID)["series"]["key"] == further.key
    ward.stop()
    research.stop()
    services.close()
