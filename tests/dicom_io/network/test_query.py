import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, Verification

from dicom_io.errors import PeerRefused, PeerUnreachable, QueryNotOffered
from dicom_io.network import query
from dicom_io.network.peers import Peer
from dicom_io.network.query import find_held
from dicom_io.network.storage_commitment import offers_commitment
from dicom_io.network.storage_scu import send
from tests.dicom_io.network.conftest import write_image
from tests.e2e.orthanc import running_orthanc
from tests.waiting import eventually, free_port, is_listening

STUDY, SERIES = "1.2.3", "1.2.3.4"


def match(uid: str, study: str = STUDY, series: str = SERIES) -> Dataset:
    found = Dataset()
    found.QueryRetrieveLevel, found.StudyInstanceUID = "IMAGE", study
    found.SeriesInstanceUID, found.SOPInstanceUID = series, uid
    return found


class Archive:
    """Answers queries with `responses`, pairs of status and match, and keeps what it was asked."""

    def __init__(self) -> None:
        self.responses: list[tuple[int, Dataset | None]] = []
        self.hangs_up = False
        self.asked: list[Dataset] = []
        entity = AE("ARCHIVE")
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        self.server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, self.find)])
        self.peer = Peer("PACS", "ARCHIVE", "127.0.0.1", self.server.server_address[1])

    def find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        self.asked.append(event.identifier)
        yield from self.responses
        if self.hangs_up:
            event.assoc.abort()


@pytest.fixture
def archive() -> Iterator[Archive]:
    """Run an archive that answers queries."""
    made = Archive()
    yield made
    made.server.shutdown()


def test_only_what_was_asked_for_and_is_there_counts_as_held(archive: Archive) -> None:
    archive.responses = [(0xFF00, match("1.1")), (0xFF01, match("1.2")), (0xFF00, match("1.99"))]
    assert find_held(archive.peer, STUDY, SERIES, ["1.1", "1.2", "1.3"]) == {"1.1", "1.2"}
    (asked,) = archive.asked
    assert (asked.QueryRetrieveLevel, asked.StudyInstanceUID, asked.SeriesInstanceUID) == ("IMAGE", STUDY, SERIES)
    assert asked.SOPInstanceUID == ""


def test_a_match_of_another_study_or_series_counts_for_nothing(archive: Archive) -> None:
    archive.responses = [(0xFF00, match("1.1", study="9.9")), (0xFF00, match("1.2", series="9.9"))]
    assert find_held(archive.peer, STUDY, SERIES, ["1.1", "1.2"]) == frozenset()


def test_a_match_that_leaves_out_the_keys_still_counts(archive: Archive) -> None:
    bare, nameless = Dataset(), Dataset()
    bare.SOPInstanceUID, nameless.QueryRetrieveLevel = "1.1", "IMAGE"
    archive.responses = [(0xFF00, bare), (0xFF00, nameless)]
    assert find_held(archive.peer, STUDY, SERIES, ["1.1"]) == {"1.1"}


def test_an_empty_archive_holds_nothing(archive: Archive) -> None:
    assert find_held(archive.peer, STUDY, SERIES, ["1.1"]) == frozenset()


def test_nothing_asked_opens_no_association() -> None:
    assert find_held(Peer("nobody", "NOBODY", "127.0.0.1", free_port()), STUDY, SERIES, []) == frozenset()


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (0xA700, "out of resources"),
        (0xA900, "identifier does not match"),
        (0xC001, "cannot understand the query"),
        (0xFE00, "cancelled"),
        (0x0122, "SOP class not supported"),
    ],
)
def test_matches_before_a_failure_are_no_answer(archive: Archive, status: int, name: str) -> None:
    archive.responses = [(0xFF00, match("1.1")), (status, None)]
    with pytest.raises(PeerRefused, match=f"0x{status:04X}, .*{name}"):
        find_held(archive.peer, STUDY, SERIES, ["1.1"])


def test_an_archive_that_hangs_up_has_not_answered(archive: Archive) -> None:
    archive.responses, archive.hangs_up = [(0xFF00, match("1.1"))], True
    with pytest.raises(PeerRefused, match="did not answer the query to its end"):
        find_held(archive.peer, STUDY, SERIES, ["1.1"])


def test_an_archive_that_goes_on_and_on_is_cut_off(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "MOST_MATCHES", 3)
    archive.responses = [(0xFF00, match(f"1.{number}")) for number in range(20)]
    with pytest.raises(PeerRefused, match="more than 3 matches"):
        find_held(archive.peer, STUDY, SERIES, ["1.1"])


def test_a_peer_that_takes_no_queries_is_told_apart_from_one_that_is_down() -> None:
    entity = AE("ARCHIVE")
    entity.add_supported_context(Verification)
    server = entity.start_server(("127.0.0.1", 0), block=False)
    try:
        with pytest.raises(QueryNotOffered, match="PACS"):
            find_held(Peer("PACS", "ARCHIVE", "127.0.0.1", server.server_address[1]), STUDY, SERIES, ["1.1"])
    finally:
        server.shutdown()
    with pytest.raises(PeerUnreachable, match="cannot be reached"):
        find_held(Peer("PACS", "ARCHIVE", "127.0.0.1", free_port()), STUDY, SERIES, ["1.1"])


@pytest.mark.e2e
def test_orthanc_says_what_it_holds(program: Callable[[str], str], tmp_path: Path) -> None:
    path = write_image(tmp_path / "image.dcm")
    image, missing = pydicom.dcmread(path), generate_uid()
    with running_orthanc(tmp_path / "pacs", program("Orthanc"), "ARCHIVE") as pacs:
        pacs.put_modality("NODE", "NODE", free_port())
        peer = Peer("PACS", "ARCHIVE", "127.0.0.1", pacs.dicom_port)
        asked = (image.StudyInstanceUID, image.SeriesInstanceUID, [image.SOPInstanceUID, missing], "NODE")
        assert find_held(peer, *asked) == frozenset()
        send(peer, [path], calling_ae="NODE")
        assert find_held(peer, *asked) == {image.SOPInstanceUID}


@pytest.fixture
def dcmqrscp(dcmtk: Callable[[str], str], tmp_path: Path) -> Iterator[Peer]:
    """Run DCMTK's archive, which knows NODE, and return its address."""
    folder, port, configuration = tmp_path / "archive", free_port(), tmp_path / "dcmqrscp.cfg"
    folder.mkdir()
    configuration.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 4\n"
        "HostTable BEGIN\nnode = (NODE, localhost, 11112)\nHostTable END\nVendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nARCHIVE {folder} RW (10, 1024mb) ANY\nAETable END\n"
    )
    process = subprocess.Popen([dcmtk("dcmqrscp"), "-c", str(configuration)])
    try:
        eventually(lambda: is_listening(port), 20, "dcmqrscp's start")
        yield Peer("DCMTK", "ARCHIVE", "127.0.0.1", port)
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.e2e
def test_dcmtk_s_archive_says_what_it_holds_and_offers_no_commitment(dcmqrscp: Peer, tmp_path: Path) -> None:
    path = write_image(tmp_path / "image.dcm")
    image, missing = pydicom.dcmread(path), generate_uid()
    asked = (image.StudyInstanceUID, image.SeriesInstanceUID, [image.SOPInstanceUID, missing], "NODE")
    assert find_held(dcmqrscp, *asked) == frozenset()
    send(dcmqrscp, [path], calling_ae="NODE")
    assert find_held(dcmqrscp, *asked) == {image.SOPInstanceUID}
    assert not offers_commitment(dcmqrscp, "NODE")
