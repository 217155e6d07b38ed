"""Of a whole study the scout and the report are ignored on purpose, and the urgent series is mapped before others."""

from pathlib import Path

import pydicom
import pytest

from db.series import ENDS, State
from node.app import build_services_from_file
from node.journey.received import retry, step
from tests.node import scans
from tests.node.running import FEW_KINDS, all_series, events_of, listening, send_to_node, working
from tests.waiting import eventually, free_port

pytestmark = pytest.mark.e2e

RULES = """
[[rules]]
name = "urgent"
priority = "urgent"
[rules.when]
SeriesDescription = { matches = "urgent" }
"""


def scout() -> list[pydicom.Dataset]:
    """Return three magnitude images in two directions."""
    images = [image for image in scans.instances("scout") if "M" in image.ImageType][:3]
    for image in images:
        image.ImagesInAcquisition = None
    images[2].ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    return images


def test_reports_and_scouts_are_ignored_and_the_urgent_series_goes_first(
    node_toml, data_dir: Path, tmp_path: Path
) -> None:
    path = node_toml(port=free_port(), archive_port=1, quiet_time_s=1.0, more=FEW_KINDS)
    text = path.read_text().replace("[[rules]]", RULES + "[[rules]]", 1).replace('["ARCHIVE"]', "[]")
    path.write_text(text)
    services = build_services_from_file(path)
    routine, urgent = scans.instances("routine"), scans.instances("urgent")
    for image in urgent:
        image.SeriesDescription = "urgent"
    report = next((data_dir / "siemens_prisma_xa30_enhanced_fieldmap").rglob("*99*/*"))
    with listening(services):
        for name, images in (("routine", routine), ("urgent", urgent), ("scout", scout())):
            send_to_node(services, scans.write(tmp_path / name, images))
        send_to_node(services, [report])
        uids = {name: str(images[0].SeriesInstanceUID) for name, images in (("routine", routine), ("urgent", urgent))}
        # Both are complete by count, so both wait in the engine's queue when the worker starts, the routine one longer.
        for uid in uids.values():
            step(next(one.key for one in all_series(services) if one.series_instance_uid == uid), services)
        with working(path):
            eventually(lambda: all(one.state in ENDS for one in all_series(services)), 150, "the end of all four")
    ended = {one.series_instance_uid: one for one in all_series(services)}
    assert len(ended) == 4
    others = [one for uid, one in ended.items() if uid not in uids.values()]
    assert [one.state for one in others] == [State.IGNORED, State.IGNORED]
    assert all(one.sentence.startswith("Ignored on purpose, because") for one in others)
    assert all(events_of(services, one.key)[-1] == "series.ignored" for one in others)
    mapped = ended[uids["urgent"]], ended[uids["routine"]]
    assert [one.rule for one in mapped] == ["urgent", "every series"]
    assert mapped[0].changed_at < mapped[1].changed_at
    retry(services, others[0].key)
    services.close()
