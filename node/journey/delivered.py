"""delivered: each peer has accepted each object.

`attempt` is one try at one peer; `step` concludes once every delivery is final. An answer is recorded as soon as it is
heard, so that a worker that is killed in between repeats at most the object whose answer it did not hear.
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from db import audit, deliveries, outputs, runs, series
from db.base import now
from db.deliveries import Delivery, DeliveryState
from db.series import State
from dicom_io.errors import Transient
from dicom_io.network.peers import Peer
from dicom_io.network.storage_scu import SendResult, send
from node.errors import InvalidSettings
from node.services import Services
from node.settings import DeliverySection


def attempt(series_key: str, revision: int, peer_name: str, number: int, services: Services) -> None:
    """Send what a peer does not hold yet over one association, and plan the next attempt where something is left.

    Raises
    ------
    ArtefactDamaged
        An object in the outbox no longer has its digest.
    """
    with services.database.read() as session:
        if series.get(session, series_key).revision != revision:
            return
        run_key = runs.get(session, series_key, revision).key
        pending = _pending(deliveries.of_run(session, run_key, peer_name))
        made = {output.sop_instance_uid: output for output in outputs.of_run(session, run_key)}
    if not pending:
        return
    paths = [services.outbox / output.path for uid, output in made.items() if uid in pending]
    reason = _send(services, run_key, peer_name, paths)
    with services.database.begin() as session:
        current = series.get(session, series_key)
        rows = deliveries.of_run(session, run_key, peer_name)
        left = [row for row in rows if row.state == DeliveryState.PENDING]
        details = {"peer": peer_name, "attempt": number, "n_delivered": len(pending) - len(left), "n_left": len(left)}
        if not left:
            audit.append(session, "peer.accepted", series_key, details)
            return
        pause_s = pause_before(number + 1, services.settings.delivery)
        is_over = now() - min(row.created_at for row in rows) > timedelta(
            hours=services.settings.delivery.give_up_after_h
        )
        for row in left:
            row.attempts = max(row.attempts, number)
            row.last_attempt_at, row.sentence = now(), reason
            row.state = DeliveryState.FAILED if is_over else DeliveryState.PENDING
            row.next_attempt_at = None if is_over else now() + timedelta(seconds=pause_s)
        details |= {"reason": reason} | ({} if is_over else {"retry_in_s": pause_s})
        audit.append(session, "peer.given_up" if is_over else "peer.refused", series_key, details)
        if not is_over:
            services.jobs.enqueue_delivery(session, current.key, revision, peer_name, number + 1, pause_s)


def step(series_key: str, services: Services) -> None:
    """Conclude the deliveries of a series: delivered where every peer holds every object, failed where one gave up."""
    with services.database.begin() as session:
        current = series.get(session, series_key)
        if current.state != State.ENCODED:
            return
        run = runs.get(session, series_key, current.revision)
        rows = deliveries.of_run(session, run.key)
        if any(row.state == DeliveryState.PENDING for row in rows):
            return
        summary = deliveries.summary(rows)
        failed = sorted(peer for peer, counts in summary.items() if counts[DeliveryState.FAILED.value])
        if failed:
            hours = services.settings.delivery.give_up_after_h
            sentence = (
                f"{', '.join(failed)} did not accept every object within {hours:g} h. Correct the cause, then run "
                f"`lodestone retry {series_key}`."
            )
            series.change_state(session, current, State.FAILED, {"peers": summary}, sentence, "PeerRefused")
            return
        started_at = min((row.created_at for row in rows), default=now())
        runs.record_step(run, State.DELIVERED, started_at, {"peers": summary})
        series.change_state(session, current, State.DELIVERED, {"peers": summary})


def pause_before(number: int, ladder: DeliverySection) -> float:
    """Return how long [s] to wait before attempt `number`; the second attempt waits for the first pause."""
    return float(min(ladder.longest_retry_s, ladder.first_retry_s * ladder.backoff ** max(0, min(number, 64) - 2)))


def _pending(rows: Sequence[Delivery]) -> set[str]:
    return {row.sop_instance_uid for row in rows if row.state == DeliveryState.PENDING}


def _send(services: Services, run_key: str, peer_name: str, paths: Sequence[Path]) -> str:
    """Send files, record every answer when it comes, and return why something was left, or nothing."""

    def note(result: SendResult) -> None:
        with services.database.begin() as session:
            for row in deliveries.of_run(session, run_key, peer_name):
                if row.sop_instance_uid == result.SOPInstanceUID:
                    _note(row, result)

    try:
        configured = services.settings.peer(peer_name)
        peer = Peer(configured.name, configured.ae_title, configured.host, configured.port)
        send(peer, paths, note, services.settings.node.ae_title)
    except (Transient, InvalidSettings) as error:
        return str(error)
    return ""


def _note(row: Delivery, result: SendResult) -> None:
    row.attempts += 1
    row.last_attempt_at = now()
    row.status = "no answer" if result.status is None else f"0x{result.status:04X}"
    row.sentence = "" if result.is_accepted else result.meaning
    if result.is_accepted:
        row.state, row.delivered_at, row.next_attempt_at = DeliveryState.DELIVERED, now(), None
