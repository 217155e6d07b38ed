"""received: the bytes are safe on disk and in the database before the sender hears "success".

`receive` runs in the listener for every instance; `step` runs for every waiting series until everything has arrived.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog
from sqlalchemy.orm import Session

from db import audit, instances, series
from db.base import now
from db.errors import StateConflict
from db.instances import Instance, Standing
from db.series import Series, State
from dicom_io.errors import DicomError
from dicom_io.kspace.raw_data import RAW_DATA_STORAGE
from dicom_io.read.attributes import SeriesIdentity, read_series_identity
from dicom_io.read.headers import FrameHeader, read_frame_headers
from dicom_io.read.sorting import assess
from node.completeness import Arrival, Decision, Verdict
from node.completeness_announced import decide_as_announced
from node.inbox import StoredInstance
from node.journey.assembled_further import end_waiting_further, reopen_with_further
from node.journey.received_companions import companions_of, frames_of, join
from node.journey.received_raw import creator_of, decide_raw, raw_error
from node.journey.received_steps import announcement_of
from node.services import Services
from node.settings import CompletenessSection

log = structlog.get_logger()


class Outcome(StrEnum):
    """What an instance turned out to be; for every one of them the sender hears "success"."""

    KEPT = "kept"
    REPEATED = "repeated"
    CONFLICTING = "conflicting"


@dataclass(frozen=True)
class Receipt:
    """Which series an instance belongs to, and what became of it."""

    series_key: str
    outcome: Outcome


@dataclass(frozen=True)
class _Header:
    """What could be read of an instance: its frames, or why there are none."""

    identity: SeriesIdentity
    frames: tuple[FrameHeader, ...]
    error: DicomError | None
    creator_version_uid: str | None = None


def receive(services: Services, stored: StoredInstance, calling_ae: str) -> Receipt:
    """Record an instance whose bytes are already safe; when this returns, the row is committed.

    Raises
    ------
    RecordBusy
        The database stayed locked; the sender must hear a failure and send again.
    """
    header = _read_header(services, stored)
    with services.database.begin() as session:
        earlier = instances.with_uid(session, stored.SOPInstanceUID)
        same = next((row for row in earlier if row.dataset_sha256 == stored.dataset_sha256), None)
        if same is not None:
            audit.append(session, "instance.repeated", same.series_key, _about(stored, calling_ae))
            receipt = Receipt(same.series_key, Outcome.REPEATED)
        elif earlier:
            receipt = _set_aside(session, stored, calling_ae, earlier[0])
        else:
            receipt = _keep(session, stored, calling_ae, header)
    if receipt.outcome is Outcome.REPEATED:
        # Its bytes are in the inbox already, under the name of the first copy.
        services.inbox.discard(stored.name)
    return receipt


def association_ended(services: Services, calling_ae: str, series_keys: Iterable[str]) -> None:
    """Note that the association which brought these series is over."""
    with services.database.begin() as session:
        for key in sorted(set(series_keys)):
            series.get(session, key).association_ended_at = now()


def refuse_association(services: Services, calling_ae: str, reason: str) -> None:
    """Record that an association was rejected."""
    with services.database.begin() as session:
        audit.append(session, "association.refused", "", {"calling_ae": calling_ae, "reason": reason})


def refuse_presentation_context(services: Services, calling_ae: str, reason: str) -> None:
    """Record that an object type was not accepted."""
    with services.database.begin() as session:
        audit.append(session, "presentation_context.refused", "", {"calling_ae": calling_ae, "reason": reason})


def step(series_key: str, services: Services) -> None:
    """Examine a series that waits; enqueue its work once everything has arrived or nothing more can be awaited.

    What the scanner lists and has not sent within the quiet time is named, and the series refused.
    """
    with services.database.read() as session:
        waiting = series.get(session, series_key)
        if not _is_waiting(waiting):
            return
        decision = _examine(session, waiting, services.settings.completeness)
        is_known = decision.verdict is Verdict.WAIT and waiting.completeness == decision.sentence
        if is_known and not companions_of(session, waiting, services.settings.completeness):
            return
    with services.database.begin() as session:
        waiting = series.get(session, series_key)
        # Between the two transactions an instance, or another worker, may have come.
        if not _is_waiting(waiting):
            return
        together = companions_of(session, waiting, services.settings.completeness)
        if together:
            waiting = join(session, together)
        decision = _examine(session, waiting, services.settings.completeness)
        waiting.completeness = decision.sentence
        if decision.verdict is Verdict.BEGIN:
            details = {"completeness": decision.sentence, "n_instances": waiting.n_instances}
            audit.append(session, "series.enqueued", waiting.key, {"revision": waiting.revision, **details})
            services.jobs.enqueue_mapping(session, waiting)
        elif decision.verdict is Verdict.REFUSE:
            during = {"during": waiting.state, "n_instances": waiting.n_instances}
            series.change_state(session, waiting, State.REFUSED, during, decision.sentence, decision.refusal_class)
            end_waiting_further(session, waiting)
            log.warning("series.refused", series_key=waiting.key, error_class=decision.refusal_class)


def retry(services: Services, series_key: str, reason: str = "asked by a person") -> None:
    """Start a series that was refused, has failed or was recorded once more, from its received bytes.

    Its further maps stay what they are, but for those that have never been assembled; each can be retried by itself.

    Raises
    ------
    NotInRecord
        There is no such series.
    StateConflict
        The series is still under way, or is mapped together with another.
    """
    with services.database.begin() as session:
        ended = series.get(session, series_key)
        if ended.state not in (State.REFUSED, State.IGNORED, State.FAILED, State.RECORDED):
            raise StateConflict(f"Series {series_key} is {ended.state}; only an ended series can be retried.")
        series.reopen(session, ended, reason)
        services.jobs.enqueue_mapping(session, ended)


def _read_header(services: Services, stored: StoredInstance) -> _Header:
    path = services.inbox.path(stored.name)
    if stored.SOPClassUID == RAW_DATA_STORAGE:
        return _Header(read_series_identity(path), (), raw_error(services, path), creator_of(path))
    try:
        frames = tuple(read_frame_headers(path))
    except DicomError as error:
        return _Header(read_series_identity(path), (), error)
    return _Header(SeriesIdentity(frames[0].study_instance_uid, frames[0].series_instance_uid), frames, None)


def _keep(session: Session, stored: StoredInstance, calling_ae: str, header: _Header) -> Receipt:
    identity = header.identity
    series_uid, kind = identity.series_instance_uid, stored.SOPClassUID
    known = series.by_uid(session, series_uid, kind) if series_uid else None
    owner = known or series.create(session, series_uid, identity.study_instance_uid, calling_ae, kind)
    _add_row(session, stored, calling_ae, owner.key, Standing.KEPT, header)
    owner.n_instances += 1
    owner.last_received_at = now()
    audit.append(session, "instance.received", owner.key, _about(stored, calling_ae))
    _reopen_for_late_instance(session, owner)
    return Receipt(owner.key, Outcome.KEPT)


def _reopen_for_late_instance(session: Session, owner: Series) -> None:
    if owner.state == State.JOINED and owner.partner_key is not None:
        owner = series.get(session, owner.partner_key)
        owner.last_received_at = now()
    if owner.state != State.RECEIVED or owner.enqueued_at is not None:
        reopen_with_further(session, owner, "an instance arrived after the work had begun")


def _set_aside(session: Session, stored: StoredInstance, calling_ae: str, first: Instance) -> Receipt:
    header = _Header(SeriesIdentity(None, None), (), None)
    _add_row(session, stored, calling_ae, first.series_key, Standing.CONFLICTING, header)
    details = _about(stored, calling_ae) | {"first_dataset_sha256": first.dataset_sha256}
    audit.append(session, "instance.conflicting", first.series_key, details)
    return Receipt(first.series_key, Outcome.CONFLICTING)


def _add_row(
    session: Session, stored: StoredInstance, calling_ae: str, series_key: str, standing: Standing, header: _Header
) -> None:
    session.add(
        Instance(
            series_key=series_key,
            sop_instance_uid=stored.SOPInstanceUID,
            sop_class_uid=stored.SOPClassUID,
            transfer_syntax_uid=stored.TransferSyntaxUID,
            sha256=stored.sha256,
            dataset_sha256=stored.dataset_sha256,
            size=stored.size,
            inbox_name=stored.name,
            calling_ae=calling_ae,
            received_at=now(),
            standing=standing,
            frames=[frame.to_json() for frame in header.frames] or None,
            refusal_class=type(header.error).__name__ if header.error else None,
            sentence=str(header.error) if header.error else None,
            creator_version_uid=header.creator_version_uid,
        )
    )
    session.flush()


def _about(stored: StoredInstance, calling_ae: str) -> dict[str, Any]:
    return {
        "SOPInstanceUID": stored.SOPInstanceUID,
        "sha256": stored.sha256,
        "dataset_sha256": stored.dataset_sha256,
        "calling_ae": calling_ae,
    }


def _is_waiting(waiting: Series) -> bool:
    # A further map does not wait for instances but for its series.
    return waiting.state == State.RECEIVED and waiting.enqueued_at is None and waiting.map_of is None


def _examine(session: Session, waiting: Series, limits: CompletenessSection) -> Decision:
    members = [waiting, *series.joined_to(session, waiting.key)]
    if waiting.sop_class_uid == RAW_DATA_STORAGE:
        decided = decide_raw(instances.of_series(session, [waiting.key]))
        if decided is not None:
            return decided
    frames = frames_of(session, [member.key for member in members])
    arrival = Arrival(
        (now() - waiting.last_received_at).total_seconds(),
        waiting.association_ended_at is not None and waiting.association_ended_at >= waiting.last_received_at,
    )
    # Where every image is refused for itself (a spin echo, a field map), no further image can change that.
    is_hopeless = all(frame.objections for frame in frames)
    assessment = None if is_hopeless else assess(frames)
    announcement = announcement_of(session, members)
    return decide_as_announced(announcement, assessment, arrival, limits.settle_s, limits.quiet_time_s)
