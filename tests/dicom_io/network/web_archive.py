"""A real DICOMweb service for tests: it stores what it is sent, and fails in the ways that services fail."""

import io
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pydicom

from dicom_io.network.peers import WebPeer

ROOT = "/dicom-web"


@dataclass
class WebArchive:
    """What a service does, and what it has seen; `failing` and `warning` are reasons by SOPInstanceUID."""

    failing: dict[str, int] = field(default_factory=dict)
    warning: dict[str, int] = field(default_factory=dict)
    silent_about: set[str] = field(default_factory=set)
    cuts_at: set[str] = field(default_factory=set)
    largest_request: int | None = None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/dicom+json"
    body: bytes | None = None
    searches: bool = True
    page: int = 1000
    knows_offset: bool = True
    stalls: threading.Event | None = None
    cuts_answer: bool = False
    requests: list[tuple[str, Message]] = field(default_factory=list)
    lots: list[list[str]] = field(default_factory=list)
    stored: dict[str, pydicom.Dataset] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    port: int = 0
    scheme: str = "http"

    def peer(self, **settings: object) -> WebPeer:
        """Return its address."""
        return WebPeer("PACS", f"{self.scheme}://localhost:{self.port}{ROOT}", **settings)

    def store(self, files: list[bytes]) -> tuple[int, bytes]:
        """Store what is not to fail and return status and body of the answer."""
        referenced, failed = [], []
        for file in files:
            image = pydicom.dcmread(io.BytesIO(file))
            uid = str(image.SOPInstanceUID)
            item = {"00081155": {"vr": "UI", "Value": [uid]}}
            if uid in self.failing:
                failed.append({**item, "00081197": {"vr": "US", "Value": [self.failing[uid]]}})
                continue
            self.stored[uid], self.files[uid] = image, file
            if uid in self.warning:
                item["00081196"] = {"vr": "US", "Value": [self.warning[uid]]}
            if uid not in self.silent_about:
                referenced.append(item)
        answer = {}
        if referenced:
            answer["00081199"] = {"vr": "SQ", "Value": referenced}
        if failed:
            answer["00081198"] = {"vr": "SQ", "Value": failed}
        return (200 if not failed else 202 if referenced else 409), json.dumps([answer]).encode()

    def find(self, path: str) -> tuple[int, bytes]:
        """Answer a search for the instances of one series."""
        parts, query = urlsplit(path).path.split("/"), parse_qs(urlsplit(path).query)
        if not self.searches:
            return 404, b""
        if parts[-1] == "studies":
            return 200, b"[]"
        held = sorted(
            (i for i in self.stored.values() if i.StudyInstanceUID == parts[3] and i.SeriesInstanceUID == parts[5]),
            key=lambda image: image.SOPInstanceUID,
        )
        start = int(query.get("offset", ["0"])[0]) if self.knows_offset else 0
        page = held[start : start + min(self.page, int(query["limit"][0]))]
        matches = [{"00080018": {"vr": "UI", "Value": [image.SOPInstanceUID]}} for image in page]
        return (200, json.dumps(matches).encode()) if matches else (204, b"")


@contextmanager
def running_web_archive(certificate: Path | None = None) -> Iterator[WebArchive]:
    """Run a service on loopback, with TLS where a file of key and certificate is given."""
    archive = WebArchive(scheme="https" if certificate else "http")

    class Bound(_Handler):
        service = archive

    server = _Server(("127.0.0.1", 0), Bound)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        # A handshake that fails would otherwise leave its socket to the garbage collector.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    archive.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield archive
    finally:
        if archive.stalls is not None:
            archive.stalls.set()
        server.shutdown()
        server.server_close()
        thread.join(20)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        # A client that hangs up is what some tests are about.
        return


class _Handler(BaseHTTPRequestHandler):
    service: WebArchive
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        return

    def do_GET(self) -> None:
        self.service.requests.append((self.path, self.headers))
        self._answer(*self.service.find(self.path))

    def do_POST(self) -> None:
        service, n_bytes = self.service, int(self.headers["Content-Length"])
        service.requests.append((self.path, self.headers))
        if service.largest_request is not None and n_bytes > service.largest_request:
            # As proxies do: the answer comes before the body has been read, and the connection ends.
            self.close_connection = True
            self._answer(413, b"")
            return
        files = self._parts(self.rfile.read(n_bytes))
        uids = [str(pydicom.dcmread(io.BytesIO(file)).SOPInstanceUID) for file in files]
        service.lots.append(uids)
        if service.cuts_at & set(uids):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if service.stalls is not None:
            service.stalls.wait(60)
        self._answer(*(service.store(files) if service.status is None else (service.status, b"")))

    def _parts(self, body: bytes) -> list[bytes]:
        boundary = self.headers.get_param("boundary", header="Content-Type")
        assert self.headers.get_content_type() == "multipart/related"
        assert self.headers.get_param("type", header="Content-Type") == "application/dicom"
        first, *parts, last = (b"\r\n" + body).split(b"\r\n--" + str(boundary).encode())
        assert (first, last) == (b"", b"--\r\n")
        heads, contents = zip(*(part.split(b"\r\n\r\n", 1) for part in parts), strict=True)
        assert set(heads) == {b"\r\nContent-Type: application/dicom"}
        return list(contents)

    def _answer(self, status: int, body: bytes) -> None:
        service = self.service
        if service.status is not None:
            status = service.status
        if service.body is not None:
            body = service.body
        self.send_response(status)
        for name, value in service.headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Type", service.content_type)
            self.send_header("Content-Length", str(len(body) + (10 if service.cuts_answer else 0)))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)
        if service.cuts_answer:
            self.close_connection = True
