"""encoded: maps have become valid DICOM objects in the outbox, known by their UIDs before anything is sent."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sqlalchemy.orm import Session

from db import artefacts, deliveries, outputs, runs, series
from db.base import now
from db.outputs import Output
from db.runs import Run
from db.series import State
from dicom_io.kspace.raw_data import RAW_DATA_STORAGE
from dicom_io.series import SourceSeries
from node.convert import root_mean_square
from node.journey.assembled import ACQUISITION, AS_SOURCE, MAP_BY, inputs_of, source_of
from node.journey.assembled_raw import raw_source
from node.journey.mapped import MAPS
from node.journey.reconstructed import RECONSTRUCTION
from node.objects import MadeObject, Outcome, Regions, Wanted, make_objects, measure_regions
from node.region_labels import labels_on_grid
from node.run_sentences import describe_run, describe_twin
from node.services import Services
from node.workspace import Artefact
from pipeline.recipe import parse_recipe
from pipeline.regions.measurements import RegionMeasurement

FIRST_ATTEMPT = 1


def step(series_key: str, services: Services) -> None:
    """Make and validate the run's objects, write them, and let their delivery begin.

    Raises
    ------
    InvalidObject
        An object does not satisfy the standard; nothing is sent.
    ArtefactDamaged
        The maps or an input no longer have their digests.
    """
    started_at = now()
    with services.database.read() as session:
        current = series.get(session, series_key)
        if series.has_reached(current, State.ENCODED):
            return
        revision = current.revision
        run = runs.get(session, series_key, revision)
        maps = artefacts.digest_of(session, series_key, revision, MAPS)
        acquisition = artefacts.digest_of(session, series_key, revision, ACQUISITION)
        rows, is_raw = inputs_of(session, current), current.sop_class_uid == RAW_DATA_STORAGE
        kinds = services.settings.kinds_to_make(current.destinations)
    paths = [services.inbox.verify(row.inbox_name, row.sha256) for row in rows]
    source = raw_source(services, paths[0], run.acquisition["shape"]) if is_raw else source_of(paths, run.acquisition)
    magnitude = root_mean_square(services.workspace.get(acquisition).arrays["magnitude"])
    made, measured, note = _make(services, services.workspace.get(maps), magnitude, source, run, kinds)
    paths = write_objects(services.outbox / run.key, made)
    with services.database.begin() as session:
        current = series.get(session, series_key)
        series.expect_revision(current, revision)
        run = runs.get(session, series_key, revision)
        run.regions = [_as_dict(region) for region in measured]
        _remember(session, run, made, paths, services.outbox)
        uids = [one.SOPInstanceUID for one in made]
        settings = services.settings
        usual = frozenset(settings.output.objects)
        wanted = {peer: settings.kinds_for(peer) or usual for peer in current.destinations}
        deliveries.plan(session, run.key, [(one.SOPInstanceUID, one.kind) for one in made], wanted)
        details = {"n_objects": len(made), "validation": "passed", "regions": note}
        runs.record_step(run, State.ENCODED, started_at, details)
        series.change_state(session, current, State.ENCODED, {**details, "SOPInstanceUIDs": uids})
        for peer in current.destinations:
            services.jobs.enqueue_delivery(session, series_key, revision, peer, FIRST_ATTEMPT, delay_s=0.0)


def write_objects(folder: Path, made: Sequence[MadeObject]) -> list[Path]:
    """Write objects under names of our own making, each complete or absent, and flush them to the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / one.name for one in made]
    for path, one in zip(paths, made, strict=True):
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            file.write(one.content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    return paths


def _make(
    services: Services, maps: Artefact, magnitude: np.ndarray, source: SourceSeries, run: Run, kinds: Sequence[str]
) -> tuple[list[MadeObject], list[RegionMeasurement], str]:
    settings = services.settings
    regions, note = Regions(), "no label map is configured"
    if settings.label_map is not None:
        labels, note = labels_on_grid(settings.label_map, source.geometry)
        regions = Regions(labels, settings.regions.label_names)
    measured = measure_regions(maps.arrays, regions, source.geometry.voxel_size_mm, run.quality)
    recipe = parse_recipe(run.recipe_text)
    description = describe_run(
        recipe=recipe,
        quality=run.quality,
        software=run.software,
        input_digest=run.input_digest,
        reference=_words(maps.metadata["reference"]),
        node_ae_title=settings.node.ae_title,
        performed_at=run.performed_at,
        research_use_only=settings.output.research_use_only,
        map_by=str(run.acquisition.get(MAP_BY, "")),
        reconstruction=str(run.acquisition.get(RECONSTRUCTION, {}).get("method", "")),
    )
    outcome = Outcome(maps.arrays, run.quality, measured, regions, magnitude)
    wanted = Wanted(kinds, recipe.companions, bool(run.acquisition.get(AS_SOURCE)))
    made = make_objects(outcome, source, description, wanted, describe_twin(recipe, description))
    return made, measured, note


def _remember(session: Session, run: Run, made: Sequence[MadeObject], paths: Sequence[Path], outbox: Path) -> None:
    known = {output.sop_instance_uid for output in outputs.of_run(session, run.key)}
    for one, path in zip(made, paths, strict=True):
        if one.SOPInstanceUID in known:
            continue
        session.add(
            Output(
                sop_instance_uid=one.SOPInstanceUID,
                run_key=run.key,
                series_instance_uid=one.SeriesInstanceUID,
                sop_class_uid=one.SOPClassUID,
                kind=one.kind,
                sha256=one.sha256,
                size=len(one.content),
                path=path.relative_to(outbox).as_posix(),
                created_at=now(),
            )
        )
    session.flush()


def _as_dict(region: RegionMeasurement) -> dict[str, float | int | str]:
    return {name: _plain(value) for name, value in vars(region).items() if value is not None}


def _plain(value: object) -> float | int | str:
    if isinstance(value, str):
        return value
    return int(value) if isinstance(value, int | np.integer) else float(value)  # type: ignore[arg-type]


def _words(name: str) -> str:
    return name.replace("_", " ")
