"""A real archive for tests of storage commitment: it takes requests, and reports when and how the test says."""

import threading
from collections.abc import Mapping, Sequence
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from dicom_io.network.peers import Peer


def report_of(
    transaction_uid: str | None, committed: Sequence[str] = (), failed: Mapping[str, int | None] | None = None
) -> Dataset:
    """Build the event information of a report; a failure without a reason is possible, too."""
    report = Dataset()
    if transaction_uid is not None:
        report.TransactionUID = transaction_uid
    if committed:
        report.ReferencedSOPSequence = [_item(uid) for uid in committed]
    if failed:
        report.FailedSOPSequence = [_item(uid, reason) for uid, reason in failed.items()]
    return report


def _item(uid: str, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = MRImageStorage, uid
    if reason is not None:
        item.FailureReason = reason
    return item


class CommittingArchive:
    """An archive that offers storage commitment. It answers requests with `status`, and commits to all but `failing`.

    `reports_at_once` makes it report on the association on which it was asked, `hangs_up` makes it abort instead.
    """

    def __init__(self) -> None:
        self.status = 0x0000
        self.reports_at_once = False
        self.hangs_up = False
        self.failing: dict[str, int | None] = {}
        self.requests: list[Dataset] = []
        self.heard: list[int | None] = []
        entity = AE("ARCHIVE")
        entity.add_supported_context(StorageCommitmentPushModel)
        self._server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_ACTION, self._take)])

    @property
    def peer(self) -> Peer:
        """Return its address."""
        return Peer("PACS", "ARCHIVE", "127.0.0.1", self._server.server_address[1])

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()

    def answer(self) -> Dataset:
        """Build what it has to report on the latest request."""
        request = self.requests[-1]
        uids = [str(item.ReferencedSOPInstanceUID) for item in request.ReferencedSOPSequence]
        failed = {uid: reason for uid, reason in self.failing.items() if uid in uids}
        return report_of(str(request.TransactionUID), [uid for uid in uids if uid not in failed], failed)

    def _take(self, event: evt.Event) -> tuple[int, None]:
        self.requests.append(event.action_information)
        if self.hangs_up:
            event.assoc.abort()
        elif self.reports_at_once:
            is_answered = threading.Event()
            event.assoc.bind(evt.EVT_PDU_SENT, lambda _: is_answered.set())
            threading.Thread(target=self._report_here, args=(event.assoc, is_answered), daemon=True).start()
        return self.status, None

    def _report_here(self, association: Association, is_answered: threading.Event) -> None:
        # The report follows the response to the request.
        assert is_answered.wait(20)
        self.heard.append(send_report(association, self.answer()))


def send_report(
    association: Association,
    report: Dataset | bytes,
    event_type: int = 1,
    instance_uid: str = StorageCommitmentPushModelInstance,
) -> int | None:
    """Report on an open association and return the status that was heard; bytes go out as they are, none as none."""
    if isinstance(report, Dataset):
        answer, _ = association.send_n_event_report(report, event_type, StorageCommitmentPushModel, instance_uid)
        return answer.get("Status")
    request = N_EVENT_REPORT()
    request.MessageID, request.EventTypeID = 1, event_type
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = StorageCommitmentPushModel, instance_uid
    request.EventInformation = BytesIO(report) if report else None
    association.dimse.send_msg(request, association.accepted_contexts[0].context_id)
    _, response = association.dimse.get_msg(block=True)
    return None if response is None else response.Status


def report_anew(
    listener: Peer, report: Dataset | bytes, calling_ae: str = "ARCHIVE", proposes_role: bool = True, **how: object
) -> int | None:
    """Report on a new association, as archives do, and return the status that was heard.

    `proposes_role` negotiates that the archive stays the provider; Orthanc reports without.
    """
    entity = AE(calling_ae)
    entity.add_requested_context(StorageCommitmentPushModel)
    roles = [build_role(StorageCommitmentPushModel, scp_role=True)] if proposes_role else []
    association = entity.associate(listener.host, listener.port, ae_title=listener.ae_title, ext_neg=roles)
    if not association.is_established:
        raise ConnectionRefusedError("the listener rejected the association")
    try:
        context = association.accepted_contexts[0]
        if not proposes_role:
            context._as_scp = True
        assert context.as_scp, "the proposed role was not accepted"
        if isinstance(report, bytes):
            # The reactor would take the answer away.
            association._reactor_checkpoint.clear()
        return send_report(association, report, **how)
    finally:
        association._reactor_checkpoint.set()
        association.release()
