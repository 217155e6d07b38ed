"""reconstructed: k-space has become echo images; for images that arrived as images, nothing to do."""

from typing import Any

from db import artefacts, runs, series
from db.base import now
from db.runs import Run
from db.series import Series, State
from dicom_io.kspace.raw_data import RAW_DATA_STORAGE
from node.journey.assembled import ACQUISITION, inputs_of
from node.journey.assembled_raw import needs_noise
from node.journey.progress import JourneyProgress
from node.raw_scans import read_raw_scan
from node.reconstruction_child import ReconstructionRequest, ReconstructionResult, reconstruct_in_child
from node.services import Services

NOTHING_TO_DO = "nothing to do: the images arrived reconstructed by the scanner"
RECONSTRUCTION = "reconstruction"


def step(series_key: str, services: Services) -> None:
    """Reconstruct k-space in a child process, or record that the acquisition holds echo images already.

    Raises
    ------
    ArtefactDamaged
        The acquisition in the workspace, or the raw data, no longer have their digest.
    DicomError
        The raw data forbid an image: lines are missing, samples are no numbers.
    PipelineError
        The reconstruction refuses the scan.
    ChildDied
        The process was killed, or ran longer than it may.
    """
    with services.database.read() as session:
        current = series.get(session, series_key)
        if series.has_reached(current, State.RECONSTRUCTED):
            return
    if current.sop_class_uid == RAW_DATA_STORAGE:
        _reconstruct(series_key, services, current.revision)
    else:
        _pass_on(series_key, services, current.revision)


def _pass_on(series_key: str, services: Services, revision: int) -> None:
    started_at = now()
    with services.database.read() as session:
        digest = artefacts.digest_of(session, series_key, revision, ACQUISITION)
    services.workspace.verify(digest)
    with services.database.begin() as session:
        current = series.get(session, series_key)
        series.expect_revision(current, revision)
        run = runs.get(session, series_key, revision)
        runs.record_step(run, State.RECONSTRUCTED, started_at, {"note": NOTHING_TO_DO, "artefact": digest})
        series.change_state(session, current, State.RECONSTRUCTED, {"note": NOTHING_TO_DO, "artefact": digest})


def _reconstruct(series_key: str, services: Services, revision: int) -> None:
    started_at = now()
    given = _request(series_key, services, revision)
    progress = JourneyProgress(services, series_key, revision)
    outputs = [services.workspace.new_temporary() for _ in range(2)]
    request = ReconstructionRequest(output=str(outputs[0]), companions_output=str(outputs[1]), **given)
    timeout_s = services.settings.mapping.timeout_min * 60.0
    try:
        result = reconstruct_in_child(request, timeout_s, progress.note, progress.is_wanted)
        images, companions = (services.workspace.adopt(output) for output in outputs)
    finally:
        for output in outputs:
            output.unlink(missing_ok=True)
    with services.database.begin() as session:
        current = series.get(session, series_key)
        series.expect_revision(current, revision)
        run = runs.get(session, series_key, revision)
        _note(run, result)
        artefacts.remember(session, series_key, revision, ACQUISITION, images)
        artefacts.remember(session, series_key, revision, RECONSTRUCTION, companions)
        details: dict[str, Any] = {"artefact": images, "companions": companions, "method": result.method}
        details |= {"device": result.device, "peak_memory_gib": result.peak_memory_gib}
        described = {"settings": result.settings, "findings": result.findings}
        seconds = {"seconds_per_step": result.seconds_per_step}
        runs.record_step(run, State.RECONSTRUCTED, started_at, details | described | seconds)
        current.progress_step = current.progress_fraction = None
        series.change_state(session, current, State.RECONSTRUCTED, details)


def _request(series_key: str, services: Services, revision: int) -> dict[str, Any]:
    with services.database.read() as session:
        current: Series = series.get(session, series_key)
        rows = inputs_of(session, current)
        recipe_text = runs.get(session, series_key, revision).recipe_text
    path = services.inbox.verify(rows[0].inbox_name, rows[0].sha256)
    mapping = services.settings.mapping
    return {
        "raw_object": str(path),
        "kspace_folder": str(services.kspace.folder),
        "recipe_text": recipe_text,
        "needs_noise": needs_noise(services.settings, read_raw_scan(services.kspace, path)),
        "device": mapping.device,
        "threads": mapping.threads,
        "memory_limit_gib": mapping.memory_limit_gib,
    }


def _note(run: Run, result: ReconstructionResult) -> None:
    """Let the record and the report tell what the reconstruction found out about itself."""
    facts = dict(run.acquisition)
    facts["notes"] = [*facts.get("notes", []), *(note for note in result.notes if note not in facts["notes"])]
    facts |= {"shape": result.shape, "voxel_size_mm": result.voxel_size_mm}
    facts[RECONSTRUCTION] = {"method": result.method, "findings": result.findings}
    run.acquisition = facts
