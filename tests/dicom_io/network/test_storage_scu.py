import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    RLELossless,
    SegmentationStorage,
)
from pynetdicom import AE, StoragePresentationContexts, evt
from pynetdicom.presentation import build_context
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import uid_to_service_class

from dicom_io.errors import NotDicom, PeerRefused, PeerUnreachable
from dicom_io.network.contexts import MOST_CONTEXTS
from dicom_io.network.part10 import read_envelope
from dicom_io.network.peers import Peer
from dicom_io.network.storage_scu import MOST_NEW_ASSOCIATIONS, SendResult, send
from tests.dicom_io.network.conftest import Provider, write_image
from tests.waiting import eventually, free_port, is_listening


@contextmanager
def running_storescp(storescp: str, folder: Path, *options: str) -> Iterator[Peer]:
    """Run DCMTK's storescp, which stores into `folder`."""
    folder.mkdir()
    port = free_port()
    process = subprocess.Popen([storescp, "+B", "-od", str(folder), *options, str(port)])
    try:
        eventually(lambda: is_listening(port), 20, "storescp's start")
        yield Peer("DCMTK", "STORESCP", "127.0.0.1", port)
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.e2e
def test_dcmtk_stores_what_we_send_and_every_answer_is_heard(dcmtk: Callable[[str], str], tmp_path: Path) -> None:
    folder = tmp_path / "stored"
    images = [write_image(tmp_path / f"{number}.dcm") for number in range(3)]
    heard: list[SendResult] = []
    with running_storescp(dcmtk("storescp"), folder) as peer:
        results = send(peer, images, heard.append)
    assert results == heard
    assert [(result.path, result.status, result.is_accepted) for result in results] == [(p, 0, True) for p in images]
    stored = sorted((pydicom.dcmread(path) for path in folder.iterdir()), key=lambda d: d.SOPInstanceUID)
    assert stored == sorted((pydicom.dcmread(path) for path in images), key=lambda d: d.SOPInstanceUID)


@pytest.mark.e2e
def test_dcmtk_that_refuses_every_association_is_told(dcmtk: Callable[[str], str], tmp_path: Path, image: Path) -> None:
    with (
        running_storescp(dcmtk("storescp"), tmp_path / "stored", "--refuse") as peer,
        pytest.raises(PeerUnreachable, match="rejected the association"),
    ):
        send(peer, [image])


@pytest.mark.e2e
@pytest.mark.parametrize("option", ["--abort-after", "--abort-during"])
def test_dcmtk_that_aborts_at_every_object_has_stored_none(
    dcmtk: Callable[[str], str], tmp_path: Path, option: str
) -> None:
    images = [write_image(tmp_path / f"{number}.dcm") for number in range(6)]
    heard: list[SendResult] = []
    with (
        running_storescp(dcmtk("storescp"), tmp_path / "stored", option) as peer,
        pytest.raises(PeerRefused, match=r"stored 0 of 6 objects.*no answer"),
    ):
        send(peer, images, heard.append)
    assert [(result.status, result.is_accepted) for result in heard] == [(None, False)] * (1 + MOST_NEW_ASSOCIATIONS)


def test_nothing_to_send_opens_no_association() -> None:
    assert send(Peer("nobody", "NOBODY", "127.0.0.1", free_port()), []) == []


def test_a_file_that_is_no_dicom_is_named_before_anything_is_sent(provider: Provider, image: Path) -> None:
    provider.start()
    broken = image.with_name("broken.dcm")
    broken.write_bytes(b"no DICOM")
    with pytest.raises(NotDicom, match=r"broken\.dcm"):
        send(provider.peer, [image, broken], calling_ae="SCANNER")
    assert not provider.instances


def test_a_peer_that_is_down_is_unreachable(image: Path) -> None:
    with pytest.raises(PeerUnreachable, match="cannot be reached"):
        send(Peer("PACS", "ORTHANC", "127.0.0.1", free_port()), [image])


def test_a_failed_status_is_told_and_the_other_objects_are_still_sent(provider: Provider, tmp_path: Path) -> None:
    images = [write_image(tmp_path / f"{number}.dcm") for number in range(3)]
    provider.start()
    heard: list[SendResult] = []

    def only_the_first_fails(result: SendResult) -> None:
        heard.append(result)
        provider.fail_with = None

    provider.fail_with, provider.status = OSError("disk"), 0xA700
    with pytest.raises(PeerRefused, match=r"stored 2 of 3 objects.*0xA700, out of resources"):
        send(provider.peer, images, only_the_first_fails, calling_ae="SCANNER")
    assert [result.is_accepted for result in heard] == [False, True, True]


