"""Modality performed procedure steps as a provider: what a scanner says it has begun and ended (PS3.4 annex F).

Only what tells whether a series is complete is read; patient, procedure and reasons are not even looked at.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import ModalityPerformedProcedureStep

from dicom_io.errors import MalformedStep
from dicom_io.instance import PARSING_FAILURES, quietly
from dicom_io.network.part10 import is_uid

# PS3.7 annex C, as far as they are sent.
RECORDED = 0x0000
INVALID_VALUE = 0x0106
PROCESSING_FAILURE = 0x0110
DUPLICATE_INSTANCE = 0x0111
NO_SUCH_INSTANCE = 0x0112
INVALID_INSTANCE = 0x0117
MISSING_ATTRIBUTE = 0x0120
MISSING_VALUE = 0x0121
NOT_AUTHORISED = 0x0124
RESOURCE_LIMITATION = 0x0213
# The error ID beside a processing failure: the step may no longer be updated (PS3.4 section F.7.2.2.2).
NO_LONGER_UPDATED = 0xA710

# Some 120 bytes for each object that a step lists.
LARGEST_STEP_BYTES = 16 * 1024 * 1024


class StepState(StrEnum):
    """PerformedProcedureStepStatus (0040,0252); nothing follows the last two."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


@dataclass(frozen=True)
class ListedSeries:
    """The objects of one kind that a step says it made in one series."""

    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uids: tuple[str, ...]


@dataclass(frozen=True)
class PerformedStep:
    """One message about a step: its creation, or a change.

    `state` and `listed` are None where a change does not speak of them. `sha256` is that of the message as it was
    encoded, by which a repeated one is known.
    """

    sop_instance_uid: str
    is_new: bool
    state: StepState | None
    study_instance_uids: tuple[str, ...]
    listed: tuple[ListedSeries, ...] | None
    sha256: str


# Hears a message about a step and the AE title that sent it, makes it safe, and returns what the scanner hears: a
# status of PS3.7, or NO_LONGER_UPDATED.
StepHandler = Callable[[PerformedStep, str], int]


def step_context() -> PresentationContext:
    """Build the context on which performed procedure steps come."""
    return build_context(ModalityPerformedProcedureStep, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])


def read_request(event: evt.Event) -> PerformedStep:
    """Read an N-CREATE or N-SET request.

    Raises
    ------
    MalformedStep
        It is too large or cannot be read; it carries the status for the scanner.
    """
    is_new = event.event == evt.EVT_N_CREATE
    request = event.request
    uid = request.AffectedSOPInstanceUID if is_new else request.RequestedSOPInstanceUID
    encoded: BytesIO | None = request.AttributeList if is_new else request.ModificationList
    content = encoded.getvalue() if encoded is not None else b""
    if len(content) > LARGEST_STEP_BYTES:
        raise MalformedStep(
            f"The performed procedure step is larger than {LARGEST_STEP_BYTES // 1024**2} MiB.", RESOURCE_LIMITATION
        )
    sha256 = hashlib.sha256(content).hexdigest()
    # pydicom decodes on access, and what it raises at damaged bytes is not documented.
    try:
        with quietly():
            return read_step(uid, is_new, event.attribute_list if is_new else event.modification_list, sha256)
    except PARSING_FAILURES as error:
        raise MalformedStep("The performed procedure step cannot be read.", PROCESSING_FAILURE) from error


def answer_of(status: int) -> int | Dataset:
    """Return what pynetdicom is to answer for what a handler returned."""
    if status != NO_LONGER_UPDATED:
        return status
    answer = Dataset()
    answer.Status, answer.ErrorID = PROCESSING_FAILURE, NO_LONGER_UPDATED
    return answer


def read_step(uid: str | None, is_new: bool, content: Dataset, sha256: str) -> PerformedStep:
    """Read the attributes of a created or changed step (PS3.4 table F.7.2-1).

    Attributes that say nothing about completeness may be absent, since scanners in the field leave some out.

    Raises
    ------
    MalformedStep
        No UID, an unknown status, a study or series that is not named; it carries the status for the scanner.
    """
    if uid is None or not is_uid(str(uid)):
        raise MalformedStep("The performed procedure step has no SOPInstanceUID of its own.", INVALID_INSTANCE)
    state = _state(content, is_required=is_new)
    if is_new and state is not StepState.IN_PROGRESS:
        raise MalformedStep("PerformedProcedureStepStatus of a new step must be IN PROGRESS.", INVALID_VALUE)
    return PerformedStep(
        sop_instance_uid=str(uid),
        is_new=is_new,
        state=state,
        study_instance_uids=_studies(content) if is_new else (),
        listed=_listed(content),
        sha256=sha256,
    )


def _state(content: Dataset, is_required: bool) -> StepState | None:
    if not is_required and "PerformedProcedureStepStatus" not in content:
        return None
    text = _value(content, "PerformedProcedureStepStatus")
    if text not in set(StepState):
        raise MalformedStep("PerformedProcedureStepStatus is none of those of the standard.", INVALID_VALUE)
    return StepState(text)


def _studies(content: Dataset) -> tuple[str, ...]:
    items = _items(content, "ScheduledStepAttributesSequence")
    if not items:
        raise MalformedStep("ScheduledStepAttributesSequence is absent or empty.", MISSING_ATTRIBUTE)
    return tuple(dict.fromkeys(_uid(item, "StudyInstanceUID") for item in items))


def _listed(content: Dataset) -> tuple[ListedSeries, ...] | None:
    if "PerformedSeriesSequence" not in content:
        return None
    kinds: dict[tuple[str, str], dict[str, None]] = {}
    for series in _items(content, "PerformedSeriesSequence"):
        series_uid = _uid(series, "SeriesInstanceUID")
        for keyword in ("ReferencedImageSequence", "ReferencedNonImageCompositeSOPInstanceSequence"):
            for item in _items(series, keyword):
                kind = series_uid, _uid(item, "ReferencedSOPClassUID")
                kinds.setdefault(kind, {})[_uid(item, "ReferencedSOPInstanceUID")] = None
    return tuple(ListedSeries(series, kind, tuple(uids)) for (series, kind), uids in kinds.items())


def _items(content: Dataset, keyword: str) -> Sequence[Dataset]:
    items: Any = content.get(keyword)
    if items is None:
        return ()
    if not isinstance(items, DicomSequence):
        raise MalformedStep(f"{keyword} is no sequence.", INVALID_VALUE)
    return list(items)


def _uid(content: Dataset, keyword: str) -> str:
    text = _value(content, keyword)
    if not is_uid(text):
        raise MalformedStep(f"{keyword} is no UID.", INVALID_VALUE)
    return text


def _value(content: Dataset, keyword: str) -> str:
    if keyword not in content:
        raise MalformedStep(f"{keyword} is absent.", MISSING_ATTRIBUTE)
    value = content[keyword].value
    if value is None or not str(value).strip():
        raise MalformedStep(f"{keyword} is empty.", MISSING_VALUE)
    return str(value).strip()
