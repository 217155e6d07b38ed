"""A real scanner's side of performed procedure steps, as pynetdicom sends them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_CREATE, N_SET
from pynetdicom.sop_class import ModalityPerformedProcedureStep

STEP_UID = "2.25.4711"
STUDY_UID = "2.25.42"


def begun(study_uid: str = STUDY_UID) -> Dataset:
    """Build the attributes of a step that has just begun, as scanners send them."""
    scheduled = Dataset()
    scheduled.StudyInstanceUID = study_uid
    scheduled.AccessionNumber, scheduled.RequestedProcedureID = "A1", "R1"
    step = Dataset()
    step.ScheduledStepAttributesSequence = [scheduled]
    step.PatientName, step.PatientID = "Phantom^Head", "P1"
    step.PerformedProcedureStepID, step.PerformedStationAETitle = "PPS1", "SCANNER"
    step.PerformedProcedureStepStartDate, step.PerformedProcedureStepStartTime = "20260102", "101112"
    step.PerformedProcedureStepStatus = "IN PROGRESS"
    step.Modality, step.PerformedSeriesSequence = "MR", []
    return step


def ended(listed: Mapping[str, Sequence[str]], status: str = "COMPLETED", sop_class: str = MRImageStorage) -> Dataset:
    """Build the attributes by which a step ends; `listed` holds the SOPInstanceUIDs of every series."""
    step = Dataset()
    step.PerformedProcedureStepStatus = status
    step.PerformedProcedureStepEndDate, step.PerformedProcedureStepEndTime = "20260102", "111213"
    step.PerformedSeriesSequence = [_series(uid, uids, sop_class) for uid, uids in listed.items()]
    return step


def _series(uid: str, instance_uids: Sequence[str], sop_class: str) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID, series.ProtocolName, series.PerformingPhysicianName = uid, "qsm", "Roe^Jane"
    series.ReferencedImageSequence = []
    for instance_uid in instance_uids:
        image = Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = sop_class, instance_uid
        series.ReferencedImageSequence.append(image)
    return series


@dataclass
class StepSender:
    """A scanner on an open association."""

    association: Association

    def create(self, step: Dataset, uid: str | None = STEP_UID) -> int | None:
        """Send an N-CREATE and return the status that was heard."""
        answer, _ = self.association.send_n_create(step, ModalityPerformedProcedureStep, uid)
        return answer.get("Status")

    def change(self, step: Dataset, uid: str = STEP_UID) -> int | None:
        """Send an N-SET and return the status that was heard."""
        return self.answer_to_change(step, uid).get("Status")

    def answer_to_change(self, step: Dataset, uid: str = STEP_UID) -> Dataset:
        """Send an N-SET and return all that was heard."""
        answer, _ = self.association.send_n_set(step, ModalityPerformedProcedureStep, uid)
        return answer

    def create_from(self, encoded: bytes) -> int | None:
        """Send an N-CREATE whose attributes are these very bytes."""
        request = N_CREATE()
        request.MessageID, request.AffectedSOPClassUID = 1, ModalityPerformedProcedureStep
        request.AffectedSOPInstanceUID = STEP_UID
        request.AttributeList = BytesIO(encoded) if encoded else None
        return self._answer(request)

    def change_from(self, encoded: bytes) -> int | None:
        """Send an N-SET whose attributes are these very bytes."""
        request = N_SET()
        request.MessageID, request.RequestedSOPClassUID = 1, ModalityPerformedProcedureStep
        request.RequestedSOPInstanceUID = STEP_UID
        request.ModificationList = BytesIO(encoded)
        return self._answer(request)

    def _answer(self, request: N_CREATE | N_SET) -> int | None:
        # The reactor would take the answer away.
        self.association._reactor_checkpoint.clear()
        self.association.dimse.send_msg(request, self.association.accepted_contexts[0].context_id)
        _, response = self.association.dimse.get_msg(block=True)
        self.association._reactor_checkpoint.set()
        return None if response is None else response.Status


@contextmanager
def speaking_of_steps(
    port: int, called: str = "NODE", calling: str = "SCANNER", syntax: str = ExplicitVRLittleEndian
) -> Iterator[StepSender]:
    """Open an association for performed procedure steps and release it at the end."""
    entity = AE(calling)
    entity.add_requested_context(ModalityPerformedProcedureStep, syntax)
    association = entity.associate("127.0.0.1", port, ae_title=called)
    if not association.is_established:
        raise ConnectionRefusedError("the provider rejected the association, or the service")
    try:
        yield StepSender(association)
    finally:
        association.release()


SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
