"""What a peer reports on storage commitment: the context on which it comes, and how it is read (PS3.4 annex J)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from dicom_io.errors import MalformedReport, NotDicom
from dicom_io.instance import PARSING_FAILURES
from dicom_io.network.part10 import check_uid

# PS3.7 section 10.1.1.1.8: what the reporting peer hears.
RECORDED = 0x0000
PROCESSING_FAILURE = 0x0110
NO_SUCH_INSTANCE = 0x0112
NO_SUCH_EVENT = 0x0113
UNKNOWN_TRANSACTION = 0x0115

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
    except (NotDicom, *PARSING_FAILURES) as error:
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
