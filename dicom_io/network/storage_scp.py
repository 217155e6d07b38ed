"""Storage and verification as a provider: admits known callers, hands over received bytes, answers with a status.

The same port hears what an archive reports on storage commitment, since it reports on an association of its own, and
what a scanner says of its performed procedure steps.
"""

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from itertools import count
from typing import TypeVar

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import ThreadedAssociationServer

from dicom_io.errors import MalformedReport, MalformedStep, NotDicom
from dicom_io.network.association import (
    NETWORK_TIMEOUT_S,
    application_entity,
    connection_handlers,
)
from dicom_io.network.commitment_report import CommitmentHandler, commitment_context, read_report
from dicom_io.network.contexts import sop_class_name, storage_contexts
from dicom_io.network.mpps import StepHandler, answer_of, read_request, step_context
from dicom_io.network.part10 import check_uid
from dicom_io.network.peers import Caller, admits, check_ae_title, displayable_ae_title

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
NOT_AUTHORISED = 0x0124

# A-ASSOCIATE-RJ (PS3.8 section 9.3.4): permanently, by the service user, calling or called AE title not recognised;
# for now, by the presentation related provider, local limit exceeded.
CALLING_AE_NOT_RECOGNISED = (0x01, 0x01, 0x03)
CALLED_AE_NOT_RECOGNISED = (0x01, 0x01, 0x07)
LOCAL_LIMIT_EXCEEDED = (0x02, 0x03, 0x02)

# Connections that have not asked for an association yet, for each association that may be open.
CONNECTIONS_PER_ASSOCIATION = 4

Status = TypeVar("Status")


class Refused(StrEnum):
    """What was turned away before an instance could be sent."""

    ASSOCIATION = "association"
    PRESENTATION_CONTEXT = "presentation_context"


@dataclass(frozen=True)
class IncomingInstance:
    """One C-STORE request: the encoded dataset exactly as it came, and what the command said about it."""

    calling_ae: str
    association: int
    SOPClassUID: str
    SOPInstanceUID: str
    TransferSyntaxUID: str
    dataset: bytes = field(repr=False)


@dataclass(frozen=True)
class ScpSettings:
    """How a provider listens. Port 0 takes a free one; without callers everybody is turned away.

    `reporters` may verify and report on storage commitment, but store nothing.
    """

    ae_title: str
    host: str = "127.0.0.1"
    port: int = 0
    callers: tuple[Caller, ...] = ()
    reporters: tuple[Caller, ...] = ()
    requires_called_ae_title: bool = True
    maximum_associations: int = 16
    network_timeout_s: float = NETWORK_TIMEOUT_S
    largest_object_bytes: int = 1024**3
    contexts: tuple[PresentationContext, ...] = field(default_factory=lambda: tuple(storage_contexts()))

    def __post_init__(self) -> None:
        check_ae_title(self.ae_title)


