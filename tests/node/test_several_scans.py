"""A series that holds two repetitions becomes two maps: the second is a further map, and each is of its own images."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from db import artefacts, runs, series
from db.series import State
from node.app import build_services_from_file
from node.archive import EmbeddedArchive
from node.journey import assembled, received
from node.journey.assembled import ACQUISITION, inputs_of, source_of
from node.services import Services
from tests.node import scans
from tests.node.running import FEW_KINDS, all_series, listening, record_of, send_to_node, working
from tests.waiting import eventually, free_port


def repeated() -> list[pydicom.Dataset]:
    """Return two repetitions of a scan, with other noise, as one series."""
    first, second = scans.instances(), scans.instances(taken=scans.scan(seed=1))
    for number, images in enumerate((first, second), start=1):
        for image in images:
            image.TemporalPositionIdentifier = number
            image.SOPInstanceUID = f"{image.SOPInstanceUID[:60]}.{number}"
    return [*first, *second]


def test_each_repetition_is_assembled_by_itself(services: Services) -> None:
    for image in repeated():
        key = received.receive(services, scans.store(services, image), "SCANNER").series_key
    received.association_ended(services, "SCANNER", [key])
    assembled.step(key, services)
    (further,) = [one for one in all_series(services) if one.map_of == key]
    assert further.map_by == "default scan 2"
    assembled.step(further.key, services)
    found = []
    with services.database.read() as session:
        paths = [services.inbox.path(row.inbox_name) for row in inputs_of(session, series.get(session, key))]
        for number, one in enumerate((key, further.key), start=1):
            run = runs.get(session, one, 1)
            assert run.acquisition["notes"][0].startswith(f"The series holds 2 repetitions; this is number {number}")
            source = source_of(paths, run.acquisition)
            assert {frame.SOPInstanceUID[-1] for of_slice in source.frames for frame in of_slice} == {str(number)}
            found.append(services.workspace.get(artefacts.digest_of(session, one, 1, ACQUISITION)).arrays["phase"])
    assert found[0].shape == found[1].shape
    assert not np.array_equal(*found)


@pytest.mark.e2e
def test_both_repetitions_arrive_in_the_archive_as_series_of_their_own(node_toml, tmp_path: Path) -> None:
    archive = EmbeddedArchive(tmp_path / "archive")
    path = node_toml(port=free_port(), archive_port=archive.start(), more=FEW_KINDS)
    services = build_services_from_file(path)
    with listening(services), working(path):
        send_to_node(services, scans.write(tmp_path / "scanner", repeated()))
        ends = [State.RECORDED] * 2
        eventually(lambda: [one.state for one in all_series(services)] == ends, 120, "the end of both")
    held = [pydicom.dcmread(archive.folder / entry["file"]) for entry in archive.objects()]
    maps = [one for one in held if one.Modality == "MR"]
    sources: dict[str, set[str]] = {}
    for one in maps:
        used = {item.ReferencedSOPInstanceUID[-1] for item in one.SourceImageSequence}
        sources.setdefault(one.SeriesInstanceUID, set()).update(used)
    assert sorted(map(sorted, sources.values())) == [["1"], ["2"]]
    assert len(maps) == 2 * scans.SHAPE[0]
    for one in all_series(services):
        assert record_of(services, one.key)["seal"]["is_intact"]
    archive.stop()
    services.close()
