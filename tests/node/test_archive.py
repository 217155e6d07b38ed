import json
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import SegmentationStorage

from dicom_io.errors import PeerUnreachable
from dicom_io.network.part10 import read_envelope
from dicom_io.network.peers import Peer
from dicom_io.network.storage_scu import send
from dicom_io.network.verification import echo
from node.archive import INDEX, EmbeddedArchive
from tests.dicom_io.network.conftest import write_image


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[EmbeddedArchive]:
    started = EmbeddedArchive(tmp_path / "archive")
    started.start()
    yield started
    started.stop()


def peer_of(archive: EmbeddedArchive) -> Peer:
    return Peer("archive", "ARCHIVE", "127.0.0.1", archive.port)


def test_what_is_sent_lies_in_the_folder_and_in_the_index(archive: EmbeddedArchive, tmp_path: Path) -> None:
    image = write_image(tmp_path / "image.dcm")
    segmentation = write_image(tmp_path / "segmentation.dcm", sop_class=SegmentationStorage)
    send(peer_of(archive), [image, segmentation])
    index = json.loads((archive.folder / INDEX).read_text())
    assert index == archive.objects()
    assert [entry["object_type"] for entry in index] == ["MR Image Storage", "Segmentation Storage"]
    for entry, source in zip(index, [image, segmentation], strict=True):
        assert pydicom.dcmread(archive.folder / entry["file"]) == pydicom.dcmread(source)


def test_an_object_sent_again_replaces_itself(archive: EmbeddedArchive, tmp_path: Path) -> None:
    image = write_image(tmp_path / "image.dcm")
    for _ in range(2):
        send(peer_of(archive), [image])
    (entry,) = archive.objects()
    assert entry["SOPInstanceUID"] == read_envelope(image).SOPInstanceUID
    assert [path.relative_to(archive.folder) for path in archive.folder.rglob("*.dcm")] == [Path(entry["file"])]


def test_the_index_survives_a_restart(archive: EmbeddedArchive, tmp_path: Path) -> None:
    send(peer_of(archive), [write_image(tmp_path / "image.dcm")])
    assert EmbeddedArchive(archive.folder).objects() == archive.objects()


def test_only_the_node_may_send(archive: EmbeddedArchive) -> None:
    assert echo(peer_of(archive), "LODESTONE") > 0
    with pytest.raises(PeerUnreachable, match="Calling AE title not recognised"):
        echo(peer_of(archive), "STRANGER")
