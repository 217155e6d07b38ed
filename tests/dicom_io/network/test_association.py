import socket
from collections.abc import Iterator

import pytest

from dicom_io.errors import PeerUnreachable
from dicom_io.network.association import LARGEST_PDU_BYTES, BoundedReceiver, open_association
from dicom_io.network.contexts import verification_contexts
from dicom_io.network.peers import Peer
from tests.waiting import free_port

Sockets = tuple[socket.socket, socket.socket]


@pytest.fixture
def connected() -> Iterator[Sockets]:
    near, far = socket.socketpair()
    with near, far:
        yield near, far


def test_exactly_the_bytes_asked_for_are_read(connected: Sockets) -> None:
    near, far = connected
    far.sendall(b"abcdef")
    receive = BoundedReceiver(near, 1000)
    assert receive(4) == b"abcd"
    assert receive(2) == b"ef"


def test_what_came_before_the_peer_hung_up_is_returned(connected: Sockets) -> None:
    near, far = connected
    far.sendall(b"abc")
    far.close()
    assert BoundedReceiver(near, 1000)(10) == b"abc"


def test_a_pdu_longer_than_any_real_one_is_not_given_memory(connected: Sockets) -> None:
    receive = BoundedReceiver(connected[0], 1 << 40)
    with pytest.raises(ConnectionError):
        receive(LARGEST_PDU_BYTES + 1)
    with pytest.raises(ConnectionError):
        receive(0xFFFFFFFF)


def test_a_message_may_not_grow_beyond_its_bound_but_the_next_one_counts_anew(connected: Sockets) -> None:
    near, far = connected
    far.sendall(b"x" * 200)
    receive = BoundedReceiver(near, 100)
    receive(60)
    receive.message_ended()
    receive(60)
    with pytest.raises(ConnectionError):
        receive(60)


def test_a_peer_that_is_not_there_is_named_with_what_to_look_at() -> None:
    peer = Peer("PACS", "ORTHANC", "127.0.0.1", free_port())
    with (
        pytest.raises(PeerUnreachable, match=r"PACS \(ORTHANC at 127\.0\.0\.1:\d+\) cannot be reached"),
        open_association(peer, "LODESTONE", verification_contexts()),
    ):
        pass
