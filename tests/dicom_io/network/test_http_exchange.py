import base64
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from dicom_io.errors import ConnectionCut, PeerRefused, PeerUnreachable
from dicom_io.network import http_exchange
from dicom_io.network.association import CONNECTION_TIMEOUT_S
from dicom_io.network.dicomweb import store_over_web, verify_over_web
from dicom_io.network.peers import WebPeer
from tests.dicom_io.network.web_archive import WebArchive, running_web_archive
from tests.waiting import free_port


@contextmanager
def saying(*pieces: bytes, every_s: float = 0.0, answer_within_s: float = 20.0) -> Iterator[WebPeer]:
    """Run a server that says these bytes to whoever connects, whatever it is asked, and then hangs up."""
    is_over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                for piece in pieces:
                    connection.sendall(piece)
                    is_over.wait(every_s)

        threading.Thread(target=serve, daemon=True).start()
        port = server.getsockname()[1]
        yield WebPeer("PACS", f"http://127.0.0.1:{port}", answer_within_s=answer_within_s)
        is_over.set()


@pytest.fixture
def certificate(program: Callable[[str], str], tmp_path: Path) -> Callable[[str], Path]:
    """Return the function that makes a file of key and certificate, signed by itself, for a host's name."""

    def make(host: str) -> Path:
        key, signed, both = tmp_path / "key.pem", tmp_path / "certificate.pem", tmp_path / "both.pem"
        key_of = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(key)]
        name = ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
        subprocess.run(
            [program("openssl"), "req", "-x509", *key_of, *name, "-days", "2", "-out", str(signed)],
            check=True,
            capture_output=True,
            timeout=60,
        )
        both.write_bytes(key.read_bytes() + signed.read_bytes())
        return both

    return make


def seen_authorization(archive: WebArchive) -> str | None:
    return archive.requests[-1][1]["Authorization"]


def test_a_certificate_that_the_site_names_is_trusted(certificate: Callable[[str], Path], image: Path) -> None:
    file = certificate("localhost")
    with running_web_archive(file) as archive:
        assert store_over_web(archive.peer(ca_file=file.with_name("certificate.pem")), [image])[0].is_accepted
        assert archive.files.popitem()[1] == image.read_bytes()


def test_a_certificate_that_nobody_vouches_for_is_not(certificate: Callable[[str], Path], image: Path) -> None:
    with running_web_archive(certificate("localhost")) as archive:
        with pytest.raises(PeerUnreachable, match=r"not trusted.*ca_file"):
            store_over_web(archive.peer(), [image])
        assert not archive.requests


def test_a_certificate_for_another_host_is_not_trusted(certificate: Callable[[str], Path]) -> None:
    file = certificate("elsewhere.example")
    with running_web_archive(file) as archive, pytest.raises(PeerUnreachable, match="not trusted"):
        verify_over_web(archive.peer(ca_file=file.with_name("certificate.pem")))


def test_a_service_without_tls_is_not_spoken_to_in_clear_where_https_is_configured(tmp_path: Path) -> None:
    with running_web_archive() as archive:
        archive.scheme = "https"
        with pytest.raises(PeerUnreachable, match="TLS with PACS"):
            verify_over_web(archive.peer())
        assert not archive.requests


def test_password_and_token_are_read_from_their_files_at_each_use(tmp_path: Path) -> None:
    password, token = tmp_path / "password", tmp_path / "token"
    password.write_text("pässword:1\n")
    token.write_text("abc.def\n")
    with running_web_archive() as archive:
        verify_over_web(archive.peer(user="node", password_file=password))
        scheme, _, pair = str(seen_authorization(archive)).partition(" ")
        assert (scheme, base64.b64decode(pair).decode()) == ("Basic", "node:pässword:1")
        verify_over_web(archive.peer(token_file=token))
        assert seen_authorization(archive) == "Bearer abc.def"
        token.write_text("changed")
        verify_over_web(archive.peer(token_file=token))
        assert seen_authorization(archive) == "Bearer changed"
        verify_over_web(archive.peer())
        assert seen_authorization(archive) is None


@pytest.mark.parametrize("content", [None, b"", b"\n", b"two\nlines", b"\xff\xfe", "tökén".encode()])
def test_a_token_that_is_none_is_not_sent_nor_repeated(tmp_path: Path, content: bytes | None) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_bytes(content)
    with running_web_archive() as archive:
        with pytest.raises(PeerUnreachable, match="token") as raised:
            verify_over_web(archive.peer(token_file=token))
        assert "lines" not in str(raised.value)
        assert not archive.requests


def test_the_environment_s_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with running_web_archive() as archive:
        assert verify_over_web(archive.peer()) > 0


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    with running_web_archive() as archive, running_web_archive() as elsewhere:
        archive.status, archive.headers = 307, {"Location": f"http://localhost:{elsewhere.port}/dicom-web/studies"}
        with pytest.raises(PeerRefused, match="HTTP 307"):
            verify_over_web(archive.peer(token_file=token))
        assert not elsewhere.requests


def test_a_peer_that_speaks_no_http_is_told() -> None:
    with (
        saying(b"\x07\x00\x00\x00\x00\x04\x00\x00\x02\x01") as peer,
        pytest.raises(PeerRefused, match="no answer that"),
    ):
        verify_over_web(peer)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n[]",
    ],
    ids=["nothing", "less than announced", "half a chunk"],
)
def test_an_answer_that_ends_early_is_no_answer(answer: bytes) -> None:
    with saying(answer) as peer, pytest.raises(ConnectionCut, match="broke off"):
        verify_over_web(peer)


def test_an_answer_without_an_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_exchange, "LARGEST_ANSWER_BYTES", 1000)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with (
        saying(head, *[b"80\r\n" + bytes(128) + b"\r\n"] * 20) as peer,
        pytest.raises(PeerRefused, match="longer answer"),
    ):
        verify_over_web(peer)


def test_an_answer_that_only_trickles_is_left_after_its_time() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    trickle = [b"1\r\n \r\n"] * 400
    with (
        saying(head, *trickle, every_s=0.05, answer_within_s=0.3) as peer,
        pytest.raises(ConnectionCut, match=r"within 0\.3 s"),
    ):
        verify_over_web(peer)


def test_a_service_that_says_nothing_is_left_after_its_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = WebPeer("PACS", f"http://127.0.0.1:{server.getsockname()[1]}", answer_within_s=0.2)
        started = time.monotonic()
        with pytest.raises(ConnectionCut, match=r"within 0\.2 s") as raised:
            verify_over_web(peer)
        assert raised.value.is_silence
        assert time.monotonic() - started < CONNECTION_TIMEOUT_S / 2
