"""What a peer answers to a request for commitment, whenever it comes: recorded in one transaction with its audit row.

The listener's process hears most answers, a worker those that come on the association of the request. Both call the
same function, and an answer that comes twice changes nothing.
"""

from collections.abc import Mapping

from sqlalchemy.orm import Session

from db import audit, commitments, deliveries, series
from db.base import now
from db.commitments import Commitment, CommitmentState
from db.deliveries import Delivery, DeliveryState, Evidence
from db.runs import Run
from dicom_io.network.peers import displayable_ae_title
from dicom_io.network.send_result import SOP_CLASS_NOT_SUPPORTED
from dicom_io.network.storage_commitment import (
    RECORDED,
    UNKNOWN_TRANSACTION,
    CommitmentAnswer,
    failure_meaning,
)
from node.journey.delivered_job import wake
from node.services import Services

# An object that the peer names neither as committed nor as failed is not committed.
NOT_NAMED = -1
MOST_REASONS = 5


def record_answer(services: Services, answer: CommitmentAnswer, calling_ae: str) -> int:
    """Record what a peer has committed to, and let be sent again what it has not; return the status for the peer."""
    with services.database.begin() as session:
        one = commitments.find(session, answer.transaction_uid)
        if one is None or not _is_from(services, one, calling_ae):
            details = {"calling_ae": calling_ae, "transaction": answer.transaction_uid}
            audit.append(session, "commitment.refused", "", details | {"reason": "no such transaction with this peer"})
            return UNKNOWN_TRANSACTION
        if one.state == CommitmentState.ANSWERED:
            return RECORDED
        _record(session, services, one, answer, calling_ae)
    return RECORDED


def send_again_or_fail(row: Delivery, sentence: str, most_resends: int) -> None:
    """Let an object that the peer does not hold be sent again, or end its delivery after too many times."""
    if row.resends < most_resends:
        row.send_again(sentence)
    else:
        row.end(DeliveryState.FAILED, f"{sentence} It was sent {row.resends + 1} times.")


def _is_from(services: Services, one: Commitment, calling_ae: str) -> bool:
    titles = {peer.ae_title for peer in services.settings.peers if peer.name == one.peer and not peer.is_web}
    return calling_ae.strip() in {displayable_ae_title(title) for title in titles}


def _record(session: Session, services: Services, one: Commitment, answer: CommitmentAnswer, calling_ae: str) -> None:
    run = session.get_one(Run, one.run_key)
    failed = dict(answer.failed)
    asked = set(one.sop_instance_uids)
    reasons = {uid: failed.get(uid, NOT_NAMED) for uid in asked - set(answer.committed)}
    is_late = one.state == CommitmentState.OVERDUE
    one.state, one.answered_at = CommitmentState.ANSWERED, now()
    one.n_committed, one.n_failed = len(asked) - len(reasons), len(reasons)
    rows = [row for row in deliveries.of_run(session, one.run_key, one.peer) if row.sop_instance_uid in asked]
    for row in rows:
        if row.sop_instance_uid not in reasons:
            _commit(row)
        elif _is_newest_word(row, one):
            _refuse(row, reasons[row.sop_instance_uid], services.settings.delivery.most_resends)
    details = {
        "peer": one.peer,
        "calling_ae": calling_ae,
        "transaction": one.transaction_uid,
        "n_committed": one.n_committed,
        "n_failed": one.n_failed,
        "is_late": is_late,
        "reasons": _in_words(reasons),
    }
    audit.append(session, "commitment.answered", run.series_key, details)
    if series.get(session, run.series_key).revision == run.revision:
        # What failed was perhaps only not indexed yet; it gets the first pause of the ladder.
        delay_s = services.settings.delivery.first_retry_s if reasons else 0.0
        wake(session, services, one.run_key, one.peer, delay_s)


def _commit(row: Delivery) -> None:
    if row.state not in (DeliveryState.ACCEPTED, DeliveryState.DELIVERED):
        # What was about to be sent again, or given up, is there after all.
        row.sentence = ""
    row.deliver(Evidence.COMMITTED)


def _is_newest_word(row: Delivery, one: Commitment) -> bool:
    """Say whether a failure concerns what was last sent, and not an earlier copy that was replaced since."""
    return row.transaction_uid == one.transaction_uid and row.evidence != Evidence.COMMITTED


def _refuse(row: Delivery, reason: int, most_resends: int) -> None:
    sentence = f"{row.peer} did not commit to it: {_meaning(reason)}."
    if reason == SOP_CLASS_NOT_SUPPORTED:
        row.end(DeliveryState.REFUSED, sentence)
    else:
        send_again_or_fail(row, sentence, most_resends)


def _meaning(reason: int) -> str:
    return "its answer does not name the object" if reason == NOT_NAMED else failure_meaning(reason)


def _in_words(reasons: Mapping[str, int]) -> list[str]:
    return sorted({_meaning(reason) for reason in reasons.values()})[:MOST_REASONS]