@pytest.fixture
def falling_over() -> Iterator[tuple[Peer, set[str], list[str]]]:
    """Run an archive that hangs up at objects of the given UIDs; return also the UIDs of what it has stored."""
    fatal: set[str] = set()
    stored: list[str] = []

    def keep_or_hang_up(event: evt.Event) -> int:
        if event.request.AffectedSOPInstanceUID in fatal:
            event.assoc.abort()
        else:
            stored.append(event.request.AffectedSOPInstanceUID)
        return 0x0000

    archive = AE("ARCHIVE")
    archive.add_supported_context(MRImageStorage, ExplicitVRLittleEndian)
    server = archive.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep_or_hang_up)])
    yield Peer("PACS", "ARCHIVE", "127.0.0.1", server.server_address[1]), fatal, stored
    server.shutdown()


def test_an_object_without_an_answer_does_not_hold_back_those_behind_it(
    falling_over: tuple[Peer, set[str], list[str]], tmp_path: Path
) -> None:
    peer, fatal, stored = falling_over
    images = [write_image(tmp_path / f"{number}.dcm") for number in range(3)]
    uids = [read_envelope(image).SOPInstanceUID for image in images]
    fatal.add(uids[0])
    heard: list[SendResult] = []
    with pytest.raises(PeerRefused, match=r"stored 2 of 3 objects.*no answer"):
        send(peer, images, heard.append)
    assert [(result.status, result.is_accepted) for result in heard] == [(None, False), (0, True), (0, True)]
    assert stored == uids[1:]


def test_a_peer_that_answers_nothing_is_left_alone_after_a_few_associations(
    falling_over: tuple[Peer, set[str], list[str]], tmp_path: Path
) -> None:
    peer, fatal, stored = falling_over
    images = [write_image(tmp_path / f"{number}.dcm") for number in range(6)]
    fatal.update(read_envelope(image).SOPInstanceUID for image in images)
    heard: list[SendResult] = []
    with pytest.raises(PeerRefused, match=r"stored 0 of 6 objects.*no answer"):
        send(peer, images, heard.append)
    assert len(heard) == 1 + MOST_NEW_ASSOCIATIONS
    assert not stored


def start_archive(
    syntaxes: list[str], classes: list[str], kept: list[pydicom.Dataset], largest_pdu: int = 16382, status: int = 0
) -> tuple[object, Peer]:
    def keep(event: evt.Event) -> int:
        stored = event.dataset
        stored.file_meta = event.file_meta
        kept.append(stored)
        return status

    archive = AE("ARCHIVE")
    archive.maximum_pdu_size = largest_pdu
    contexts = [build_context(sop_class, syntaxes) for sop_class in classes]
    server = archive.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)], contexts=contexts
    )
    return server, Peer("PACS", "ARCHIVE", "127.0.0.1", server.server_address[1])


def test_a_peer_that_takes_implicit_only_gets_the_same_object_in_implicit(image: Path) -> None:
    kept: list[pydicom.Dataset] = []
    server, peer = start_archive([ImplicitVRLittleEndian], [MRImageStorage], kept)
    try:
        send(peer, [image])
    finally:
        server.shutdown()
    assert kept[0].file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert kept[0] == pydicom.dcmread(image)


@pytest.mark.parametrize("largest_pdu", [0, 256], ids=["of any size", "of 256 bytes"])
def test_a_peer_may_ask_for_pieces(image: Path, largest_pdu: int) -> None:
    kept: list[pydicom.Dataset] = []
    server, peer = start_archive([ExplicitVRLittleEndian], [MRImageStorage], kept, largest_pdu)
    try:
        send(peer, [image])
    finally:
        server.shutdown()
    assert kept[0] == pydicom.dcmread(image)


def test_a_compressed_object_is_not_sent_where_its_syntax_is_not_taken(image: Path, tmp_path: Path) -> None:
    compressed = tmp_path / "compressed.dcm"
    dataset = pydicom.dcmread(image)
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.save_as(compressed)
    kept: list[pydicom.Dataset] = []
    server, peer = start_archive([ExplicitVRLittleEndian], [MRImageStorage], kept)
    try:
        with pytest.raises(PeerRefused, match=r"stored 1 of 2 objects.*takes no MR Image Storage in this"):
            send(peer, [compressed, image])
    finally:
        server.shutdown()
    assert len(kept) == 1


def test_an_object_type_that_the_peer_does_not_take_does_not_hold_back_the_others(image: Path, tmp_path: Path) -> None:
    segmentation = write_image(tmp_path / "segmentation.dcm", sop_class=SegmentationStorage)
    heard: list[SendResult] = []
    kept: list[pydicom.Dataset] = []
    server, peer = start_archive([ExplicitVRLittleEndian], [MRImageStorage], kept)
    try:
        with pytest.raises(PeerRefused, match="stored 1 of 2"):
            send(peer, [segmentation, image], heard.append)
    finally:
        server.shutdown()
    assert [result.is_accepted for result in heard] == [False, True]
    assert kept[0].SOPInstanceUID == read_envelope(image).SOPInstanceUID


