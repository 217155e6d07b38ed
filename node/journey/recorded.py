"""recorded: the run is sealed: inputs, recipe, software, outputs, deliveries and the audit's head under one hash."""

from typing import Any

from sqlalchemy.orm import Session

from db import audit, deliveries, outputs, runs, series
from db.base import now
from db.runs import Run
from db.series import Series, State
from node.services import Services


def step(series_key: str, services: Services) -> None:
    """Seal the run of a delivered series."""
    with services.database.begin() as session:
        current = series.get(session, series_key)
        if current.state != State.DELIVERED:
            return
        run = runs.get(session, series_key, current.revision)
        started_at = now()
        number, head = audit.head(session)
        document = _document(session, run, current) | {"audit": {"number": number, "hash": head}}
        run.seal_document = audit.canonical(document)
        run.seal = audit.digest([run.seal_document])
        run.sealed_at = now()
        runs.record_step(run, State.RECORDED, started_at)
        # What a peer did not take is still to be seen in the list of series.
        series.change_state(session, current, State.RECORDED, {"seal": run.seal}, current.sentence)


def _document(session: Session, run: Run, source: Series) -> dict[str, Any]:
    """Return what the seal covers; everything in it is known to the record and can be compared with it."""
    return {
        "run": run.key,
        "revision": run.revision,
        "SeriesInstanceUID": source.series_instance_uid,
        "inputs": sorted(entry["sha256"] for entry in run.inputs),
        "input_digest": run.input_digest,
        "recipe_digest": run.recipe_digest,
        "software": run.software,
        "weights": run.quality.get("weights", {}),
        "device": run.device,
        "outputs": {made.sop_instance_uid: made.sha256 for made in outputs.of_run(session, run.key)},
        "deliveries": deliveries.summary(deliveries.of_run(session, run.key)),
        "quality": run.quality,
    }