class StorageScp:
    """Listens for associations until stopped.

    `on_instance` makes an instance safe and returns; only then does the sender hear "success". Whatever it raises goes
    to `on_failure` with calling AE title and association, which returns the status that the sender hears. `on_refusal`
    hears what was turned away, the calling AE title and a sentence. `on_end` hears calling AE title and number of an
    association that has ended, in good order or not. `on_commitment` hears what a peer reports on storage commitment
    and returns the status for it; without it the service is not offered. What it raises, and a report that cannot be
    read, goes to `on_failure`, too, whose status is that of storage and not used there. `on_step` hears in the same way
    what a caller that may store says of a performed procedure step.
    """

    def __init__(
        self,
        settings: ScpSettings,
        on_instance: Callable[[IncomingInstance], None],
        on_failure: Callable[[Exception, str, int], int],
        on_refusal: Callable[[Refused, str, str], None],
        on_end: Callable[[str, int], None],
        on_commitment: CommitmentHandler | None = None,
        on_step: StepHandler | None = None,
    ) -> None:
        self.settings = settings
        self._on_instance = on_instance
        self._on_refusal = on_refusal
        self._on_end = on_end
        self._on_failure = on_failure
        self._on_commitment = on_commitment
        self._on_step = on_step
        services = [(on_commitment, commitment_context), (on_step, step_context)]
        self._contexts = [*settings.contexts, *(context() for handler, context in services if handler)]
        self._admitted: weakref.WeakKeyDictionary[Association, int] = weakref.WeakKeyDictionary()
        self._may_store: weakref.WeakSet[Association] = weakref.WeakSet()
        self._numbers = count(1)
        self._admitting = threading.Lock()
        self._server: ThreadedAssociationServer | None = None
        self._entity = application_entity(settings.ae_title)
        self._entity.maximum_associations = CONNECTIONS_PER_ASSOCIATION * settings.maximum_associations
        self._entity.network_timeout = settings.network_timeout_s

    def start(self) -> int:
        """Listen in threads of this process and return the port.

        Raises
        ------
        OSError
            Host and port cannot be bound.
        """
        settings = self.settings
        server = self._entity.make_server(
            (settings.host, settings.port),
            ae_title=settings.ae_title,
            contexts=self._contexts,
            evt_handlers=[
                *connection_handlers(settings.network_timeout_s, settings.largest_object_bytes),
                (evt.EVT_REQUESTED, self._decide),
                (evt.EVT_CONN_CLOSE, _on_connection_close),
                (evt.EVT_C_STORE, self._on_store),
                (evt.EVT_C_ECHO, self._on_echo),
                (evt.EVT_N_EVENT_REPORT, self._on_report),
                (evt.EVT_N_CREATE, self._on_procedure_step),
                (evt.EVT_N_SET, self._on_procedure_step),
                (evt.EVT_RELEASED, self._on_association_end),
                (evt.EVT_ABORTED, self._on_association_end),
            ],
            server_class=_BoundedServer,
        )
        self._entity._servers.append(server)
        self._server = server
        threading.Thread(target=server.serve_forever, args=(0.1,), name="storage-scp", daemon=True).start()
        return self.port

    @property
    def port(self) -> int:
        """The port that is bound, also where a free one was asked for."""
        if self._server is None:
            raise RuntimeError("The provider has not been started.")
        return int(self._server.server_address[1])

    @property
    def n_associations(self) -> int:
        """How many associations are open now."""
        with self._admitting:
            return sum(1 for association in self._admitted if association.is_established)

    def stop(self, grace_s: float = 5.0) -> None:
        """Take no new association, let the open ones end for `grace_s` [s], then abort what is left."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.shutdown()
        deadline = time.monotonic() + grace_s
        for association in self._entity.active_associations:
            if association.is_established:
                association.join(max(0.0, deadline - time.monotonic()))
        for association in self._entity.active_associations:
            association.abort()

    def _decide(self, event: evt.Event) -> None:
        """Admit or reject; an association that this function has not admitted can neither store nor verify."""
        association, request, caller = event.assoc, event.assoc.requestor.primitive, _caller(event)
        called = displayable_ae_title(request.called_ae_title)
        title, address = request.calling_ae_title, association.requestor.address
        may_store = admits(self.settings.callers, title, address)
        if self.settings.requires_called_ae_title and called != self.settings.ae_title.strip():
            why = f"association rejected: it called for {called}, not for {self.settings.ae_title}"
            self._reject(association, CALLED_AE_NOT_RECOGNISED, caller, why)
        elif not may_store and not admits(self.settings.reporters, title, address):
            why = f"association rejected: {caller} is not among the callers allowed from its address"
            self._reject(association, CALLING_AE_NOT_RECOGNISED, caller, why)
        elif self.n_associations >= self.settings.maximum_associations:
            why = f"association rejected for now: {self.settings.maximum_associations} are open already"
            self._reject(association, LOCAL_LIMIT_EXCEEDED, caller, why)
        else:
            with self._admitting:
                self._admitted[association] = next(self._numbers)
                if may_store:
                    self._may_store.add(association)
            self._report_unaccepted(request.presentation_context_definition_list, caller)

    def _reject(self, association: Association, answer: tuple[int, int, int], caller: str, why: str) -> None:
        try:
            self._on_refusal(Refused.ASSOCIATION, caller, why)
        finally:
            association.acse.send_reject(*answer)
            association.kill()

    def _report_unaccepted(self, proposed: Sequence[PresentationContext], caller: str) -> None:
        taken = {str(context.abstract_syntax): context.transfer_syntax for context in self._contexts}
        names = sorted(
            {
                sop_class_name(str(context.abstract_syntax))
                for context in proposed
                if not set(context.transfer_syntax) & set(taken.get(str(context.abstract_syntax), ()))
            }
        )
        if names:
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            self._on_refusal(Refused.PRESENTATION_CONTEXT, caller, f"object types not accepted: {shown}")

    def _on_echo(self, event: evt.Event) -> int:
        return SUCCESS if event.assoc in self._admitted else NOT_AUTHORISED

    def _on_report(self, event: evt.Event) -> tuple[int, None]:
        association, caller = self._admitted.get(event.assoc), _caller(event)
        if self._on_commitment is None or association is None:
            return NOT_AUTHORISED, None
        return hear_report(
            event, self._on_commitment, caller, lambda error: self._on_failure(error, caller, association)
        )

    def _on_procedure_step(self, event: evt.Event) -> tuple[int | Dataset, None]:
        association, caller = self._admitted.get(event.assoc), _caller(event)
        if self._on_step is None or association is None or event.assoc not in self._may_store:
            return NOT_AUTHORISED, None
        return hear_step(event, self._on_step, caller, lambda error: self._on_failure(error, caller, association))

    def _on_store(self, event: evt.Event) -> int:
        association = self._admitted.get(event.assoc)
        if association is None or event.assoc not in self._may_store:
            return NOT_AUTHORISED

        def refuse(error: Exception) -> int:
            return self._on_failure(error, _caller(event), association) or PROCESSING_FAILURE

        return _answered(partial(self._keep, event, association), refuse)

    def _keep(self, event: evt.Event, association: int) -> int:
        self._on_instance(_incoming(event, association))
        return SUCCESS

    def _on_association_end(self, event: evt.Event) -> None:
        with self._admitting:
            association = self._admitted.pop(event.assoc, None)
        if association is not None:
            self._on_end(_caller(event), association)


def hear_report(
    event: evt.Event, handler: CommitmentHandler, reporter: str, on_error: Callable[[Exception], object]
) -> tuple[int, None]:
    """Answer an N-EVENT-REPORT request: read it, hand it to `handler`, and return the status for the peer.

    `reporter` is the AE title of the peer. `on_error` hears why a report could not be read or recorded; there is no way
    from an error to RECORDED.
    """

    def answer() -> int:
        report = read_report(event.request.AffectedSOPInstanceUID, event.event_type, event.event_information)
        return handler(report, reporter)

    return _answered(answer, partial(_refusal, on_error)), None


def hear_step(
    event: evt.Event, handler: StepHandler, scanner: str, on_error: Callable[[Exception], object]
) -> tuple[int | Dataset, None]:
    """Answer an N-CREATE or N-SET request on a performed procedure step, as `hear_report` answers a report."""

    def answer() -> int | Dataset:
        return answer_of(handler(read_request(event), scanner))

    return _answered(answer, partial(_refusal, on_error)), None


def _refusal(on_error: Callable[[Exception], object], error: Exception) -> int:
    """Tell why a message was not taken, and return the status for the peer."""
    on_error(error)
    return error.status if isinstance(error, MalformedReport | MalformedStep) else PROCESSING_FAILURE


def _answered(answer: Callable[[], Status], refuse: Callable[[Exception], Status]) -> Status:
    """Return the status that `answer` gives, or the one that `refuse` gives of what it raised."""
    try:
        return answer()
    except Exception as error:  # noqa: BLE001  whatever went wrong, the peer must not hear "success"
        return refuse(error)


class _BoundedServer(ThreadedAssociationServer):
    """Closes a connection at once while too many others have not even asked for an association."""

    def verify_request(self, request: object, client_address: object) -> bool:
        return len(self.active_associations) < self.ae.maximum_associations


def _on_connection_close(event: evt.Event) -> None:
    # A monitor that only opens and closes the port would otherwise keep a thread for the whole ACSE timeout.
    if event.assoc.requestor.primitive is None:
        event.assoc.dul.to_user_queue.put(None)


def _caller(event: evt.Event) -> str:
    return displayable_ae_title(event.assoc.requestor.primitive.calling_ae_title)


def _incoming(event: evt.Event, association: int) -> IncomingInstance:
    request = event.request
    if request.DataSet is None:
        raise NotDicom("The request holds no dataset; ask the sender to send the instance again.")
    return IncomingInstance(
        calling_ae=_caller(event),
        association=association,
        SOPClassUID=check_uid(str(request.AffectedSOPClassUID), "AffectedSOPClassUID"),
        SOPInstanceUID=check_uid(str(request.AffectedSOPInstanceUID), "AffectedSOPInstanceUID"),
        TransferSyntaxUID=str(event.context.transfer_syntax),
        dataset=event.encoded_dataset(include_meta=False),
    )
