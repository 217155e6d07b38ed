"""Storage commitment as a user: a peer is asked to answer for objects, and may report at once (PS3.4 annex J)."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from dicom_io.errors import CommitmentNotOffered, MalformedReport, NoContextAccepted, PeerRefused
from dicom_io.network.association import ACSE_TIMEOUT_S, open_association
from dicom_io.network.commitment_report import (
    NO_SUCH_EVENT,
    NO_SUCH_INSTANCE,
    PROCESSING_FAILURE,
    RECORDED,
    UNKNOWN_TRANSACTION,
    CommitmentAnswer,
    CommitmentHandler,
    commitment_context,
    failure_meaning,
)
from dicom_io.network.peers import Peer, displayable_ae_title
from dicom_io.network.storage_scp import hear_report

__all__ = [
    "NO_SUCH_EVENT",
    "NO_SUCH_INSTANCE",
    "PROCESSING_FAILURE",
    "RECORDED",
    "UNKNOWN_TRANSACTION",
    "CommitmentAnswer",
    "CommitmentHandler",
    "Reference",
    "commitment_context",
    "failure_meaning",
    "offers_commitment",
    "request_commitment",
]

REQUEST_COMMITMENT = 1
# PS3.7 annex C, as far as N-ACTION may end with them.
_STATUS_NAMES = {
    0x0110: "processing failure",
    0x0112: "no such SOP instance",
    0x0115: "invalid argument value",
    0x0117: "invalid object instance",
    0x0118: "no such SOP class",
    0x0119: "class / instance conflict",
    0x0122: "SOP class not supported",
    0x0123: "no such action",
    0x0124: "not authorised",
    0x0131: "duplicate transaction UID",
    0x0210: "duplicate invocation",
    0x0211: "unrecognised operation",
    0x0212: "mistyped argument",
    0x0213: "resource limitation",
}


@dataclass(frozen=True)
class Reference:
    """One object that a peer is asked to answer for."""

    SOPClassUID: str
    SOPInstanceUID: str


def request_commitment(
    peer: Peer,
    references: Sequence[Reference],
    transaction_uid: str,
    calling_ae: str,
    on_answer: CommitmentHandler,
    answer_within_s: float = 0.0,
) -> None:
    """Ask `peer` by N-ACTION to commit to keeping objects (PS3.4 section J.3.2).

    Returning means that the peer has taken the request, not that it has committed to anything. Its answer comes later
    on an association of its own, which a Storage SCP with `on_commitment` hears, or at once on this one, which is kept
    open for `answer_within_s` [s] or until this transaction's answer was heard; `on_answer` hears that one. What it
    raises is raised here, after the peer has heard that its report is not recorded.

    Raises
    ------
    CommitmentNotOffered
        The peer takes the association but not storage commitment.
    PeerUnreachable
        No association could be made; nothing was asked.
    PeerRefused
        The peer answered the request with a failure, which the sentence names, or not at all.
    ValueError
        There is nothing to ask for.
    """
    if not references:
        raise ValueError("There is no object to ask commitment for.")
    waiting = _SameAssociation(on_answer, peer.ae_title, transaction_uid)
    try:
        with open_association(peer, calling_ae, [_requested()], handlers=waiting.handlers) as association:
            _ask(association, peer, references, transaction_uid)
            waiting.wait(answer_within_s)
        waiting.raise_what_the_handler_raised()
    except NoContextAccepted as error:
        raise CommitmentNotOffered(f"{peer} does not offer storage commitment.") from error


def offers_commitment(peer: Peer, calling_ae: str = "LODESTONE", answer_within_s: float = ACSE_TIMEOUT_S) -> bool:
    """Say whether `peer` takes an association for storage commitment; nothing is asked of it.

    Raises
    ------
    PeerUnreachable
        No association could be made for another reason.
    """
    try:
        with open_association(peer, calling_ae, [_requested()], answer_within_s):
            return True
    except NoContextAccepted:
        return False


def _requested() -> PresentationContext:
    context = commitment_context()
    # As requestor the default roles are the right ones; a role item would only give a peer something to reject.
    context.scu_role, context.scp_role = None, None
    return context


def _ask(association: Association, peer: Peer, references: Sequence[Reference], transaction_uid: str) -> None:
    asked = Dataset()
    asked.TransactionUID = transaction_uid
    asked.ReferencedSOPSequence = [_item(reference) for reference in references]
    answer, _ = association.send_n_action(
        asked, REQUEST_COMMITMENT, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    status = answer.get("Status")
    if status is None:
        raise PeerRefused(f"{peer} did not answer the request for storage commitment.")
    if status != 0x0000:
        name = _STATUS_NAMES.get(int(status), "unknown failure")
        raise PeerRefused(f"{peer} refused the request for storage commitment: 0x{status:04X}, {name}.")


def _item(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.SOPClassUID
    item.ReferencedSOPInstanceUID = reference.SOPInstanceUID
    return item


class _SameAssociation:
    """Waits for the report that a peer sends on the association on which it was asked."""

    def __init__(self, on_answer: CommitmentHandler, reporter: str, transaction_uid: str) -> None:
        self._on_answer = on_answer
        self._reporter = displayable_ae_title(reporter)
        self._transaction_uid = transaction_uid
        self._is_heard = False
        self._error: Exception | None = None
        self._is_over = threading.Event()
        self.handlers = [
            (evt.EVT_N_EVENT_REPORT, self._hear),
            (evt.EVT_PDU_SENT, self._on_sent),
            (evt.EVT_CONN_CLOSE, self._on_close),
        ]

    def wait(self, within_s: float) -> None:
        """Return when the transaction's report was answered, the connection has ended, or after `within_s` [s]."""
        if within_s > 0:
            self._is_over.wait(within_s)

    def raise_what_the_handler_raised(self) -> None:
        """Raise what the handler raised at a report, if it did."""
        if self._error is not None:
            raise self._error

    def _hear(self, event: evt.Event) -> tuple[int, None]:
        return hear_report(event, self._note, self._reporter, self._fail)

    def _fail(self, error: Exception) -> None:
        # A report that cannot be read is the peer's failure; the transaction stays without an answer.
        if not isinstance(error, MalformedReport):
            self._error, self._is_heard = error, True

    def _note(self, answer: CommitmentAnswer, reporter: str) -> int:
        status = self._on_answer(answer, reporter)
        self._is_heard = self._is_heard or answer.transaction_uid == self._transaction_uid
        return status

    def _on_sent(self, event: evt.Event) -> None:
        # Only when the response is on its way may the association be released.
        if self._is_heard:
            self._is_over.set()

    def _on_close(self, event: evt.Event) -> None:
        self._is_over.set()
