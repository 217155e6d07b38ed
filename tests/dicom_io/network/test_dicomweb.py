import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid

from dicom_io.errors import NotDicom, PeerRefused, PeerUnreachable, QueryNotOffered
from dicom_io.network.dicomweb import MOST_UNANSWERED, find_held_over_web, store_over_web, verify_over_web
from dicom_io.network.part10 import read_envelope
from dicom_io.network.peers import WebPeer
from dicom_io.network.send_result import SendResult
from tests.dicom_io.network.conftest import write_image
from tests.dicom_io.network.web_archive import WebArchive, running_web_archive
from tests.e2e.orthanc import DICOMWEB, running_orthanc
from tests.waiting import free_port


@pytest.fixture
def archive() -> Iterator[WebArchive]:
    """Run a DICOMweb service that stores what it is sent."""
    with running_web_archive() as made:
        yield made


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Return four small images of one series."""
    paths = [write_image(tmp_path / f"{number}.dcm") for number in range(4)]
    study, series = generate_uid(), generate_uid()
    for path in paths:
        image = pydicom.dcmread(path)
        image.StudyInstanceUID, image.SeriesInstanceUID = study, series
        image.save_as(path)
    return paths


def uid_of(path: Path) -> str:
    return read_envelope(path).SOPInstanceUID


def outcomes(archive: WebArchive, images: list[Path], **settings: object) -> list[SendResult]:
    """Store images at a service that refuses some, and return what was heard of each, in the images' order."""
    heard: list[SendResult] = []
    with pytest.raises(PeerRefused):
        store_over_web(archive.peer(**settings), images, heard.append)
    return sorted(heard, key=lambda result: images.index(result.path))


# Storing


def test_the_bytes_arrive_exactly_and_every_answer_is_heard(archive: WebArchive, images: list[Path]) -> None:
    heard: list[SendResult] = []
    results = store_over_web(archive.peer(), images, heard.append)
    assert results == heard
    assert [(result.path, result.status, result.meaning) for result in results] == [(p, 0, "stored") for p in images]
    assert archive.files == {uid_of(path): path.read_bytes() for path in images}
    assert len(archive.lots) == 1


def test_requests_stay_below_the_bound_and_a_larger_object_goes_alone(archive: WebArchive, images: list[Path]) -> None:
    largest = max(path.stat().st_size for path in images)
    store_over_web(archive.peer(largest_request_bytes=2 * largest), images)
    assert [len(lot) for lot in archive.lots] == [2, 2]
    archive.lots.clear()
    store_over_web(archive.peer(largest_request_bytes=1), images)
    assert [len(lot) for lot in archive.lots] == [1, 1, 1, 1]


def test_each_object_of_a_partly_stored_request_has_its_own_answer(archive: WebArchive, images: list[Path]) -> None:
    uids = [uid_of(path) for path in images]
    archive.failing = {uids[1]: 0x0122, uids[2]: 0xA701}
    archive.warning = {uids[3]: 0xB000}
    results = outcomes(archive, images)
    assert [result.status for result in results] == [0x0000, 0x0122, 0xA701, 0xB000]
    assert [result.is_accepted for result in results] == [True, False, False, True]
    assert [result.is_not_taken for result in results] == [False, True, False, False]
    assert [result.is_warning for result in results] == [False, False, False, True]
    assert "out of resources" in results[2].meaning


def test_a_conflict_names_the_reason_of_every_object(archive: WebArchive, images: list[Path]) -> None:
    archive.failing = {uid_of(path): 0xC122 for path in images}
    results = outcomes(archive, images)
    assert {(result.status, result.is_not_taken) for result in results} == {(0xC122, True)}


def test_a_reason_that_reads_like_success_is_still_a_failure(archive: WebArchive, images: list[Path]) -> None:
    archive.failing = dict(zip(map(uid_of, images), (0x0000, 0xB000, -1, 2**40), strict=True))
    assert [result.status for result in outcomes(archive, images)] == [0x0110] * 4


def test_a_warning_that_is_not_in_the_standard_is_told(archive: WebArchive, images: list[Path]) -> None:
    archive.warning = {uid_of(images[0]): 0xB305}
    first = store_over_web(archive.peer(), images)[0]
    assert first.is_accepted
    assert first.is_warning
    assert "0xB305" in first.meaning


def test_an_object_that_the_answer_does_not_name_is_not_stored(archive: WebArchive, images: list[Path]) -> None:
    archive.silent_about = {uid_of(images[2])}
    results = outcomes(archive, images)
    assert [result.is_accepted for result in results] == [True, True, False, True]
    assert results[2].status is None
    assert "does not name this object" in results[2].meaning


