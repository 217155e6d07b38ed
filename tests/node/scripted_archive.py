"""A real archive for the tests of delivery: it stores, commits and answers queries, and misbehaves as it is told."""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)
from pynetdicom.transport import ThreadedAssociationServer

from dicom_io.network.contexts import IMAGE_CLASSES, RESULT_CLASSES
from dicom_io.network.peers import Peer
from tests.dicom_io.network.committing_archive import report_anew, report_of, send_report


@dataclass
class Script:
    """How the archive behaves; a test may change it while it runs.

    `store_status` returns the answer to the n-th copy of an object, None for an abort instead of one. `failing` returns
    the reason not to commit to an object, or None. `reports` says when: `anew`, `same` (association) or `never`.
    """

    refused_classes: Collection[str] = ()
    syntaxes: Collection[str] = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    admits: Collection[str] | None = None
    offers_commitment: bool = True
    offers_query: bool = True
    action_status: int = 0x0000
    reports: str = "anew"
    knows_when_queried: bool = True
    store_status: Callable[[str, int], int | None] = lambda uid, copy: 0x0000
    failing: Callable[[str], int | None] = lambda uid: None


@dataclass
class ScriptedArchive:
    """An archive on a port of its own, and everything that it was sent and asked.

    `while_asked` is called before a request for commitment is answered.
    """

    script: Script = field(default_factory=Script)
    reports_to: Peer | None = None
    title: str = "ARCHIVE"
    host: str = "127.0.0.1"
    port: int = 0
    stores: Counter[str] = field(default_factory=Counter)
    held: dict[str, tuple[str, str]] = field(default_factory=dict)
    requests: list[Dataset] = field(default_factory=list)
    heard: list[int | None] = field(default_factory=list)
    while_asked: Callable[[], None] | None = None
    _server: ThreadedAssociationServer | None = None

    def start(self) -> "ScriptedArchive":
        """Listen, with what the script offers now."""
        entity = AE(self.title)
        entity.maximum_pdu_size = 0
        if self.script.admits is not None:
            entity.require_calling_aet = list(self.script.admits)
        for sop_class in (*IMAGE_CLASSES, *RESULT_CLASSES):
            if sop_class not in self.script.refused_classes:
                entity.add_supported_context(sop_class, [UID(syntax) for syntax in self.script.syntaxes])
        entity.add_supported_context(Verification)
        if self.script.offers_commitment:
            entity.add_supported_context(StorageCommitmentPushModel)
        if self.script.offers_query:
            entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._take), (evt.EVT_C_FIND, self._find)]
        self._server = entity.start_server((self.host, self.port), block=False, evt_handlers=handlers)
        self.port = self._server.server_address[1]
        return self

    def stop(self) -> None:
        """Take no new association; a second call does nothing."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()

    def report(self, number: int = -1) -> int | None:
        """Report on a request on a new association, and return the status that was heard."""
        assert self.reports_to is not None
        status = report_anew(self.reports_to, self._answer(self.requests[number]), self.title)
        self.heard.append(status)
        return status

    def _answer(self, request: Dataset) -> Dataset:
        uids = [str(item.ReferencedSOPInstanceUID) for item in request.ReferencedSOPSequence]
        failed = {uid: reason for uid in uids if (reason := self.script.failing(uid)) is not None}
        return report_of(str(request.TransactionUID), [uid for uid in uids if uid not in failed], failed)

    def _store(self, event: evt.Event) -> int:
        dataset = event.dataset
        uid = str(dataset.SOPInstanceUID)
        self.stores[uid] += 1
        status = self.script.store_status(uid, self.stores[uid])
        if status is None:
            event.assoc.abort()
            return 0x0110
        if status == 0x0000 or 0xB000 <= status <= 0xBFFF:
            self.held[uid] = (str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID))
        return status

    def _take(self, event: evt.Event) -> tuple[int, None]:
        self.requests.append(event.action_information)
        # A request is answered by the script of the moment it came: `while_asked` may outlast that.
        status, reports = self.script.action_status, self.script.reports
        if self.while_asked is not None:
            self.while_asked()
        if status == 0x0000:
            if reports == "same":
                is_sent = threading.Event()
                event.assoc.bind(evt.EVT_PDU_SENT, lambda _: is_sent.set())
                threading.Thread(target=self._report_here, args=(event.assoc, is_sent), daemon=True).start()
            elif reports == "anew":
                threading.Thread(target=self.report, daemon=True).start()
        return status, None

    def _report_here(self, association: Association, is_sent: threading.Event) -> None:
        # The report follows the response to the request.
        assert is_sent.wait(20)
        self.heard.append(send_report(association, self._answer(self.requests[-1])))

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        wanted = str(event.identifier.SeriesInstanceUID)
        for uid, (study, series) in list(self.held.items()):
            if self.script.knows_when_queried and series == wanted:
                match = Dataset()
                match.QueryRetrieveLevel = "IMAGE"
                match.StudyInstanceUID, match.SeriesInstanceUID, match.SOPInstanceUID = study, series, uid
                yield 0xFF00, match
