"""The provenance of an object: from its UID back to every input, and on to every peer that holds it."""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from db import audit, commitments, deliveries, outputs, runs, series
from db.errors import NotInRecord
from db.outputs import Output
from db.runs import Run
from db.series import Series


def of_instance(session: Session, sop_instance_uid: str) -> dict[str, Any]:
    """Return everything the record knows about an object that Lodestone made.

    Raises
    ------
    NotInRecord
        No object with that UID was made here.
    """
    output = outputs.newest(session, sop_instance_uid)
    if output is None:
        raise NotInRecord(f"The record holds no object {sop_instance_uid} that Lodestone made.")
    run = session.get_one(Run, output.run_key)
    return {"object": output.as_dict(), **of_run(session, run)}


def of_run(session: Session, run: Run) -> dict[str, Any]:
    """Return everything the record knows about one run."""
    source = series.get(session, run.series_key)
    sent = deliveries.of_run(session, run.key)
    return {
        "series": {
            "key": source.key,
            "SeriesInstanceUID": series.uid_of(session, source),
            "StudyInstanceUID": source.study_instance_uid,
            "state": source.state,
            "revision": run.revision,
            "rule": source.rule,
            "joined": [partner.series_instance_uid for partner in series.joined_to(session, source.source_key)],
            "beside": beside(session, source),
        },
        "run": run.key,
        "performed_at": run.performed_at.isoformat(),
        "inputs": run.inputs,
        "input_digest": run.input_digest,
        "acquisition": run.acquisition,
        "recipe": {"name": run.recipe_name, "digest": run.recipe_digest, "text": run.recipe_text},
        "software": run.software,
        "device": run.device,
        "steps": run.steps,
        "quality": run.quality,
        "regions": run.regions,
        "outputs": [made.as_dict() for made in outputs.of_run(session, run.key)],
        "deliveries": [row.as_dict() for row in sent],
        "commitments": [row.as_dict() for row in commitments.of_run(session, run.key)],
        "peers": deliveries.summary(sent),
        "seal": seal(run),
    }


def beside(session: Session, source: Series) -> list[dict[str, Any]]:
    """Return the other maps of the same series, each with its key, state, rule and recipe."""
    others = [series.get(session, source.source_key), *series.further_maps(session, source.source_key)]
    return [
        {"key": one.key, "state": one.state, "rule": one.rule, "recipe": one.recipe or one.map_by}
        for one in others
        if one.key != source.key
    ]


def revisions(session: Session, series_keys: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Return for each of some series what every one of its revisions was made from and has made, the oldest first.

    A revision whose work was overtaken by a late image before it made anything is among them.
    """
    runs_of: dict[str, list[dict[str, Any]]] = {}
    found = runs.of_series(session, series_keys)
    kinds = outputs.kinds_of(session, (run.key for run in found))
    for run in found:
        entry = {
            "revision": run.revision,
            "run": run.key,
            "performed_at": run.performed_at.isoformat(),
            "n_inputs": len(run.inputs),
            "input_digest": run.input_digest,
            "made": kinds.get(run.key, {}),
            "sealed_at": run.sealed_at.isoformat() if run.sealed_at else None,
        }
        runs_of.setdefault(run.series_key, []).append(entry)
    return runs_of


def seal(run: Run) -> dict[str, Any] | None:
    """Return a run's seal and whether it still covers its document, or None before the run is recorded."""
    if run.seal is None or run.seal_document is None:
        return None
    return {
        "sha256": run.seal,
        "sealed_at": run.sealed_at.isoformat() if run.sealed_at else None,
        "is_intact": audit.digest([run.seal_document]) == run.seal,
        "document": json.loads(run.seal_document),
    }


def find_series(session: Session, text: str) -> list[Series]:
    """Return the series that `text` names: its key or UID, or the UID of a series or object made from it.

    A SeriesInstanceUID names a series with all its further maps; a key or an object names one of them.
    """
    made_from = (
        select(Run.series_key)
        .join(Output, Output.run_key == Run.key)
        .where(or_(Output.series_instance_uid == text, Output.sop_instance_uid == text))
    )
    with_uid = select(Series.key).where(Series.series_instance_uid == text)
    query = select(Series).where(
        or_(
            Series.key == text,
            Series.series_instance_uid == text,
            Series.map_of.in_(with_uid),
            Series.key.in_(made_from),
        )
    )
    return list(session.scalars(query.order_by(Series.created_at, Series.key)).all())
