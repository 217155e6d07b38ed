"""One HTTP exchange with a web peer: verified TLS, no redirect, no proxy, and a bound on time and on the answer."""

import base64
import http.client
import ssl
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from dicom_io.errors import ConnectionCut, PeerRefused, PeerUnreachable
from dicom_io.network.association import CONNECTION_TIMEOUT_S, LARGEST_ANSWER_BYTES
from dicom_io.network.peers import WebPeer

_READ_BYTES = 64 * 1024
_LONGEST_SECRET = 64 * 1024


@dataclass(frozen=True)
class WebAnswer:
    """What a web peer answered; the body may name patients and is never repeated."""

    status: int
    content_type: str
    body: bytes = field(repr=False)

    @property
    def meaning(self) -> str:
        """The status in words."""
        try:
            return f"HTTP {self.status}, {HTTPStatus(self.status).phrase.lower()}"
        except ValueError:
            return f"HTTP {self.status}"


def exchange(
    peer: WebPeer,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: Iterable[bytes] = (),
    n_bytes: int = 0,
) -> WebAnswer:
    """Send one request of `n_bytes` in pieces to `path` below the peer's url, and read the whole answer.

    A redirect is an answer like any other: nothing is sent to an address that is not configured.

    Raises
    ------
    PeerUnreachable
        No connection: the address, the name, TLS, or a file of credentials; nothing was sent.
    ConnectionCut
        The connection ended, or the peer was silent for too long, before the answer was complete.
    PeerRefused
        What came back is no HTTP answer, or a longer one than is accepted.
    """
    fields = {**headers, **_authorization(peer)}
    with closing(_connect(peer)) as connection:
        try:
            _send(connection, method, peer.address.path.rstrip("/") + path, fields, body, n_bytes)
            return _receive(connection, peer)
        except TimeoutError as error:
            raise ConnectionCut(f"{peer} did not answer within {peer.answer_within_s:g} s.", is_silence=True) from error
        except (OSError, http.client.IncompleteRead, http.client.RemoteDisconnected) as error:
            raise ConnectionCut(f"{peer} broke off the connection before it had answered.") from error
        except http.client.HTTPException as error:
            raise PeerRefused(f"{peer} gave no answer that is HTTP; check host, port and scheme of its url.") from error


def _connect(peer: WebPeer) -> http.client.HTTPConnection:
    address = peer.address
    host = address.hostname or ""
    connection: http.client.HTTPConnection
    try:
        if address.scheme == "https":
            context = ssl.create_default_context(cafile=None if peer.ca_file is None else str(peer.ca_file))
            connection = http.client.HTTPSConnection(host, address.port, timeout=CONNECTION_TIMEOUT_S, context=context)
        else:
            connection = http.client.HTTPConnection(host, address.port, timeout=CONNECTION_TIMEOUT_S)
        connection.connect()
    except ssl.SSLCertVerificationError as error:
        raise PeerUnreachable(
            f"{peer} shows a certificate that is not trusted ({error.verify_message}); check its name and validity, or "
            "name the file of its certification authority in ca_file."
        ) from error
    except ssl.SSLError as error:
        raise PeerUnreachable(f"TLS with {peer} failed; check its url, port and ca_file.") from error
    except OSError as error:
        raise PeerUnreachable(f"{peer} cannot be reached; check host, port, firewall, and whether it runs.") from error
    connection.sock.settimeout(peer.answer_within_s)
    return connection


def _send(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: Iterable[bytes],
    n_bytes: int,
) -> None:
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, content in headers.items():
        connection.putheader(name, content)
    if n_bytes:
        connection.putheader("Content-Length", str(n_bytes))
    connection.endheaders()
    try:
        for piece in body:
            connection.send(piece)
    except (BrokenPipeError, ConnectionResetError):
        # A peer that refuses a request for its length answers and hangs up without reading on; the answer is there.
        return


def _receive(connection: http.client.HTTPConnection, peer: WebPeer) -> WebAnswer:
    deadline = time.monotonic() + peer.answer_within_s
    response = connection.getresponse()
    received = bytearray()
    while piece := response.read1(_READ_BYTES):
        received += piece
        if len(received) > LARGEST_ANSWER_BYTES:
            raise PeerRefused(f"{peer} gave a longer answer than this node accepts.")
        if time.monotonic() > deadline:
            raise TimeoutError
    if response.length:
        raise http.client.IncompleteRead(b"")
    content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return WebAnswer(response.status, content_type, bytes(received))


def _authorization(peer: WebPeer) -> dict[str, str]:
    if peer.token_file is not None:
        return {"Authorization": "Bearer " + _secret(peer, peer.token_file)}
    if peer.password_file is not None:
        pair = f"{peer.user}:{_secret(peer, peer.password_file)}".encode()
        return {"Authorization": "Basic " + base64.b64encode(pair).decode("ascii")}
    return {}


def _secret(peer: WebPeer, path: Path) -> str:
    try:
        with path.open("rb") as file:
            secret = file.read(_LONGEST_SECRET).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PeerUnreachable(f"The file of {peer.name}'s password or token cannot be read: {path.name}.") from error
    if not secret or not secret.isprintable() or (path == peer.token_file and not secret.isascii()):
        raise PeerUnreachable(f"The file of {peer.name}'s password or token holds none in its one line: {path.name}.")
    return secret
