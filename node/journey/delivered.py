"""delivered: each peer holds each object, and has committed to it where it offers that.

`attempt` is one look at one peer: what it lacks is sent, what it has accepted is confirmed, and the next look is
planned. `step` concludes once every delivery is final. An answer is recorded as soon as it is heard, so that a worker
that is killed in between repeats at most the object whose answer it did not hear.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from db import audit, commitments, deliveries, dispatches, runs, series
from db.base import now
from db.commitments import CommitmentState
from db.deliveries import OPEN, Delivery, DeliveryState
from db.series import State
from node.journey.delivered_conclusion import conclude
from node.journey.delivered_confirmation import confirm
from node.journey.delivered_job import Job, wake
from node.journey.delivered_sending import send_pending
from node.services import Services
from node.settings import DeliverySection


def attempt(series_key: str, revision: int, peer_name: str, number: int, services: Services) -> None:
    """Bring one peer as far as it goes now, and plan the next look where something is left.

    Raises
    ------
    ArtefactDamaged
        An object in the outbox no longer has its digest.
    """
    job = _begin(series_key, revision, peer_name, number, services)
    if job is None:
        return
    before = _standing(job)
    reasons = [send_pending(job), confirm(job)]
    _plan_next(job, before, " ".join(reason for reason in reasons if reason))


def step(series_key: str, services: Services) -> None:
    """Conclude the deliveries of a series: delivered where every peer has what it must have, failed where one has not.

    A kind of object that a peer does not take, and need not have, is told in the series' sentence.
    """
    with services.database.begin() as session:
        current = series.get(session, series_key)
        if current.state != State.ENCODED:
            return
        run = runs.get(session, series_key, current.revision)
        rows = deliveries.of_run(session, run.key)
        if any(row.state in OPEN for row in rows):
            return
        summary = deliveries.summary(rows)
        outcome = conclude(rows, current.destinations, services.settings)
        if outcome.is_failure:
            sentence = f"{outcome.sentence} Correct the cause, then run `lodestone retry {series_key}`."
            series.change_state(session, current, State.FAILED, {"peers": summary}, sentence, "PeerRefused")
            return
        started_at = min((row.created_at for row in rows), default=now())
        runs.record_step(run, State.DELIVERED, started_at, {"peers": summary})
        series.change_state(session, current, State.DELIVERED, {"peers": summary}, outcome.sentence)


def pause_before(number: int, ladder: DeliverySection) -> float:
    """Return how long [s] to wait before attempt `number`; the second attempt waits for the first pause."""
    return float(min(ladder.longest_retry_s, ladder.first_retry_s * ladder.backoff ** max(0, min(number, 64) - 2)))


def _begin(series_key: str, revision: int, peer_name: str, number: int, services: Services) -> Job | None:
    """Take one's place in the line of jobs; None where the series or the line has moved on."""
    with services.database.begin() as session:
        current = series.get(session, series_key)
        if current.revision != revision:
            return None
        run = runs.get(session, series_key, revision)
        if not dispatches.take(session, run.key, peer_name, number):
            return None
        return Job(services, series_key, current.study_instance_uid or "", run.key, peer_name, number)


def _standing(job: Job) -> tuple[int, int]:
    """Return how many objects are not sent and how many are not final, to see later whether anything was won."""
    with job.services.database.read() as session:
        rows = job.rows(session)
    return sum(row.state == DeliveryState.PENDING for row in rows), sum(row.state in OPEN for row in rows)


def _plan_next(job: Job, before: tuple[int, int], reason: str) -> None:
    """End this job, and enqueue the next where something is left to send or to confirm."""
    with job.services.database.begin() as session:
        line = dispatches.of(session, job.run_key, job.peer_name)
        line.running_job = None
        rows = job.rows(session)
        pending = [row for row in rows if row.state == DeliveryState.PENDING]
        left = [row for row in rows if row.state in OPEN]
        has_won = len(pending) < before[0] or len(left) < before[1]
        line.pauses = 1 if has_won else line.pauses + 1
        pause_s = pause_before(line.pauses + 1, job.services.settings.delivery)
        if before[0] and not pending:
            audit.append(session, "peer.accepted", job.series_key, _details(job, rows))
        if pending or (left and reason):
            left = _tell(session, job, rows, reason, pause_s)
        if left:
            delay_s = _until_next_look(session, job, left, pause_s)
            wake(session, job.services, job.run_key, job.peer_name, delay_s)


def _tell(session: Session, job: Job, rows: Sequence[Delivery], reason: str, pause_s: float) -> list[Delivery]:
    """Note why something is left, give up what took too long, and return what is left to do."""
    pending = [row for row in rows if row.state == DeliveryState.PENDING]
    for row in pending:
        row.sentence = reason or row.sentence
        row.next_attempt_at = now() + timedelta(seconds=pause_s)
    given_up = _give_up(session, job, rows, reason)
    event = "peer.given_up" if given_up else "peer.refused" if pending else "peer.unconfirmed"
    told = reason or " ".join(sorted({row.sentence for row in pending}))
    details = _details(job, rows) | {"reason": told} | ({} if given_up else {"retry_in_s": pause_s})
    audit.append(session, event, job.series_key, details)
    return [row for row in rows if row.state in OPEN]


def _give_up(session: Session, job: Job, rows: Sequence[Delivery], reason: str) -> bool:
    """End what was not accepted in time, and what was accepted and could not be confirmed in as much time again."""
    hours = job.services.settings.delivery.give_up_after_h
    limit = now() - timedelta(hours=hours)
    has_given_up = False
    waited_for = _deadlines(session, job)
    for row in rows:
        if row.state == DeliveryState.PENDING and min(one.created_at for one in rows) < limit:
            row.end(DeliveryState.FAILED, row.sentence)
            has_given_up = True
        elif _is_unconfirmed_since(row, limit) and row.transaction_uid not in waited_for:
            why = f"{job.peer_name} accepted it, but could not be asked whether it holds it within {hours:g} h."
            row.end(DeliveryState.FAILED, f"{why} {reason}")
            has_given_up = True
    return has_given_up


def _is_unconfirmed_since(row: Delivery, limit: datetime) -> bool:
    return row.state == DeliveryState.ACCEPTED and row.accepted_at is not None and row.accepted_at < limit


def _details(job: Job, rows: Sequence[Delivery]) -> dict[str, object]:
    states = {state: sum(row.state == state for row in rows) for state in DeliveryState}
    counts = {f"n_{state}": count for state, count in states.items() if count}
    return {"peer": job.peer_name, "attempt": job.number, **counts}


def _until_next_look(session: Session, job: Job, left: Sequence[Delivery], pause_s: float) -> float:
    """Return when [s] to look again: after the pause, or only at the deadline where nothing but answers are missing."""
    deadlines = _deadlines(session, job)
    waited_for = [deadlines.get(row.transaction_uid) for row in left if row.state == DeliveryState.ACCEPTED]
    known = [deadline for deadline in waited_for if deadline is not None]
    if len(known) < len(left):
        return pause_s
    return max(0.0, (min(known) - now()).total_seconds())


def _deadlines(session: Session, job: Job) -> dict[str | None, datetime]:
    """Return by transaction until when an answer is waited for."""
    return {
        one.transaction_uid: one.answer_by
        for one in commitments.of_run(session, job.run_key, job.peer_name)
        if one.state == CommitmentState.ASKED and one.answer_by is not None
    }
