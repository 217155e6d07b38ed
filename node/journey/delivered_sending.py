"""Sending what a peer lacks: every object is looked at once more, and every answer recorded when it is heard."""

import hashlib
from pathlib import Path

from db import audit, deliveries, outputs
from db.base import now
from db.deliveries import Delivery, DeliveryState
from db.outputs import Output
from dicom_io.errors import Transient
from dicom_io.network.send_result import NO_ANSWER, SendResult
from node.errors import ArtefactDamaged, InvalidSettings
from node.journey.delivered_job import Job
from node.services import Services


def send_pending(job: Job) -> str:
    """Send what is pending, and return why something was left, or nothing.

    Raises
    ------
    ArtefactDamaged
        A file is not what was validated; nothing was sent.
    """
    services = job.services
    with services.database.read() as session:
        rows = job.rows(session)
        pending = {row.sop_instance_uid for row in rows if row.state == DeliveryState.PENDING}
        made = [output for output in outputs.of_run(session, job.run_key) if output.sop_instance_uid in pending]
    if not made:
        return ""
    paths = [validated_file(services, output) for output in made]
    refused: dict[str, str] = {}
    answered: set[str] = set()

    def note(result: SendResult) -> None:
        answered.add(result.SOPInstanceUID)
        with services.database.begin() as session:
            row = deliveries.one(session, job.run_key, job.peer_name, result.SOPInstanceUID)
            _note(row, result, job.peer_name)
            if row.state == DeliveryState.REFUSED:
                refused[row.kind] = row.sentence

    reason = ""
    try:
        job.destination.store(paths, note)
    except (Transient, InvalidSettings) as error:
        reason = str(error)
    is_left = _conclude(job, pending - answered, refused)
    return reason if is_left else ""


def validated_file(services: Services, output: Output) -> Path:
    """Return an object's file in the outbox, after checking that it is still the one that passed validation.

    Raises
    ------
    ArtefactDamaged
        It is gone or has other bytes.
    """
    path = services.outbox / output.path
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        found = ""
    if found != output.sha256:
        raise ArtefactDamaged(
            f"The {output.kind} {path.name} in the outbox is not the object that was validated; nothing was sent. "
            "Let the series be mapped again with `lodestone retry`."
        )
    return path


def _note(row: Delivery, result: SendResult, peer_name: str) -> None:
    row.attempts += 1
    row.last_attempt_at = now()
    row.status = NO_ANSWER if result.status is None else f"0x{result.status:04X}"
    row.sentence = ""
    if result.is_not_taken:
        row.end(DeliveryState.REFUSED, f"{peer_name}: {result.meaning}.")
    elif result.is_accepted or result.is_duplicate:
        # Our UIDs follow from content, so an object of that UID can be no other; whether it is there is asked next.
        row.accept()
        row.sentence = f"{peer_name}: {result.meaning}." if result.is_warning or result.is_duplicate else ""
    else:
        row.sentence = f"{peer_name}: {result.meaning}."


def _conclude(job: Job, unanswered: set[str], refused: dict[str, str]) -> bool:
    """Count the attempt for what no answer came to, tell what the peer does not take, and say whether some is left."""
    with job.services.database.begin() as session:
        rows = job.rows(session)
        for row in rows:
            if row.sop_instance_uid in unanswered:
                row.attempts += 1
                row.last_attempt_at = now()
        if refused:
            details = {"peer": job.peer_name, "kinds": sorted(refused), "reason": " ".join(sorted({*refused.values()}))}
            audit.append(session, "objects.refused", job.series_key, details)
        return any(row.state == DeliveryState.PENDING for row in rows)