def test_an_answer_of_another_content_type_is_not_read(archive: WebArchive, images: list[Path]) -> None:
    archive.content_type = "text/html"
    assert {(result.status, result.is_accepted) for result in outcomes(archive, images)} == {(None, False)}
    assert len(archive.stored) == len(images)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/html", b"<html>Thank you</html>"),
        ("application/dicom+json", b"{ not JSON"),
        ("application/dicom+json", b""),
        ("application/dicom+json", b'["00081199"]'),
        ("application/dicom+json", b'{"00081199": {"Value": [{"00081155": 5}]}, "00081198": []}'),
        ("application/dicom+json", b"[" * 100_000),
    ],
    ids=["html", "no JSON", "empty", "no dataset", "other types", "too deep"],
)
@pytest.mark.parametrize("status", [200, 202, 409])
def test_an_answer_that_cannot_be_read_is_no_success(
    archive: WebArchive, images: list[Path], status: int, content_type: str, body: bytes
) -> None:
    archive.status, archive.content_type, archive.body = status, content_type, body
    assert {(result.status, result.is_accepted) for result in outcomes(archive, images)} == {(None, False)}


def test_json_by_its_plain_name_and_without_a_list_is_understood(archive: WebArchive, images: list[Path]) -> None:
    item = {"00081155": {"vr": "UI", "Value": [uid_of(images[0])]}}
    archive.content_type = "application/json; charset=utf-8"
    archive.body = json.dumps({"00081199": {"vr": "SQ", "Value": [item]}}).encode()
    assert store_over_web(archive.peer(), images[:1])[0].is_accepted


def test_a_service_that_takes_only_short_requests_gets_short_ones(archive: WebArchive, images: list[Path]) -> None:
    archive.largest_request = images[0].stat().st_size + 500
    assert all(result.is_accepted for result in store_over_web(archive.peer(), images))
    assert [len(lot) for lot in archive.lots] == [1, 1, 1, 1]


def test_an_object_that_alone_is_too_large_is_told_and_the_others_are_stored(
    archive: WebArchive, images: list[Path]
) -> None:
    image = pydicom.dcmread(images[1])
    # More than the buffers of a connection hold: the service hangs up while it is still being sent.
    image.Rows = image.Columns = 4096
    image.PixelData = bytes(2 * 4096 * 4096)
    image.save_as(images[1])
    archive.largest_request = images[0].stat().st_size + 500
    results = outcomes(archive, images)
    assert [result.is_accepted for result in results] == [True, False, True, True]
    assert "larger than the service takes" in results[1].meaning


def test_an_object_at_which_the_service_hangs_up_does_not_hold_back_the_others(
    archive: WebArchive, images: list[Path]
) -> None:
    archive.cuts_at = {uid_of(images[0])}
    results = outcomes(archive, images)
    assert [(result.is_accepted, result.meaning) for result in results] == [
        (False, "no answer"),
        (True, "stored"),
        (True, "stored"),
        (True, "stored"),
    ]


@pytest.mark.parametrize("status", [None, 500], ids=["hangs up", "fails"])
def test_a_service_that_fails_at_everything_is_left_alone(
    archive: WebArchive, images: list[Path], status: int | None
) -> None:
    archive.status, archive.cuts_at = status, set() if status else {uid_of(path) for path in images}
    assert len(outcomes(archive, images, largest_request_bytes=1)) == MOST_UNANSWERED
    assert len(archive.lots) == MOST_UNANSWERED


def test_a_service_that_falls_silent_is_not_waited_for_again(archive: WebArchive, images: list[Path]) -> None:
    archive.stalls = threading.Event()
    results = outcomes(archive, images, answer_within_s=0.3)
    assert {(result.status, result.meaning) for result in results} == {(None, "no answer")}
    assert len(archive.lots) == 1


def test_an_answer_that_ends_early_is_no_answer(archive: WebArchive, images: list[Path]) -> None:
    archive.cuts_answer = True
    assert [result.status for result in outcomes(archive, images[:1])] == [None]


