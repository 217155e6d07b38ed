"""Storage as a user: files go to a peer byte for byte, and every answer is known before anything is called sent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.filereader import dcmread
from pynetdicom.association import Association

from dicom_io.errors import NotDicom, PeerRefused
from dicom_io.network.association import open_association
from dicom_io.network.contexts import UNCOMPRESSED, contexts_to_offer
from dicom_io.network.part10 import Envelope, read_envelope
from dicom_io.network.peers import Peer

# PS3.4 section B.2.3: coercion of elements, elements discarded, dataset does not match SOP class. The object is stored.
WARNINGS = frozenset({0xB000, 0xB006, 0xB007})

_MEANINGS = {
    0x0110: "processing failure",
    0x0117: "invalid SOP instance",
    0x0122: "SOP class not supported",
    0x0124: "not authorised",
    0x0210: "duplicate invocation",
}


@dataclass(frozen=True)
class SendResult:
    """What a peer answered to one object; no status means that it never answered."""

    path: Path
    SOPInstanceUID: str
    status: int | None
    meaning: str

    @property
    def is_accepted(self) -> bool:
        """Say whether the peer now holds the object."""
        return self.status == 0x0000 or self.status in WARNINGS


def send(
    peer: Peer,
    paths: Sequence[Path],
    on_status: Callable[[SendResult], None] | None = None,
    calling_ae: str = "LODESTONE",
) -> list[SendResult]:
    """Send files to a peer over one new association and return its answers in the same order.

    A file goes out as its bytes wherever the peer takes its transfer syntax; otherwise, and only if it is not
    compressed, it is encoded anew in a syntax the peer takes. `on_status` hears each answer at once.

    Raises
    ------
    PeerUnreachable
        No association could be made; nothing was sent.
    PeerRefused
        At least one object was answered with a failure or not at all. `on_status` has heard which ones were accepted.
    NotDicom
        A file is no DICOM file; nothing was sent.
    """
    envelopes = [read_envelope(path) for path in paths]
    if not envelopes:
        return []
    offered = contexts_to_offer((envelope.SOPClassUID, envelope.TransferSyntaxUID) for envelope in envelopes)
    results: list[SendResult] = []
    with open_association(peer, calling_ae, offered) as association:
        for path, envelope in zip(paths, envelopes, strict=True):
            result = _send_one(association, path, envelope)
            results.append(result)
            if on_status is not None:
                on_status(result)
            # After an empty status the association is in an unknown state: an answer that comes late would be taken
            # for the next object's.
            if result.status is None and result.meaning == _NO_ANSWER:
                break
    _raise_if_refused(peer, results, len(paths))
    return results


_NO_ANSWER = "no answer"


def _send_one(association: Association, path: Path, envelope: Envelope) -> SendResult:
    uid = envelope.SOPInstanceUID
    is_exact = _is_accepted(association, envelope.SOPClassUID, (envelope.TransferSyntaxUID,))
    can_convert = envelope.TransferSyntaxUID in UNCOMPRESSED and _is_accepted(
        association, envelope.SOPClassUID, UNCOMPRESSED
    )
    if not is_exact and not can_convert:
        return SendResult(path, uid, None, "the peer takes no such object in this transfer syntax")
    try:
        answer = association.send_c_store(path if is_exact else dcmread(path))
    except RuntimeError:
        # pynetdicom raises it when the association has ended since the last object.
        return SendResult(path, uid, None, _NO_ANSWER)
    except (ValueError, AttributeError) as error:
        raise NotDicom(f"{path.name} cannot be encoded for sending.") from error
    status = answer.get("Status")
    if status is None:
        return SendResult(path, uid, None, _NO_ANSWER)
    return SendResult(path, uid, int(status), meaning_of(int(status)))


def _is_accepted(association: Association, sop_class_uid: str, syntaxes: Sequence[str]) -> bool:
    return any(
        context.abstract_syntax == sop_class_uid and context.transfer_syntax[0] in syntaxes
        for context in association.accepted_contexts
    )


def meaning_of(status: int) -> str:
    """Put a C-STORE status into words (PS3.4 section B.2.3, PS3.7 annex C)."""
    if status == 0x0000:
        return "stored"
    if status in WARNINGS:
        return "stored with a warning"
    if 0xA700 <= status <= 0xA7FF:
        return "out of resources"
    if 0xA900 <= status <= 0xA9FF:
        return "dataset does not match SOP class"
    if 0xC000 <= status <= 0xCFFF:
        return "cannot understand the object"
    return _MEANINGS.get(status, "unknown failure")


def _raise_if_refused(peer: Peer, results: Sequence[SendResult], n_sent: int) -> None:
    refused = [result for result in results if not result.is_accepted]
    if not refused:
        return
    first = refused[0]
    code = "" if first.status is None else f"0x{first.status:04X}, "
    n_accepted = len(results) - len(refused)
    raise PeerRefused(f"{peer} stored {n_accepted} of {n_sent} objects; the first it did not: {code}{first.meaning}.")
