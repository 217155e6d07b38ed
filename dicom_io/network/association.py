"""One association: what both sides set on its socket, and how the requesting side opens and closes it."""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AssociationSocket

from dicom_io.errors import NoContextAccepted, PeerUnreachable
from dicom_io.network import part10
from dicom_io.network.peers import Peer

CONNECTION_TIMEOUT_S = 10.0
ACSE_TIMEOUT_S = 30.0
DIMSE_TIMEOUT_S = 120.0
NETWORK_TIMEOUT_S = 120.0
MAXIMUM_PDU_BYTES = 256 * 1024

# Result of an A-ASSOCIATE-RJ: for good or for now (PS3.8 section 9.3.4).
REJECTED = (0x01, 0x02)
# Source and diagnostic of an A-ASSOCIATE-RJ: calling or called AE title not recognised (PS3.8 section 9.3.4).
TITLE_NOT_RECOGNISED = ((0x01, 0x03), (0x01, 0x07))

# An A-ASSOCIATE-RQ with 128 contexts of 40 transfer syntaxes each stays below 300 kB.
LARGEST_PDU_BYTES = 1024 * 1024
# The largest answer is a storage commitment report, some 130 bytes for each object.
LARGEST_ANSWER_BYTES = 16 * 1024 * 1024
POLL_S = 0.0005
_RECEIVE_BYTES = 256 * 1024

# Files are sent as the bytes they are; pynetdicom would otherwise decode and encode each again.
_config.STORE_SEND_CHUNKED_DATASET = True
# Its default handlers format every message for a log that nobody reads, at a third of the throughput.
_config.LOG_HANDLER_LEVEL = "none"


def _shut_and_close(wrapper: AssociationSocket) -> None:
    if wrapper.socket is not None:
        with suppress(OSError):
            wrapper.socket.shutdown(socket.SHUT_RDWR)
        wrapper.socket.close()


# pynetdicom 3.0.4 forgets to close a socket whose shutdown fails, that is, after every attempt to reach a peer that is
# down; a night of retries would leave it to the garbage collector to find them.
AssociationSocket._shutdown_socket = _shut_and_close


def application_entity(ae_title: str) -> AE:
    """Build an application entity with Lodestone's identity and time limits."""
    entity = AE(ae_title)
    entity.implementation_class_uid = part10.IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = part10.IMPLEMENTATION_VERSION_NAME
    entity.maximum_pdu_size = MAXIMUM_PDU_BYTES
    entity.connection_timeout = CONNECTION_TIMEOUT_S
    entity.acse_timeout = ACSE_TIMEOUT_S
    entity.dimse_timeout = DIMSE_TIMEOUT_S
    entity.network_timeout = NETWORK_TIMEOUT_S
    return entity


def connection_handlers(network_timeout_s: float, largest_message_bytes: int) -> list[tuple[Any, ...]]:
    """Return the event handlers that every association needs, on either side."""
    return [
        (evt.EVT_CONN_OPEN, _on_connection_open, [network_timeout_s, largest_message_bytes]),
        (evt.EVT_DIMSE_RECV, _on_message),
    ]


def _on_connection_open(event: evt.Event, network_timeout_s: float, largest_message_bytes: int) -> None:
    """Prepare a connection that has just opened.

    Nagle's algorithm against delayed acknowledgement costs some 45 ms per object unless TCP_NODELAY is set. A peer
    that stalls in the middle of a PDU must not hold a thread for ever. The length of a PDU and of a message is bounded
    before memory is given to it, because pynetdicom 3.0 believes the length field of anyone who connects.
    """
    wrapper = event.assoc.dul.socket
    connection: socket.socket = wrapper.socket
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(network_timeout_s)
    event.assoc.dul._run_loop_delay = POLL_S
    wrapper.recv = BoundedReceiver(connection, largest_message_bytes)


def _on_message(event: evt.Event) -> None:
    event.assoc.dul.socket.recv.message_ended()


class BoundedReceiver:
    """Reads exact numbers of bytes from a socket, within a bound per read and per message."""

    def __init__(self, connection: socket.socket, largest_message_bytes: int) -> None:
        self._connection = connection
        self._largest_message_bytes = largest_message_bytes
        self._message_bytes = 0

    def __call__(self, n_bytes: int) -> bytearray:
        """Read `n_bytes`, fewer only where the peer has closed the connection.

        Raises
        ------
        ConnectionError
            More was announced than is allowed; pynetdicom then closes the connection.
        """
        self._message_bytes += n_bytes
        if n_bytes > LARGEST_PDU_BYTES or self._message_bytes > self._largest_message_bytes:
            raise ConnectionError("The peer announced more bytes than this node accepts.")
        received = bytearray(n_bytes)
        view = memoryview(received)
        filled = 0
        while filled < n_bytes:
            n_read = self._connection.recv_into(view[filled:], min(_RECEIVE_BYTES, n_bytes - filled))
            if n_read == 0:
                return bytearray(view[:filled])
            filled += n_read
        return received

    def message_ended(self) -> None:
        """Start to count anew, since a message is complete."""
        self._message_bytes = 0


@contextmanager
def open_association(
    peer: Peer,
    calling_ae: str,
    contexts: Sequence[PresentationContext],
    answer_within_s: float = ACSE_TIMEOUT_S,
    handlers: Sequence[tuple[Any, ...]] = (),
) -> Iterator[Association]:
    """Open an association with `peer` and close it again, whatever happens in between.

    `answer_within_s` [s] is how long the peer may take to accept or reject it. `handlers` hear pynetdicom's events
    besides those that every association needs.

    Raises
    ------
    NoContextAccepted
        The association was accepted, but none of the contexts.
    PeerUnreachable
        No connection, a rejection or an abort; the sentence says which.
    """
    entity = application_entity(calling_ae)
    entity.acse_timeout = answer_within_s
    association = entity.associate(
        peer.host,
        peer.port,
        contexts=list(contexts),
        ae_title=peer.ae_title,
        max_pdu=MAXIMUM_PDU_BYTES,
        evt_handlers=[*connection_handlers(NETWORK_TIMEOUT_S, LARGEST_ANSWER_BYTES), *handlers],
    )
    if not association.is_established:
        raise _why_not_established(association, peer, calling_ae)
    close: Callable[[], None] = association.abort
    try:
        yield association
        close = association.release
    finally:
        if association.is_established:
            close()


def _why_not_established(association: Association, peer: Peer, calling_ae: str) -> PeerUnreachable:
    # pynetdicom 3.0.4 takes a peer that rejects and hangs up at once for one that never answered the call; what it sent
    # then still waits to be read.
    unread = association.dul.receive_pdu(wait=False)
    answer = unread if isinstance(unread, A_ASSOCIATE) else association.acceptor.primitive
    if answer is not None and answer.result in REJECTED:
        sentence = f"{peer} rejected the association: {answer.reason_str}."
        if (answer.result_source, answer.diagnostic) in TITLE_NOT_RECOGNISED:
            sentence += f" Check the AE titles on both sides; this node calls itself {calling_ae}."
        return PeerUnreachable(sentence)
    if answer is not None and answer.result == 0:
        return NoContextAccepted(
            f"{peer} accepts none of the object types or services that were proposed; check what it is configured for."
        )
    if association.dul.socket is None or association.dul.socket.socket is None:
        return PeerUnreachable(f"{peer} cannot be reached; check host, port, firewall, and whether it runs.")
    return PeerUnreachable(f"{peer} broke off while the association was being opened; look into its log.")