def test_an_unsupported_media_type_is_a_kind_that_is_not_taken(archive: WebArchive, images: list[Path]) -> None:
    archive.status = 415
    assert all(result.is_not_taken for result in outcomes(archive, images))


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (302, "names another address, which is not followed"),
        (308, "names another address, which is not followed"),
        (401, "password_file"),
        (403, "password_file"),
        (404, "check its url"),
        (503, "service unavailable"),
        (599, "HTTP 599"),
    ],
)
def test_a_service_that_refuses_to_serve_is_asked_once_and_the_reason_told(
    archive: WebArchive, images: list[Path], status: int, advice: str
) -> None:
    archive.status, archive.headers = status, {"Location": f"http://localhost:{archive.port}/elsewhere"}
    heard: list[SendResult] = []
    with pytest.raises(PeerRefused, match=advice):
        store_over_web(archive.peer(largest_request_bytes=1), images, heard.append)
    assert not heard
    assert [path for path, _ in archive.requests] == ["/dicom-web/studies"]


def test_a_service_that_is_down_is_unreachable(images: list[Path]) -> None:
    with pytest.raises(PeerUnreachable, match="cannot be reached"):
        store_over_web(WebPeer("PACS", f"http://127.0.0.1:{free_port()}"), images)


def test_a_file_that_is_no_dicom_is_named_before_anything_is_sent(archive: WebArchive, images: list[Path]) -> None:
    images[1].write_bytes(b"no DICOM")
    with pytest.raises(NotDicom, match=r"1\.dcm"):
        store_over_web(archive.peer(), images)
    assert not archive.requests


def test_nothing_to_store_makes_no_request() -> None:
    assert store_over_web(WebPeer("nobody", f"http://127.0.0.1:{free_port()}"), []) == []


# Searching


def held(archive: WebArchive, images: list[Path], asked: list[str]) -> frozenset[str]:
    image = pydicom.dcmread(images[0])
    return find_held_over_web(archive.peer(), image.StudyInstanceUID, image.SeriesInstanceUID, asked)


def test_only_what_was_asked_for_and_is_there_counts_as_held(archive: WebArchive, images: list[Path]) -> None:
    uids = [uid_of(path) for path in images]
    assert held(archive, images, uids) == frozenset()
    store_over_web(archive.peer(), images[:3])
    assert held(archive, images, [uids[0], uids[3], "1.2.3"]) == {uids[0]}


def test_a_service_that_answers_in_pages_is_asked_for_all_of_them(
    archive: WebArchive, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_io.network.dicomweb.PAGE", 1)
    archive.page = 1
    store_over_web(archive.peer(), images)
    uids = [uid_of(path) for path in images]
    assert held(archive, images, uids) == set(uids)
    archive.knows_offset = False
    assert len(held(archive, images, uids)) == 1


def test_nothing_held_and_no_search_are_told_apart(archive: WebArchive, images: list[Path]) -> None:
    archive.searches = False
    with pytest.raises(QueryNotOffered, match="no search at this address"):
        held(archive, images, ["1.2.3"])
    archive.status = 501
    with pytest.raises(QueryNotOffered, match="HTTP 501"):
        held(archive, images, ["1.2.3"])


@pytest.mark.parametrize(("status", "body"), [(500, b"[]"), (200, b"no JSON"), (302, b""), (401, b"")])
def test_a_search_that_fails_is_no_empty_archive(
    archive: WebArchive, images: list[Path], status: int, body: bytes
) -> None:
    archive.status, archive.body = status, body
    with pytest.raises(PeerRefused, match="search"):
        held(archive, images, ["1.2.3"])


def test_verifying_stores_nothing_and_takes_a_time(archive: WebArchive) -> None:
    assert verify_over_web(archive.peer()) > 0
    archive.searches = False
    with pytest.raises(QueryNotOffered):
        verify_over_web(archive.peer())
    assert not archive.stored


@pytest.mark.e2e
def test_orthanc_stores_over_the_web_and_says_what_it_holds(
    program: Callable[[str], str], tmp_path: Path, images: list[Path]
) -> None:
    image, uids = pydicom.dcmread(images[0]), [uid_of(path) for path in images]
    with running_orthanc(tmp_path / "pacs", program("Orthanc"), "ORTHANC", plugins=(DICOMWEB,)) as pacs:
        peer = WebPeer("PACS", pacs.dicomweb_url)
        assert verify_over_web(peer) > 0
        results = store_over_web(peer, images[:3])
        assert [result.status for result in results] == [0x0000] * 3
        assert store_over_web(peer, images[:1])[0].is_accepted
        assert find_held_over_web(peer, image.StudyInstanceUID, image.SeriesInstanceUID, uids) == set(uids[:3])
        assert find_held_over_web(peer, generate_uid(), generate_uid(), uids) == frozenset()
        with pytest.raises(QueryNotOffered):
            verify_over_web(WebPeer("PACS", f"{pacs.url}/nothing"))
