import hashlib
import socket
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import A_ASSOCIATE

from dicom_io.errors import NotDicom, PeerRefused, PeerUnreachable
from dicom_io.network.part10 import read_envelope
from dicom_io.network.peers import Caller, Peer
from dicom_io.network.storage_scp import Refused, ScpSettings
from dicom_io.network.storage_scu import send
from dicom_io.network.verification import echo
from tests.dicom_io.network.conftest import Provider, write_image
from tests.waiting import eventually


def encoded(path: Path) -> bytes:
    return path.read_bytes()[read_envelope(path).dataset_offset :]


def rejection_of(calling: str, called: str, port: int) -> tuple[int, int, int]:
    """Ask for an association and return result, source and diagnostic of the rejection."""
    answers: list[A_ASSOCIATE] = []
    entity = AE(calling)
    entity.add_requested_context(MRImageStorage)
    association = entity.associate(
        "127.0.0.1",
        port,
        ae_title=called,
        evt_handlers=[(evt.EVT_ACSE_RECV, lambda event: answers.append(event.primitive))],
    )
    assert association.is_rejected
    return answers[0].result, answers[0].result_source, answers[0].diagnostic


def test_the_bytes_arrive_exactly_as_they_were_encoded(provider: Provider, image: Path) -> None:
    provider.start()
    send(provider.peer, [image], calling_ae="SCANNER")
    (incoming,) = provider.instances
    assert incoming.dataset == encoded(image)
    assert incoming.SOPInstanceUID == read_envelope(image).SOPInstanceUID
    assert (incoming.SOPClassUID, incoming.TransferSyntaxUID) == (MRImageStorage, ExplicitVRLittleEndian)
    assert incoming.calling_ae == "SCANNER"


@pytest.mark.e2e
def test_dcmtk_storescu_delivers_many_instances_on_one_association(
    provider: Provider, tmp_path: Path, dcmtk: Callable[[str], str]
) -> None:
    provider.start()
    images = [write_image(tmp_path / f"{number}.dcm") for number in range(20)]
    port = str(provider.peer.port)
    command = [dcmtk("storescu"), "-R", "-aet", "SCANNER", "-aec", "NODE", "127.0.0.1", port, *map(str, images)]
    subprocess.run(command, check=True, timeout=60)
    assert {i.SOPInstanceUID for i in provider.instances} == {read_envelope(p).SOPInstanceUID for p in images}
    assert len({incoming.association for incoming in provider.instances}) == 1
    assert eventually(lambda: provider.ended, 10, "the association's end") == [("SCANNER", 1)]


def test_an_unknown_caller_is_rejected_with_the_reason_of_the_standard_and_reported(provider: Provider) -> None:
    provider.start()
    assert rejection_of("STRANGER", "NODE", provider.peer.port) == (0x01, 0x01, 0x03)
    ((what, caller, sentence),) = provider.refusals
    assert (what, caller) == (Refused.ASSOCIATION, "STRANGER")
    assert "STRANGER" in sentence


def test_a_wrong_called_title_is_rejected_with_the_reason_of_the_standard_and_reported(provider: Provider) -> None:
    provider.start()
    assert rejection_of("SCANNER", "OTHER", provider.peer.port) == (0x01, 0x01, 0x07)
    assert provider.refusals[0][:2] == (Refused.ASSOCIATION, "SCANNER")


def test_the_called_title_is_free_where_it_is_not_required(provider: Provider) -> None:
    provider.start(requires_called_ae_title=False)
    assert echo(Peer("node", "ANYTHING", "127.0.0.1", provider.peer.port), "SCANNER") > 0


def test_a_known_title_from_another_host_is_rejected(provider: Provider) -> None:
    provider.allowed = (Caller("SCANNER", "192.0.2.1"),)
    provider.start()
    with pytest.raises(PeerUnreachable, match="Calling AE title not recognised"):
        echo(provider.peer, "SCANNER")


def test_without_callers_everybody_is_turned_away(provider: Provider) -> None:
    provider.allowed = ()
    provider.start()
    with pytest.raises(PeerUnreachable, match="Calling AE title not recognised"):
        echo(provider.peer, "SCANNER")


def test_an_unknown_object_type_is_not_accepted_and_reported_by_name(provider: Provider, tmp_path: Path) -> None:
    provider.start()
    ct = write_image(tmp_path / "ct.dcm", sop_class=CTImageStorage)
    with pytest.raises(PeerRefused, match="takes no CT Image Storage"):
        send(provider.peer, [ct], calling_ae="SCANNER")
    assert provider.refusals == [
        (Refused.PRESENTATION_CONTEXT, "SCANNER", "object types not accepted: CT Image Storage")
    ]
    assert not provider.instances


def test_whatever_the_callback_raises_the_sender_hears_a_failure(provider: Provider, image: Path) -> None:
    provider.start()
    for error, status in [(OSError("disk"), 0xA700), (NotDicom("header"), 0xC000), (AssertionError(), 0x0110)]:
        provider.fail_with, provider.status = error, status
        with pytest.raises(PeerRefused, match=f"0x{status:04X}"):
            send(provider.peer, [image], calling_ae="SCANNER")
    assert [failure[0] for failure in provider.failures] == ["OSError", "NotDicom", "AssertionError"]


