"""reconstructed: coil images or k-space have become echo images; for images that arrived as images, nothing to do."""

from db import artefacts, runs, series
from db.base import now
from db.series import State
from node.journey.assembled import ACQUISITION
from node.services import Services

NOTHING_TO_DO = "nothing to do: the images arrived reconstructed by the scanner"


def step(series_key: str, services: Services) -> None:
    """Record that the acquisition holds echo images already.

    Raises
    ------
    ArtefactDamaged
        The acquisition in the workspace no longer has its digest.
    """
    started_at = now()
    with services.database.read() as session:
        current = series.get(session, series_key)
        if series.has_reached(current, State.RECONSTRUCTED):
            return
        revision = current.revision
        digest = artefacts.digest_of(session, series_key, revision, ACQUISITION)
    services.workspace.verify(digest)
    with services.database.begin() as session:
        current = series.get(session, series_key)
        series.expect_revision(current, revision)
        run = runs.get(session, series_key, revision)
        runs.record_step(run, State.RECONSTRUCTED, started_at, {"note": NOTHING_TO_DO, "artefact": digest})
        series.change_state(session, current, State.RECONSTRUCTED, {"note": NOTHING_TO_DO, "artefact": digest})
