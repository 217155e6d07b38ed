"""The listener: what arrives, image, commitment or step, is made safe, then recorded, and only then acknowledged."""

import threading

import structlog

import db.errors
import dicom_io.errors
from db import audit
from dicom_io.network import mpps, peers
from dicom_io.network.storage_commitment import RECORDED, CommitmentAnswer
from dicom_io.network.storage_scp import PROCESSING_FAILURE, IncomingInstance, Refused, ScpSettings, StorageScp
from node.errors import DiskFull, InvalidSettings
from node.journey import received
from node.journey.delivered_answers import record_answer
from node.journey.received_steps import record_step
from node.log import place_of
from node.services import Services
from node.settings import Settings

log = structlog.get_logger()

OUT_OF_RESOURCES = 0xA700
DATASET_DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000

# PS3.4 section B.2.3 and PS3.7 annex C; the first class that fits decides, and whatever is not listed is a processing
# failure. There is no way from an error to "success".
STATUS_OF_ERROR: tuple[tuple[type[Exception], int], ...] = (
    (DiskFull, OUT_OF_RESOURCES),
    (OSError, OUT_OF_RESOURCES),
    (MemoryError, OUT_OF_RESOURCES),
    (db.errors.Transient, OUT_OF_RESOURCES),
    (dicom_io.errors.ContradictoryHeader, DATASET_DOES_NOT_MATCH),
    (dicom_io.errors.DicomError, CANNOT_UNDERSTAND),
)

WRITABLE_FAILURES = (DiskFull, OSError, MemoryError, dicom_io.errors.DicomError)


class Listener:
    """Runs the Storage SCP in threads of this process."""

    def __init__(self, settings: Settings, services: Services) -> None:
        self._services = services
        self._series_of: dict[int, set[str]] = {}
        self._failures_of: dict[int, set[str]] = {}
        self._lock = threading.Lock()
        self._scp = StorageScp(
            scp_settings(settings),
            on_instance=self._receive,
            on_failure=self._fail,
            on_refusal=self._refuse,
            on_end=self._end,
            on_commitment=self._commit,
            on_step=self._note_step,
        )

    @property
    def port(self) -> int:
        """The port that is bound."""
        return self._scp.port

    def start(self) -> int:
        """Begin to listen and return the port.

        Raises
        ------
        InvalidSettings
            Host and port cannot be bound.
        """
        self._services.inbox.remove_unfinished()
        settings = self._scp.settings
        try:
            port = self._scp.start()
        except OSError as error:
            raise InvalidSettings(
                f"{settings.host}:{settings.port} cannot be listened on ({error.strerror}); "
                "choose another port or host in [node], or stop what runs there."
            ) from error
        log.info("listener.started", ae_title=settings.ae_title, host=settings.host, port=port)
        return port

    def stop(self, grace_s: float = 5.0) -> None:
        """Take no new association and let the open ones end for `grace_s` [s]."""
        self._scp.stop(grace_s)
        log.info("listener.stopped")

    def _receive(self, incoming: IncomingInstance) -> None:
        """Make one instance safe and record it; returning means that it may be acknowledged."""
        stored = self._services.inbox.store(
            incoming.dataset,
            SOPClassUID=incoming.SOPClassUID,
            SOPInstanceUID=incoming.SOPInstanceUID,
            TransferSyntaxUID=incoming.TransferSyntaxUID,
            calling_ae=incoming.calling_ae,
        )
        receipt = received.receive(self._services, stored, incoming.calling_ae)
        with self._lock:
            self._series_of.setdefault(incoming.association, set()).add(receipt.series_key)

    def _fail(self, error: Exception, calling_ae: str, association: int) -> int:
        """Return the status for the sender; the first failure of a kind in an association goes into the audit."""
        status, kind = status_of(error), type(error).__name__
        event = "instance.refused"
        if isinstance(error, dicom_io.errors.MalformedReport):
            event, status = "commitment.refused", error.status
        elif isinstance(error, dicom_io.errors.MalformedStep):
            event, status = "performed_step.refused", error.status
        details = {"error_class": kind, "status": f"0x{status:04X}", "calling_ae": calling_ae}
        log.error(event, where=place_of(error), **details)
        with self._lock:
            known = self._failures_of.setdefault(association, set())
            is_first = kind not in known
            known.add(kind)
        # Where the database itself failed there is nowhere to write.
        if is_first and isinstance(error, WRITABLE_FAILURES):
            with self._services.database.begin() as session:
                audit.append(session, event, "", details)
        return status

    def _commit(self, answer: CommitmentAnswer, calling_ae: str) -> int:
        """Record what a peer has committed to; the status of success means that it is recorded."""
        status = record_answer(self._services, answer, calling_ae)
        event = "commitment.answered" if status == RECORDED else "commitment.refused"
        n_objects = len(answer.committed) + len(answer.failed)
        log.info(event, calling_ae=calling_ae, status=f"0x{status:04X}", n_objects=n_objects)
        return status

    def _note_step(self, said: mpps.PerformedStep, calling_ae: str) -> int:
        """Record what a scanner says of a procedure step; the status of success means that it is recorded."""
        status = record_step(self._services, said, calling_ae)
        event = "performed_step.recorded" if status == mpps.RECORDED else "performed_step.refused"
        log.info(event, calling_ae=calling_ae, status=f"0x{status:04X}", state=said.state)
        return status

    def _end(self, calling_ae: str, association: int) -> None:
        with self._lock:
            series_keys = sorted(self._series_of.pop(association, set()))
            self._failures_of.pop(association, None)
        received.association_ended(self._services, calling_ae, series_keys)
        log.info("association.ended", calling_ae=calling_ae, n_series=len(series_keys))

    def _refuse(self, what: Refused, calling_ae: str, reason: str) -> None:
        log.warning(f"{what}.refused", calling_ae=calling_ae, reason=reason)
        if what is Refused.ASSOCIATION:
            received.refuse_association(self._services, calling_ae, reason)
        else:
            received.refuse_presentation_context(self._services, calling_ae, reason)


def status_of(error: Exception) -> int:
    """Return the DIMSE status by which the sender learns of `error`; never the one of success."""
    return next((status for kind, status in STATUS_OF_ERROR if isinstance(error, kind)), PROCESSING_FAILURE)


def scp_settings(settings: Settings) -> ScpSettings:
    """Translate the node's settings into those of its Storage SCP.

    Peers that are asked for commitment may report on it from where they are configured to be; a peer that reports from
    another host needs an [[allow]].
    """
    return ScpSettings(
        ae_title=settings.node.ae_title,
        host=settings.node.host,
        port=settings.node.port,
        callers=tuple(peers.Caller(caller.ae_title, caller.host) for caller in settings.allow),
        reporters=tuple(
            peers.Caller(peer.ae_title, peer.host)
            for peer in settings.peers
            if not peer.is_web and peer.commitment != "off"
        ),
        requires_called_ae_title=settings.node.require_called_ae_title,
        maximum_associations=settings.node.max_associations,
    )
