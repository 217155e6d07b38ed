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
from dicom_io.read.reader import SEPARABLE, Share, read_echo_series, read_source, scans_in
from dicom_io.read.separation import MOST_SCANS
from dicom_io.series import SourceSeries
from node.convert import acquisition_artefact
from node.errors import NoRuleMatches
from node.journey.assembled_further import open_further
from node.journey.assembled_raw import facts_of, hold_raw_scan, values_of_scan
from node.recipe_files import read_recipe
from node.routing import choose, of_every_scan, own_choice
from node.series_attributes import values_in
from node.services import Services
from node.software import software

ACQUISITION = "acquisition"
AS_SOURCE = "encoded_as_source"
MAP_BY = "map_by"
SCAN = "scan"


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
    choice = own_choice(of_every_scan(choices, MOST_SCANS), map_by)
    recipe, recipe_text = read_recipe(choice.recipe, services.settings.recipes_directory)
    n_scans = 1
    if raw is None:
        digest, facts, n_scans = _read_images(services, dict(zip(paths, rows, strict=True)), choice.scan)
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
            open_further(session, services, current, of_every_scan(choices, n_scans)[1:])


def _read_images(services: Services, rows: Mapping[Path, Instance], scan: int) -> tuple[str, dict[str, Any], int]:
    """Store the acquisition that images make; return its digest, what the record says of it, and how many there are."""
    share: Share | None = None
    try:
        echoes = read_echo_series(list(rows), lambda path: _name_of(rows[path]))
    except SEPARABLE:
        shares = scans_in(list(rows), lambda path: _name_of(rows[path]))
        if not shares:
            raise
        share = _share(shares, scan)
        echoes = read_echo_series(list(rows), lambda path: _name_of(rows[path]), share)
    arrays, metadata = acquisition_artefact(echoes)
    source = echoes.source
    facts = {**metadata, "vendor": source.vendor, "phase_scaling": source.phase_scaling}
    facts |= {"notes": list(source.notes), "ignored": list(source.ignored)}
    if share is not None:
        facts[SCAN] = share.number
    return services.workspace.put(arrays, metadata), facts, share.n_scans if share is not None else 1


def source_of(paths: Sequence[Path], acquisition: Mapping[str, Any]) -> SourceSeries:
    """Return the headers of the acquisition that a run was made of, by what the record says of it."""
    scan = acquisition.get(SCAN)
    return read_source(paths, share=_share(scans_in(paths), scan) if scan else None)


def _share(shares: Sequence[Share], scan: int) -> Share:
    if scan > len(shares):
        raise NoRuleMatches(f"The series holds {len(shares)} scans, and this further map is that of scan {scan}.")
    return shares[scan - 1]


def _name_of(row: Instance) -> str:
    return f"instance {row.sop_instance_uid}"


def inputs_of(session: Session, current: Series) -> list[Instance]:
    """Return the instances that take part: the series' own and those of a half that was joined to it."""
    keys = [current.source_key, *(partner.key for partner in series.joined_to(session, current.source_key))]
    return instances.of_series(session, keys)


def input_digest(digests: Sequence[str]) -> str:
    """Return one SHA-256 over the inputs' SHA-256, whatever their order."""
    return audit.digest(sorted(digests))


def _frames(row: Instance) -> list[FrameHeader]:
    return [FrameHeader.from_json(frame) for frame in row.frames or []]
