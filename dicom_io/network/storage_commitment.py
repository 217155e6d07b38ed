"""Storage commitment as a user: a peer is asked to answer for objects, and what it reports is read (PS3.4 annex J)."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from dicom_io.errors import CommitmentNotOffered, MalformedReport, NoContextAccepted, NotDicom, PeerRefused
from dicom_io.network.association import ACSE_TIMEOUT_S, open_association
from dicom_io.network.part10 import check_uid
from dicom_io.network.peers import Peer, displayable_ae_title

# PS3.7 section 10.1.1.1.8: what the reporting peer hears.
RECORDED = 0x0000
PROCESSING_FAILURE = 0x0110
NO_SUCH_INSTANCE = 0x0112
NO_SUCH_EVENT = 0x0113
UNKNOWN_TRANSACTION = 0x0115

REQUEST_COMMITMENT = 1
COMPLETE, COMPLETE_WITH_FAILURES = 1, 2
LARGEST_REASON = 0xFFFF

# PS3.3 section C.14.1.1.
_FAILURES = {
    0x0110: "processing failure",
    0x0112: "no such object instance: the peer does not hold it",
    0x0119: "class / instance conflict: the peer holds it as another kind of object",
    0x0122: "referenced SOP class not supported",
    0x0131: "duplicate transaction UID",
    0x0213: "resource limitation: the peer has no room for it",
}
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


@dataclass(frozen=True)
class CommitmentAnswer:
    """What a peer reported on one transaction: SOPInstanceUIDs it answers for, and those it does not, with the reason.

    No UID stands in both; one that the peer named in both is a failure. An object that was asked for and stands in
    neither is not committed.
    """

    transaction_uid: str
    committed: tuple[str, ...]
    failed: tuple[tuple[str, int], ...]


# Hears an answer and the AE title that reported it, makes it safe, and returns the status that the peer hears:
# RECORDED, or UNKNOWN_TRANSACTION where the transaction is not ours or was not opened with that peer.
CommitmentHandler = Callable[[CommitmentAnswer, str], int]


def failure_meaning(code: int) -> str:
    """Put a FailureReason (0008,1197) of storage commitment into words (PS3.3 section C.14.1.1)."""
    return _FAILURES.get(code, f"unknown reason 0x{code:04X}")


def commitment_context() -> PresentationContext:
    """Build the context of storage commitment; as acceptor it lets the peer report, with or without role selection.

    PS3.4 section J.3.3 lets the peer propose, on an association of its own, that it stays the provider (PS3.7 section
    D.3.3.4). Orthanc reports without proposing a role; both are taken.
    """
    syntaxes = [ImplicitVRLittleEndian, ExplicitVRLittleEndian]
    context = build_context(StorageCommitmentPushModel, syntaxes)
    context.scu_role, context.scp_role = True, True
    return context


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


def hear_report(
    event: evt.Event, handler: CommitmentHandler, reporter: str, on_error: Callable[[Exception], object]
) -> tuple[int, None]:
    """Answer an N-EVENT-REPORT request: read it, hand it to `handler`, and return the status for the peer.

    `reporter` is the AE title of the peer. `on_error` hears why a report could not be read or recorded; there is no way
    from an error to RECORDED.
    """
    try:
        answer = read_report(event.request.AffectedSOPInstanceUID, event.event_type, event.event_information)
        return handler(answer, reporter), None
    except Exception as error:  # noqa: BLE001  whatever went wrong, the peer must not hear that its report is recorded
        on_error(error)
        return (error.status if isinstance(error, MalformedReport) else PROCESSING_FAILURE), None


def read_report(instance_uid: str | None, event_type: int | None, report: Dataset) -> CommitmentAnswer:
    """Read the event information of a storage commitment result (PS3.4 table J.3-2).

    `event_type` 1 says that all is committed, 2 that something failed. The two sequences decide, not the type: a peer
    that lists failures under type 1 has not committed to those.

    Raises
    ------
    MalformedReport
        Another event or instance, no TransactionUID, no object at all, or what cannot be decoded; it carries the
        status for the peer.
    """
    if instance_uid is not None and instance_uid != StorageCommitmentPushModelInstance:
        raise MalformedReport("The report is about another instance than the well-known one.", NO_SUCH_INSTANCE)
    if event_type not in (COMPLETE, COMPLETE_WITH_FAILURES):
        raise MalformedReport("The report is of an event type that storage commitment does not have.", NO_SUCH_EVENT)
    try:
        transaction_uid = check_uid(str(report.TransactionUID), "TransactionUID")
        failed = dict(_failed(report.get("FailedSOPSequence") or ()))
        committed = dict.fromkeys(
            check_uid(str(item.ReferencedSOPInstanceUID), "ReferencedSOPInstanceUID")
            for item in report.get("ReferencedSOPSequence") or ()
        )
    # pydicom decodes on access, and what it raises at damaged bytes is not documented.
    except (NotDicom, AttributeError, ValueError, TypeError, KeyError, EOFError, NotImplementedError, OSError) as error:
        raise MalformedReport("The report cannot be read.", UNKNOWN_TRANSACTION) from error
    if not committed and not failed:
        raise MalformedReport("The report names no object.", UNKNOWN_TRANSACTION)
    return CommitmentAnswer(
        transaction_uid, tuple(uid for uid in committed if uid not in failed), tuple(failed.items())
    )


def _failed(items: Iterable[Dataset]) -> Iterable[tuple[str, int]]:
    for item in items:
        reason = item.get("FailureReason")
        uid = check_uid(str(item.ReferencedSOPInstanceUID), "ReferencedSOPInstanceUID")
        yield uid, reason if isinstance(reason, int) and 0 < reason <= LARGEST_REASON else PROCESSING_FAILURE


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
