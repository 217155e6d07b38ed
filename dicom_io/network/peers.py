"""Who speaks to the node and to whom it speaks: application entities by title, host and port."""

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass

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
