"""Who speaks to the node and to whom it speaks: application entities by title, host and port, and web services."""

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

LONGEST_AE_TITLE = 16


@dataclass(frozen=True)
class Peer:
    """An application entity that the node sends to."""

    name: str
    ae_title: str
    host: str
    port: int

    def __post_init__(self) -> None:
        check_ae_title(self.ae_title)
        if not 0 < self.port < 65536:
            raise ValueError(f"Peer {self.name}: port {self.port} is not between 1 and 65535.")

    def __str__(self) -> str:
        return f"{self.name} ({self.ae_title} at {self.host}:{self.port})"


@dataclass(frozen=True)
class WebPeer:
    """A DICOMweb service that the node sends to (PS3.18).

    `url` is its root, to which `/studies` is appended. It is entered with user and password, with a bearer token, or
    with neither; password and token stand in files of their own, read at each use. With `ca_file` only certificates
    signed by one in it are trusted, without it those that the machine trusts. `largest_request_bytes` bounds what is
    sent in one request; a larger object goes alone. `answer_within_s` [s] is how long the service may be silent.
    """

    name: str
    url: str
    user: str = ""
    password_file: Path | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    largest_request_bytes: int = 32 * 1024 * 1024
    answer_within_s: float = 120.0

    def __post_init__(self) -> None:
        _check_url(self.name, self.url)
        if bool(self.user) != (self.password_file is not None):
            raise ValueError(f"Peer {self.name}: user and password_file go together.")
        if self.user and self.token_file is not None:
            raise ValueError(f"Peer {self.name}: give user and password_file, or token_file, not both.")
        if ":" in self.user:
            raise ValueError(f"Peer {self.name}: a user's name cannot hold a colon.")
        if self.has_credentials and self.address.scheme != "https" and not _is_loopback(self.address.hostname or ""):
            raise ValueError(f"Peer {self.name}: a password or token would be readable on the network; use https.")
        if self.largest_request_bytes < 1 or self.answer_within_s <= 0:
            raise ValueError(f"Peer {self.name}: largest_request_bytes and answer_within_s must be positive.")

    @property
    def address(self) -> SplitResult:
        """The parts of the url."""
        return urlsplit(self.url)

    @property
    def has_credentials(self) -> bool:
        """Say whether requests carry a password or a token."""
        return bool(self.user) or self.token_file is not None

    def __str__(self) -> str:
        return f"{self.name} ({self.url})"


@dataclass(frozen=True)
class Caller:
    """An application entity that may open an association; an empty host means from anywhere."""

    ae_title: str
    host: str = ""

    def __post_init__(self) -> None:
        check_ae_title(self.ae_title)

    def is_at(self, address: str) -> bool:
        """Say whether a connection from `address` can be this caller."""
        return not self.host or address in _addresses_of(self.host)


def check_ae_title(title: str) -> None:
    """Refuse what cannot be an application entity title (PS3.5 section 6.2, value representation AE).

    Raises
    ------
    ValueError
        The title is empty, longer than 16 characters, or holds a backslash or control character.
    """
    if not title.strip() or len(title) > LONGEST_AE_TITLE or "\\" in title or not is_printable_ascii(title):
        raise ValueError(
            f"{title[:40]!r} is no AE title: 1 to {LONGEST_AE_TITLE} printable ASCII characters without backslash."
        )


def is_printable_ascii(text: str) -> bool:
    """Say whether `text` consists of the characters between space and tilde only."""
    return all(" " <= character <= "~" for character in text)


def displayable_ae_title(received: str) -> str:
    """Make a received title safe to record: at most 16 characters, everything unprintable replaced."""
    return "".join(c if " " <= c <= "~" else "?" for c in received.strip())[:LONGEST_AE_TITLE]


def admits(callers: Iterable[Caller], ae_title: str, address: str) -> bool:
    """Say whether any of `callers` has this title and may come from this address; nobody is admitted by default."""
    return any(caller.ae_title.strip() == ae_title.strip() and caller.is_at(address) for caller in callers)


def _check_url(name: str, url: str) -> None:
    try:
        address = urlsplit(url)
        is_usable = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or not is_printable_ascii(url) or " " in url:
        raise ValueError(f"Peer {name}: url must read http(s)://host[:port]/path.")
    if address.username is not None or address.password is not None or address.query or address.fragment:
        raise ValueError(
            f"Peer {name}: url holds neither user, password, query nor fragment; give credentials by file."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _addresses_of(host: str) -> set[str]:
    try:
        return {str(ipaddress.ip_address(host))}
    except ValueError:
        pass
    try:
        return {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        # A name that cannot be resolved proves nobody's identity.
        return set()
