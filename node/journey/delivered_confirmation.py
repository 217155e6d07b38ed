"""Confirming what a peer has accepted: by its commitment where it offers that, by a query where no commitment comes.

An answer that comes in time is heard by the listener, in another process. Here the request is made, and what is
overdue is looked for.
"""

from collections.abc import Sequence
from datetime import timedelta

from db import audit, commitments, outputs
from db.base import now
from db.commitments import CommitmentState
from db.deliveries import Delivery, DeliveryState, Evidence
from dicom_io.errors import CommitmentNotOffered, QueryNotOffered, Transient
from dicom_io.network.storage_commitment import Reference
from dicom_io.write.identity import derived_uid
from node.errors import InvalidSettings
from node.journey.delivered_answers import record_answer, send_again_or_fail
from node.journey.delivered_job import Job

OFF, REQUIRED = "off", "required"
IS_REQUIRED = ' [[peers]] says commitment = "required" for it.'


def confirm(job: Job) -> str:
    """Ask the peer for what it has accepted, and return why something stays open that is not merely waited for."""
    try:
        if job.commitment == OFF:
            _prove(job, _accepted(job), Evidence.ANSWERED)
            return ""
        return " ".join(reason for reason in (_ask(job, _unasked(job)), _look_for(job, _overdue(job))) if reason)
    except (Transient, InvalidSettings) as error:
        return str(error)


def _accepted(job: Job) -> list[Delivery]:
    with job.services.database.read() as session:
        return [row for row in job.rows(session) if row.state == DeliveryState.ACCEPTED]


def _states(job: Job) -> dict[str, commitments.Commitment]:
    with job.services.database.read() as session:
        return {one.transaction_uid: one for one in commitments.of_run(session, job.run_key, job.peer_name)}


def _unasked(job: Job) -> list[Delivery]:
    """Return what no request covers: none was made, or the peer did not take it, or the worker died before it."""
    asked = {uid for uid, one in _states(job).items() if one.state in (CommitmentState.ASKED, CommitmentState.OVERDUE)}
    return [row for row in _accepted(job) if row.transaction_uid not in asked]


def _overdue(job: Job) -> list[Delivery]:
    """Return what a request covers that was not answered in time."""
    late = {
        uid
        for uid, one in _states(job).items()
        if one.state == CommitmentState.OVERDUE
        or (one.state == CommitmentState.ASKED and one.answer_by is not None and one.answer_by <= now())
    }
    return [row for row in _accepted(job) if row.transaction_uid in late]


def _ask(job: Job, rows: Sequence[Delivery]) -> str:
    """Request commitment for `rows`; where the peer offers none, let a query take its place.

    The transaction is recorded before the request goes out: the answer may be quicker than our own next line.
    """
    if not rows:
        return ""
    uids = [row.sop_instance_uid for row in rows]
    transaction_uid = _plan(job, uids)
    try:
        job.destination.commit(
            _references(job, uids), transaction_uid, lambda answer, caller: record_answer(job.services, answer, caller)
        )
    except CommitmentNotOffered as error:
        _settle(job, transaction_uid, CommitmentState.DECLINED)
        return str(error) + IS_REQUIRED if job.commitment == REQUIRED else _query_instead(job, rows)
    except Transient as error:
        _settle(job, transaction_uid, CommitmentState.DECLINED)
        waited = now() - min(row.accepted_at or now() for row in rows)
        # A service that is announced and never works must not keep a result open for ever.
        if waited > job.commit_within and job.commitment != REQUIRED:
            return _query_instead(job, rows)
        return str(error)
    _settle(job, transaction_uid, CommitmentState.ASKED)
    return ""


def _plan(job: Job, uids: list[str]) -> str:
    with job.services.database.begin() as session:
        number = commitments.count(session, job.run_key, job.peer_name)
        transaction_uid = derived_uid("commitment", job.run_key, job.peer_name, str(number))
        commitments.plan(session, transaction_uid, job.run_key, job.peer_name, uids, now() + job.commit_within)
        for row in job.rows(session):
            if row.sop_instance_uid in uids:
                row.transaction_uid = transaction_uid
    return transaction_uid


def _settle(job: Job, transaction_uid: str, state: CommitmentState) -> None:
    """Note how a request ended, unless its answer is here already."""
    with job.services.database.begin() as session:
        one = commitments.find(session, transaction_uid)
        if one is None or one.state != CommitmentState.PLANNED:
            return
        one.state = state
        if state == CommitmentState.ASKED:
            details = {"peer": job.peer_name, "n_objects": len(one.sop_instance_uids), "transaction": transaction_uid}
            audit.append(session, "commitment.requested", job.series_key, details)


def _references(job: Job, uids: Sequence[str]) -> list[Reference]:
    with job.services.database.read() as session:
        classes = {one.sop_instance_uid: one.sop_class_uid for one in outputs.of_run(session, job.run_key)}
    return [Reference(classes[uid], uid) for uid in uids]