def test_a_failure_that_is_translated_to_success_by_mistake_is_still_a_failure(provider: Provider, image: Path) -> None:
    provider.fail_with, provider.status = OSError("disk"), 0x0000
    provider.start()
    with pytest.raises(PeerRefused, match="0x0110"):
        send(provider.peer, [image], calling_ae="SCANNER")


def test_implicit_little_endian_is_kept_as_it_is(provider: Provider, tmp_path: Path) -> None:
    provider.start()
    image = write_image(tmp_path / "implicit.dcm", ImplicitVRLittleEndian)
    send(provider.peer, [image], calling_ae="SCANNER")
    assert provider.instances[0].TransferSyntaxUID == ImplicitVRLittleEndian
    assert hashlib.sha256(provider.instances[0].dataset).digest() == hashlib.sha256(encoded(image)).digest()


def test_an_association_beyond_the_limit_is_rejected_for_now(provider: Provider) -> None:
    provider.start(maximum_associations=1)
    entity = AE("SCANNER")
    entity.add_requested_context(MRImageStorage)
    first = entity.associate("127.0.0.1", provider.peer.port, ae_title="NODE")
    assert first.is_established
    assert rejection_of("SCANNER", "NODE", provider.peer.port) == (0x02, 0x03, 0x02)
    first.release()
    assert "1 are open already" in provider.refusals[0][2]
    assert eventually(lambda: provider.scp.n_associations == 0, 10, "the first association's end")
    assert echo(provider.peer, "SCANNER") > 0


def test_an_object_larger_than_the_limit_is_cut_off_and_the_next_sender_served(
    provider: Provider, tmp_path: Path, image: Path
) -> None:
    provider.start(largest_object_bytes=4096)
    big = write_image(tmp_path / "big.dcm")
    with big.open("ab") as file:
        # A private element of 64 kB behind the pixels.
        file.write(struct.pack("<HH2sHL", 0x7FE1, 0x0010, b"OB", 0, 65536) + bytes(65536))
    with pytest.raises(PeerRefused, match="no answer"):
        send(provider.peer, [big], calling_ae="SCANNER")
    assert not provider.instances
    send(provider.peer, [image], calling_ae="SCANNER")
    assert len(provider.instances) == 1


@pytest.mark.parametrize(
    "noise",
    [b"GET / HTTP/1.1\r\n\r\n", b"\x01\x00\xff\xff\xff\xff", b"\x04\x00\x00\x00\x00\x06\x00\x00\x00\x02\x01\x02", b""],
    ids=["http", "a PDU of four gigabytes", "data before an association", "nothing"],
)
def test_noise_on_the_port_ends_that_connection_only(provider: Provider, noise: bytes) -> None:
    provider.start()
    with socket.create_connection(("127.0.0.1", provider.peer.port), timeout=20) as stranger:
        stranger.sendall(noise)
        stranger.shutdown(socket.SHUT_WR)
        while stranger.recv(4096):
            pass
    assert echo(provider.peer, "SCANNER") > 0
    assert not provider.instances


def test_a_sender_that_stalls_in_the_middle_of_a_pdu_is_cut_off(provider: Provider) -> None:
    provider.start(network_timeout_s=0.5)
    with socket.create_connection(("127.0.0.1", provider.peer.port), timeout=20) as stalling:
        stalling.sendall(b"\x01\x00" + struct.pack(">L", 5000) + b"the rest never comes")
        assert stalling.recv(1) == b""
    assert echo(provider.peer, "SCANNER") > 0


def test_probes_of_the_port_do_not_use_up_the_associations(provider: Provider) -> None:
    provider.start(maximum_associations=1)
    for _ in range(12):
        socket.create_connection(("127.0.0.1", provider.peer.port), timeout=20).close()
        assert echo(provider.peer, "SCANNER") > 0
        assert eventually(lambda: provider.scp.n_associations == 0, 10, "the end of the association")


def test_a_transfer_that_breaks_off_leaves_nothing_and_ends_the_association(provider: Provider, image: Path) -> None:
    provider.start()
    entity = AE("SCANNER")
    entity.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", provider.peer.port, ae_title="NODE")
    association.send_c_store(image)
    association.abort()
    assert eventually(lambda: provider.ended, 10, "the association's end") == [("SCANNER", 1)]
    assert len(provider.instances) == 1


def test_a_stopped_provider_leaves_its_port_free(provider: Provider) -> None:
    provider.start()
    port = provider.peer.port
    provider.scp.stop(1.0)
    again = Provider()
    again.start(port=port)
    assert echo(again.peer, "SCANNER") > 0
    again.scp.stop(1.0)


def test_a_title_that_cannot_be_is_refused_before_listening() -> None:
    with pytest.raises(ValueError, match="AE title"):
        ScpSettings("A TITLE THAT IS TOO LONG")