def test_a_peer_that_takes_none_of_the_kinds_says_so_of_each_object(image: Path, tmp_path: Path) -> None:
    segmentation = write_image(tmp_path / "segmentation.dcm", sop_class=SegmentationStorage)
    heard: list[SendResult] = []
    server, peer = start_archive([ExplicitVRLittleEndian], [CTImageStorage], [])
    try:
        with pytest.raises(PeerRefused, match=r"stored 0 of 2 objects.*takes no MR Image Storage"):
            send(peer, [image, segmentation], heard.append)
    finally:
        server.shutdown()
    assert [(result.status, result.is_not_taken) for result in heard] == [(None, True)] * 2
    assert "Segmentation Storage" in heard[1].meaning


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007])
def test_a_warning_counts_as_stored_and_is_told(image: Path, status: int) -> None:
    server, peer = start_archive([ExplicitVRLittleEndian], [MRImageStorage], [], status=status)
    try:
        (result,) = send(peer, [image])
    finally:
        server.shutdown()
    assert (result.status, result.is_accepted, result.is_warning) == (status, True, True)
    assert result.meaning.startswith("stored with a warning: ")


@pytest.mark.parametrize(
    ("status", "is_not_taken", "is_duplicate"),
    [(0x0122, True, False), (0x0111, False, True), (0xA700, False, False), (0xB001, False, False)],
)
def test_a_failure_says_whether_another_attempt_can_help(
    image: Path, status: int, is_not_taken: bool, is_duplicate: bool
) -> None:
    heard: list[SendResult] = []
    server, peer = start_archive([ExplicitVRLittleEndian], [MRImageStorage], [], status=status)
    try:
        with pytest.raises(PeerRefused, match=f"0x{status:04X}"):
            send(peer, [image], heard.append)
    finally:
        server.shutdown()
    assert [(r.is_accepted, r.is_not_taken, r.is_duplicate) for r in heard] == [(False, is_not_taken, is_duplicate)]


def test_a_peer_that_knows_other_callers_only_rejects_the_association(image: Path) -> None:
    archive = AE("ARCHIVE")
    archive.add_supported_context(MRImageStorage, ExplicitVRLittleEndian)
    archive.require_calling_aet = ["SOMEBODY"]
    server = archive.start_server(("127.0.0.1", 0), block=False)
    try:
        with pytest.raises(PeerUnreachable, match="Check the AE titles on both sides"):
            send(Peer("PACS", "ARCHIVE", "127.0.0.1", server.server_address[1]), [image])
    finally:
        server.shutdown()


def test_more_kinds_than_one_association_can_offer_go_over_several(tmp_path: Path) -> None:
    every = [str(context.abstract_syntax) for context in StoragePresentationContexts]
    classes = [sop_class for sop_class in every if uid_to_service_class(sop_class) is StorageServiceClass][:50]
    files = [write_image(tmp_path / f"{number}.dcm", sop_class=sop_class) for number, sop_class in enumerate(classes)]
    kept: list[pydicom.Dataset] = []
    server, peer = start_archive([ExplicitVRLittleEndian], classes, kept)
    associations: list[int] = []
    server.bind(evt.EVT_ACCEPTED, lambda event: associations.append(len(event.assoc.requestor.requested_contexts)))
    try:
        results = send(peer, files)
    finally:
        server.shutdown()
    assert [result.path for result in results] == files
    assert [dataset.SOPClassUID for dataset in kept] == classes
    assert len(associations) == 2
    assert all(n_contexts <= MOST_CONTEXTS for n_contexts in associations)


@pytest.mark.e2e
def test_dcmrecv_that_takes_only_images_refuses_the_rest_one_by_one(
    dcmtk: Callable[[str], str], tmp_path: Path
) -> None:
    folder, port, profile = tmp_path / "stored", free_port(), tmp_path / "profile.cfg"
    folder.mkdir()
    profile.write_text(
        "[[TransferSyntaxes]]\n[Plain]\nTransferSyntax1=LittleEndianExplicit\n"
        f"[[PresentationContexts]]\n[Images]\nPresentationContext1={MRImageStorage}\\Plain\n"
        "[[Profiles]]\n[Default]\nPresentationContexts=Images\n"
    )
    segmentation = write_image(tmp_path / "segmentation.dcm", sop_class=SegmentationStorage)
    image = write_image(tmp_path / "image.dcm")
    command = [dcmtk("dcmrecv"), "-xf", str(profile), "Default", "-od", str(folder), str(port)]
    process = subprocess.Popen(command)
    heard: list[SendResult] = []
    try:
        eventually(lambda: is_listening(port), 20, "dcmrecv's start")
        with pytest.raises(PeerRefused, match="stored 1 of 2"):
            send(Peer("DCMTK", "DCMRECV", "127.0.0.1", port), [segmentation, image], heard.append)
    finally:
        process.terminate()
        process.wait(20)
    assert [(result.is_accepted, result.is_not_taken) for result in heard] == [(False, True), (True, False)]
    assert len(list(folder.iterdir())) == 1
