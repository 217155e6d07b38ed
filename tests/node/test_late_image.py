"""A slice that comes after the map was made: the scanner's step or the slice itself brings a second, whole revision."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from db import provenance
from db.series import ENDS, Series, State
from dicom_io.network import mpps
from node.app import build_services_from_file
from node.archive import EmbeddedArchive
from tests.dicom_io.network.step_sender import begun, ended, speaking_of_steps
from tests.node import scans
from tests.node.running import FEW_KINDS, listening, send_to_node, wait_for, wait_for_the_end, working
from tests.waiting import free_port

pytestmark = pytest.mark.e2e


def undeclared_without_last_slice() -> tuple[list[Dataset], list[Dataset]]:
    """Return a scan whose headers declare no counts, in two: all but its last slice, and that slice."""
    taken = scans.scan()
    # A map needs sixteen slices, also where the last one lacks.
    magnitude, phase = (np.concatenate([part, part[:, -2:]], axis=1) for part in (taken.magnitude, taken.phase))
    images = scans.instances("test", scans.Scan(magnitude, phase, scans.geometry((18, 32, 32))))
    last = max(float(image.ImagePositionPatient[2]) for image in images)
    for image in images:
        del image.ImagesInAcquisition
    late = [image for image in images if float(image.ImagePositionPatient[2]) == last]
    return [image for image in images if image not in late], late


def has_ended_anew(one: Series) -> bool:
    return one.revision > 1 and one.state in ENDS


def test_what_the_scanner_lists_is_waited_for_and_a_late_slice_makes_a_second_map(
    node_toml: Callable[..., Path], tmp_path: Path
) -> None:
    early, late = undeclared_without_last_slice()
    archive = EmbeddedArchive(tmp_path / "archive")
    archive.start()
    path = node_toml(port=free_port(), archive_port=archive.port, more=FEW_KINDS)
    services = build_services_from_file(path)
    with listening(services) as listener, working(path):
        send_to_node(services, scans.write(tmp_path / "early", early))
        first = wait_for_the_end(services, within_s=120)
        assert first.revision == 1
        with speaking_of_steps(listener.port, services.settings.node.ae_title) as scanner:
            scanner.create(begun(str(early[0].StudyInstanceUID)))
            uids = [str(image.SOPInstanceUID) for image in early + late]
            assert scanner.change(ended({str(early[0].SeriesInstanceUID): uids})) == mpps.RECORDED
        send_to_node(services, scans.write(tmp_path / "late", late))
        second = wait_for(services, has_ended_anew, "the second map", 120)
    with services.database.read() as session:
        revisions = provenance.revisions(session, [second.key])[second.key]
    archive.stop()
    services.close()
    assert second.state == State.RECORDED
    assert second.completeness.startswith("complete as announced: all 72 instances")
    assert (revisions[0]["n_inputs"], revisions[-1]["n_inputs"]) == (68, 72)
    assert (revisions[0]["made"]["susceptibility"], revisions[-1]["made"]["susceptibility"]) == (17, 18)
