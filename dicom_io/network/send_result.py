"""What a peer answered to one object that was sent to it, by association or over the web, in codes and in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_io.errors import PeerRefused

STORED = "stored"
NO_ANSWER = "no answer"

# PS3.4 section B.2.3: coercion of elements, elements discarded, dataset does not match SOP class. The object is stored.
WARNINGS = {
    0xB000: "stored with a warning: the peer changed elements of it",
    0xB006: "stored with a warning: the peer discarded elements of it",
    0xB007: "stored with a warning: the peer finds that it does not match its SOP class",
}

# PS3.7 annex C and PS3.18 annex I.
SOP_CLASS_NOT_SUPPORTED = 0x0122
SYNTAX_NOT_SUPPORTED = 0xC122
DUPLICATE_INSTANCE = 0x0111

_MEANINGS = {
    0x0110: "processing failure",
    DUPLICATE_INSTANCE: "duplicate SOP instance: the peer holds one with this UID",
    0x0117: "invalid SOP instance",
    SOP_CLASS_NOT_SUPPORTED: "SOP class not supported",
    0x0124: "not authorised",
    0x0210: "duplicate invocation",
    0x0211: "unrecognised operation",
    0x0212: "mistyped argument",
    0x0213: "resource limitation",
    SYNTAX_NOT_SUPPORTED: "transfer syntax not supported",
}


@dataclass(frozen=True)
class SendResult:
    """What a peer answered to one object; no status means that none was given for it, and `meaning` says why."""

    path: Path
    SOPInstanceUID: str
    status: int | None
    meaning: str
    is_unsupported: bool = False

    @property
    def is_accepted(self) -> bool:
        """Say whether the peer now holds the object."""
        return self.status == 0x0000 or self.status in WARNINGS

    @property
    def is_warning(self) -> bool:
        """Say whether the peer holds the object, but not quite as it was sent; `meaning` says what it told."""
        return self.is_accepted and self.meaning != STORED

    @property
    def is_not_taken(self) -> bool:
        """Say whether the peer takes no such kind of object or encoding, so that no further attempt helps."""
        return self.is_unsupported or self.status in (SOP_CLASS_NOT_SUPPORTED, SYNTAX_NOT_SUPPORTED)

    @property
    def is_duplicate(self) -> bool:
        """Say whether the peer holds an object of this UID already; only a query tells whether it is this one."""
        return self.status == DUPLICATE_INSTANCE


def meaning_of(status: int) -> str:
    """Put the status of one stored object into words (PS3.4 section B.2.3, PS3.7 annex C, PS3.18 annex I)."""
    if status == 0x0000:
        return STORED
    if status in WARNINGS:
        return WARNINGS[status]
    if status in _MEANINGS:
        return _MEANINGS[status]
    if 0xA700 <= status <= 0xA7FF:
        return "out of resources"
    if 0xA900 <= status <= 0xA9FF:
        return "dataset does not match SOP class"
    if 0xC000 <= status <= 0xCFFF:
        return "cannot understand the object"
    return "unknown failure"


def raise_if_refused(peer: object, results: Sequence[SendResult], n_sent: int) -> None:
    """Raise where a peer does not hold everything that was sent to it.

    Raises
    ------
    PeerRefused
        The sentence counts the objects and tells the first refusal.
    """
    refused = [result for result in results if not result.is_accepted]
    if not refused:
        return
    first = refused[0]
    code = "" if first.status is None else f"0x{first.status:04X}, "
    n_accepted = len(results) - len(refused)
    raise PeerRefused(f"{peer} stored {n_accepted} of {n_sent} objects; the first it did not: {code}{first.meaning}.")