def _query_instead(job: Job, rows: Sequence[Delivery]) -> str:
    """Ask a peer without commitment what it holds; its answer to the store is all there is where it takes no query.

    An archive may need a moment before its index knows what it has accepted.
    """
    try:
        held = _held(job, rows)
    except QueryNotOffered:
        _prove(job, rows, Evidence.ANSWERED)
        return ""
    missing = _note_query(job, rows, held)
    is_over = now() - min(row.accepted_at or now() for row in rows) > job.commit_within
    if missing and is_over:
        _lose(job, missing, f"{job.peer_name} accepted it, but does not know it when it is queried.")
    elif missing:
        return f"{job.peer_name} accepted {len(rows)} objects, but does not know {len(missing)} of them yet."
    return ""


def _look_for(job: Job, rows: Sequence[Delivery]) -> str:
    """Query for what should have been committed; what is not held is sent again, within limits."""
    if not rows:
        return ""
    _mark_overdue(job, rows)
    try:
        held = _held(job, rows)
    except QueryNotOffered:
        _ask_anew(job, rows, "and cannot be queried")
        return ""
    if job.commitment == REQUIRED:
        present = [row for row in rows if row.sop_instance_uid in held]
        _ask_anew(job, present, "though it holds them")
        missing = [row for row in rows if row.sop_instance_uid not in held]
    else:
        missing = _note_query(job, rows, held)
    _lose(job, missing, f"{job.peer_name} accepted it, did not commit in time, and does not know it when queried.")
    return ""


def _held(job: Job, rows: Sequence[Delivery]) -> frozenset[str]:
    if not job.study_uid:
        raise QueryNotOffered("A series without StudyInstanceUID cannot be asked for.")
    wanted: dict[str, list[str]] = {}
    uids = {row.sop_instance_uid for row in rows}
    with job.services.database.read() as session:
        for one in outputs.of_run(session, job.run_key):
            if one.sop_instance_uid in uids:
                wanted.setdefault(one.series_instance_uid, []).append(one.sop_instance_uid)
    return job.destination.held(job.study_uid, wanted)


def _note_query(job: Job, rows: Sequence[Delivery], held: frozenset[str]) -> list[Delivery]:
    """Record what a query has proved, and return what it did not find."""
    found = [row for row in rows if row.sop_instance_uid in held]
    _prove(job, found, Evidence.FOUND)
    missing = [row for row in rows if row.sop_instance_uid not in held]
    with job.services.database.begin() as session:
        details = {"peer": job.peer_name, "n_found": len(found), "n_missing": len(missing)}
        audit.append(session, "peer.queried", job.series_key, details)
    return missing


def _prove(job: Job, rows: Sequence[Delivery], evidence: Evidence) -> None:
    uids = {row.sop_instance_uid for row in rows}
    with job.services.database.begin() as session:
        for row in job.rows(session):
            # The listener may have heard the commitment meanwhile, which proves more.
            if row.sop_instance_uid in uids and row.state == DeliveryState.ACCEPTED:
                row.deliver(evidence)


def _mark_overdue(job: Job, rows: Sequence[Delivery]) -> None:
    with job.services.database.begin() as session:
        for uid in sorted({row.transaction_uid or "" for row in rows}):
            one = commitments.find(session, uid)
            if one is not None and one.state == CommitmentState.ASKED:
                one.state = CommitmentState.OVERDUE
                details = {"peer": job.peer_name, "transaction": uid, "waited_min": _minutes(job.commit_within)}
                audit.append(session, "commitment.overdue", job.series_key, details)


def _ask_anew(job: Job, rows: Sequence[Delivery], but: str) -> None:
    """Let commitment be requested once more; fail what was asked for too often."""
    if not rows:
        return
    most = job.services.settings.delivery.most_resends
    uids = {row.sop_instance_uid for row in rows}
    with job.services.database.begin() as session:
        asked = [
            one
            for one in commitments.of_run(session, job.run_key, job.peer_name)
            if one.state == CommitmentState.OVERDUE and uids & set(one.sop_instance_uids)
        ]
        for row in job.rows(session):
            if row.sop_instance_uid not in uids or row.state != DeliveryState.ACCEPTED:
                continue
            row.transaction_uid = None
            if len(asked) > most:
                minutes = _minutes(job.commit_within)
                sentence = (
                    f"{job.peer_name} was asked {len(asked)} times to commit to objects {but}, and never answered "
                    f"within {minutes:g} min; enter this node's host and port there, or set its commitment to 'off'."
                )
                row.end(DeliveryState.FAILED, sentence)


def _lose(job: Job, rows: Sequence[Delivery], sentence: str) -> None:
    """Send again what the peer does not hold, within limits."""
    uids = {row.sop_instance_uid for row in rows}
    with job.services.database.begin() as session:
        for row in job.rows(session):
            if row.sop_instance_uid in uids and row.state == DeliveryState.ACCEPTED:
                send_again_or_fail(row, sentence, job.services.settings.delivery.most_resends)


def _minutes(span: timedelta) -> float:
    return round(span.total_seconds() / 60, 2)
