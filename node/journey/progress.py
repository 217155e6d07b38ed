"""How far a working child is, written where people look; and whether anybody still wants its result."""

from db import series
from db.errors import Superseded
from node.services import Services


class JourneyProgress:
    """Writes how far the child is, and knows whether anybody still wants its result."""

    def __init__(self, services: Services, series_key: str, revision: int) -> None:
        self._services = services
        self._key = series_key
        self._revision = revision

    def note(self, step_name: str, fraction: float) -> None:
        """Write the step and how much of it is done."""
        with self._services.database.begin() as session:
            current = series.get(session, self._key)
            if current.revision == self._revision:
                current.progress_step, current.progress_fraction = step_name, fraction

    def is_wanted(self) -> bool:
        """Say whether the series is still at this revision."""
        with self._services.database.read() as session:
            try:
                series.expect_revision(series.get(session, self._key), self._revision)
            except Superseded:
                return False
        return True
