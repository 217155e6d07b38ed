"""mapped: echoes have become susceptibility and companion maps, with quality figures, in a process of their own."""

from db import artefacts, runs, series
from db.base import now
from db.series import State
from node.journey.assembled import ACQUISITION
from node.journey.progress import JourneyProgress
from node.journey.reconstructed import RECONSTRUCTION
from node.mapping_child import MappingRequest, map_in_child
from node.run_sentences import with_reconstruction
from node.services import Services

MAPS = "maps"


def step(series_key: str, services: Services) -> None:
    """Map the acquisition in a child process and keep the maps as one artefact.

    Raises
    ------
    PipelineError
        The mathematics refuses the acquisition; the class and the sentence say why.
    ChildDied
        The mapping process was killed, or ran longer than it may.
    Superseded
        A newer revision of the series arrived meanwhile.
    """
    started_at = now()
    with services.database.read() as session:
        current = series.get(session, series_key)
        if series.has_reached(current, State.MAPPED):
            return
        revision = current.revision
        digest = artefacts.digest_of(session, series_key, revision, ACQUISITION)
        recipe_text = runs.get(session, series_key, revision).recipe_text
    settings = services.settings.mapping
    output = services.workspace.new_temporary()
    request = MappingRequest(
        acquisition=str(services.workspace.verify(digest)),
        recipe_text=recipe_text,
        output=str(output),
        device=settings.device,
        threads=settings.threads,
        memory_limit_gib=settings.memory_limit_gib,
    )
    progress = JourneyProgress(services, series_key, revision)
    try:
        result = map_in_child(request, settings.timeout_min * 60.0, progress.note, progress.is_wanted)
        maps_digest = services.workspace.adopt(output)
    finally:
        output.unlink(missing_ok=True)
    with services.database.begin() as session:
        current = series.get(session, series_key)
        series.expect_revision(current, revision)
        run = runs.get(session, series_key, revision)
        run.device = result.device
        run.quality = with_reconstruction(result.quality, run.acquisition.get(RECONSTRUCTION))
        artefacts.remember(session, series_key, revision, MAPS, maps_digest)
        details = {"artefact": maps_digest, "device": result.device, "peak_memory_gib": result.peak_memory_gib}
        if result.quality["weights"]:
            details |= {name: result.quality[name] for name in ("susceptibility_source", "weights")}
        runs.record_step(run, State.MAPPED, started_at, details | {"seconds_per_step": result.seconds_per_step})
        current.progress_step = current.progress_fraction = None
        series.change_state(session, current, State.MAPPED, details | {"recipe_digest": run.recipe_digest})
