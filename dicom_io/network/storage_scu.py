"""Storage as a user: files go to a peer byte for byte, and every answer is known before anything is called sent."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pydicom.filereader import dcmread
from pynetdicom.association import Association

from dicom_io.errors import NoContextAccepted, NotDicom
from dicom_io.network.association import open_association
from dicom_io.network.contexts import UNCOMPRESSED, contexts_to_offer, lots_of_objects, sop_class_name
from dicom_io.network.part10 import Envelope, read_envelope
from dicom_io.network.peers import Peer
from dicom_io.network.send_result import NO_ANSWER, SendResult, meaning_of, raise_if_refused

__all__ = ["SendResult", "meaning_of", "send"]

# An object at which a peer falls over must not keep those behind it waiting for ever; a peer that falls over at every
# object must not keep a worker for ever.
MOST_NEW_ASSOCIATIONS = 3

Files = Sequence[tuple[Path, Envelope]]
OnStatus = Callable[[SendResult], None]


def send(
    peer: Peer,
    paths: Sequence[Path],
    on_status: OnStatus | None = None,
    calling_ae: str = "LODESTONE",
) -> list[SendResult]:
    """Send files to a peer and return its answers, in the order in which it was asked.

    One association carries everything; there are more only where the objects are of more kinds than one can offer, and
    after an object that was not answered, which leaves its association in an unknown state. Such an object does not
    hold back those behind it, until `MOST_NEW_ASSOCIATIONS` were spent. A file goes out as its bytes wherever the peer
    takes its transfer syntax; otherwise, and only if it is not compressed, it is encoded anew in a syntax the peer
    takes. An object of a kind that the peer does not take is a result like any other. `on_status` hears each answer at
    once.

    Raises
    ------
    PeerUnreachable
        An association could not be made. `on_status` has heard what was accepted before; where it was the first,
        nothing was sent.
    PeerRefused
        At least one object was answered with a failure or not at all. `on_status` has heard which ones were accepted.
    NotDicom
        A file is no DICOM file; nothing was sent.
    """
    files = [(path, read_envelope(path)) for path in paths]
    results: list[SendResult] = []

    def note(result: SendResult) -> None:
        results.append(result)
        if on_status is not None:
            on_status(result)

    for lot in lots_of_objects(files, lambda file: (file[1].SOPClassUID, file[1].TransferSyntaxUID)):
        unsent: Files = lot
        while unsent and sum(map(_is_unanswered, results)) <= MOST_NEW_ASSOCIATIONS:
            unsent = _send_over_one_association(peer, unsent, note, calling_ae)
    raise_if_refused(peer, results, len(files))
    return results


def _is_unanswered(result: SendResult) -> bool:
    return result.status is None and result.meaning == NO_ANSWER


def _send_over_one_association(peer: Peer, files: Files, note: OnStatus, calling_ae: str) -> Files:
    """Send until the end or until an object is not answered; return what comes after that one."""
    offered = contexts_to_offer((envelope.SOPClassUID, envelope.TransferSyntaxUID) for _, envelope in files)
    try:
        with open_association(peer, calling_ae, offered) as association:
            for number, (path, envelope) in enumerate(files, 1):
                result = _send_one(association, path, envelope)
                note(result)
                # An answer that comes late would be taken for the next object's.
                if _is_unanswered(result):
                    return files[number:]
    except NoContextAccepted:
        for path, envelope in files:
            note(_not_taken(path, envelope))
    return ()


def _not_taken(path: Path, envelope: Envelope) -> SendResult:
    name = sop_class_name(envelope.SOPClassUID)
    sentence = f"the peer takes no {name} in this transfer syntax or none at all"
    return SendResult(path, envelope.SOPInstanceUID, None, sentence, is_unsupported=True)


def _send_one(association: Association, path: Path, envelope: Envelope) -> SendResult:
    uid = envelope.SOPInstanceUID
    is_exact = _is_accepted(association, envelope.SOPClassUID, (envelope.TransferSyntaxUID,))
    can_convert = envelope.TransferSyntaxUID in UNCOMPRESSED and _is_accepted(
        association, envelope.SOPClassUID, UNCOMPRESSED
    )
    if not is_exact and not can_convert:
        return _not_taken(path, envelope)
    try:
        answer = association.send_c_store(path if is_exact else dcmread(path))
    except RuntimeError:
        # pynetdicom raises it when the association has ended since the last object.
        return SendResult(path, uid, None, NO_ANSWER)
    except (ValueError, AttributeError) as error:
        raise NotDicom(f"{path.name} cannot be encoded for sending.") from error
    status = answer.get("Status")
    if status is None:
        return SendResult(path, uid, None, NO_ANSWER)
    return SendResult(path, uid, int(status), meaning_of(int(status)))


def _is_accepted(association: Association, sop_class_uid: str, syntaxes: Sequence[str]) -> bool:
    return any(
        context.abstract_syntax == sop_class_uid and context.transfer_syntax[0] in syntaxes
        for context in association.accepted_contexts
    )
