"""assembled: instances have become one ordered acquisition, and rules have said what is to become of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from db import artefacts, audit, instances, runs, series
from db.base import now
from db.instances import Instance
from db.series import Series, State
from dicom_io.kspace.raw_data import RAW_DATA_STORAGE
from dicom_io.read.headers import FrameHeader
from dicom_io.read.reader import read_echo_series
from node.convert import acquisition_artefact
from node.journey.assembled_further import open_further
from node.journey.assembled_raw import facts_of, hold_raw_scan, values_of_scan
from node.recipe_files import read_recipe
from node.routing import choose, own_choice
from node.series_attributes import values_in
from node.services import Services
from node.software import software

ACQUISITION = "acquisition"
AS_SOURCE = "encoded_as_source"
MAP_BY = "map_by"


def step(series_key: str, services: Services) -> None:
    """Read the series into one ordered acquisition, choose its rule, and open its run and its further maps.

    Raises
    ------
    NoRuleMatches
        No rule wants the series, or this further map of it.
    IgnoredByRule
        A rule says that it is not to be mapped.
    DicomError
        The instances form no acquisition that can be mapped; the class and the sentence say why.
    ArtefactDamaged
        A file in the inbox no longer has the digest that was recorded for it.
    """
    started_at = now()
    with services.database.read() as session:
        current = series.get(session, series_key)
        if series.has_reached(current, State.ASSEMBLED):
            return
        revision, map_by, is_raw = current.revision, current.map_by, current.sop_class_uid == RAW_DATA_STORAGE
        rows = inputs_of(session, current)
    paths = [services.inbox.verify(row.inbox_name, row.sha256) for row in rows]
    held = [(path, _frames(row)) for path, row in zip(paths, rows, strict=True)]
    raw = hold_raw_scan(services, paths) if is_raw else None
    values = values_in(held) if raw is None else values_of_scan(raw, values_in(held))
    choices = choose(services.settings.rules, values, services.settings.routing.match)
    choice = own_choice(choices, map_by)
    recipe, recipe_text = read_recipe(choice.recipe, services.settings.recipes_directory)
    if raw is None:
        digest, facts = _read_images(services, dict(zip(paths, rows, strict=True)))
        made = {"artefact": digest}
    else:
        digest, facts, made = None, facts_of(raw), {"payload": raw.payload.sha256}
    facts |= {AS_SOURCE: choice.encoding == "as_source", MAP_BY: map_by or ""}
    with services.database.begin() as session:
        current = series.get(session, series_key)
        series.expect_revision(current, revision)
        current.rule, current.recipe, current.destinations = choice.rule, recipe.name, list(choice.destinations)
        run = runs.begin(
            session,
            series_key,
            revision,
            inputs=[row.as_input() for row in rows],
            input_digest=input_digest([row.dataset_sha256 for row in rows]),
            acquisition=facts,
            recipe_name=recipe.name,
            recipe_text=recipe_text,
            recipe_digest=recipe.digest,
            software=software(),
        )
        if digest is not None:
            artefacts.remember(session, series_key, revision, ACQUISITION, digest)
        runs.record_step(run, State.ASSEMBLED, started_at, made)
        details = {"n_inputs": len(rows), "rule": choice.rule, "recipe": recipe.name, **made}
        details["priority"] = choice.priority
        series.change_state(session, current, State.ASSEMBLED, details)
        if map_by is None:
            open_further(session, services, current, choices[1:])


def _read_images(services: Services, rows: Mapping[Path, Instance]) -> tuple[str, dict[str, Any]]:
    """Store the acquisition that images make, and return its digest and what the record says of it."""
    echoes = read_echo_series(list(rows), name_of=lambda path: f"instance {rows[path].sop_instance_uid}")
    arrays, metadata = acquisition_artefact(echoes)
    source = echoes.source
    facts = {**metadata, "vendor": source.vendor, "phase_scaling": source.phase_scaling}
    facts |= {"notes": list(source.notes), "ignored": list(source.ignored)}
    return services.workspace.put(arrays, metadata), facts


def inputs_of(session: Session, current: Series) -> list[Instance]:
    """Return the instances that take part: the series' own and those of a half that was joined to it."""
    keys = [current.source_key, *(partner.key for partner in series.joined_to(session, current.source_key))]
    return instances.of_series(session, keys)


def input_digest(digests: Sequence[str]) -> str:
    """Return one SHA-256 over the inputs' SHA-256, whatever their order."""
    return audit.digest(sorted(digests))


def _frames(row: Instance) -> list[FrameHeader]:
    return [FrameHeader.from_json(frame) for frame in row.frames or []]
