"""The sweep: looks again and again at the series that wait, and at those whose job has ended without them.

It runs as a thread of the worker. Its decisions are made under the writer's lock, so that two workers' sweeps agree.
"""

import threading
from collections.abc import Callable

import structlog
from dbos import error as engine_errors
from sqlalchemy.exc import OperationalError

import db.errors
from db import dispatches, series
from db.series import State
from node.journey import received
from node.services import Services

LOOK_EVERY_S = 0.5
# Every so many looks also the jobs are checked; a dead one is rare and nobody waits for its discovery.
JOBS_EVERY = 20
# What the engine calls workflows that will not go on by themselves.
DEAD = {
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "It ended its worker every time it was tried; see the worker's log.",
    "ERROR": "Its job ended with an error; see the worker's log.",
    "CANCELLED": "Its job was cancelled.",
}

logger = structlog.get_logger()
End = Callable[[str, int, State, str, str], None]


class Sweep:
    """Examines waiting series every half second until stopped."""

    def __init__(self, services: Services, end: End) -> None:
        self._services = services
        self._end = end
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="completeness-sweep", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the present look."""
        self._stop.set()
        self._thread.join()

    def look(self) -> None:
        """Examine every waiting series once."""
        with self._services.database.read() as session:
            keys = [waiting.key for waiting in series.waiting(session)]
        for key in keys:
            received.step(key, self._services)

    def look_at_jobs(self) -> None:
        """Fail every series whose job is dead, so that a person sees it."""
        with self._services.database.read() as session:
            under_way = [(one.key, one.revision, one.state, one.workflow_id) for one in series.under_way(session)]
        for key, revision, state, workflow_id in under_way:
            # From `encoded` on the deliveries have jobs of their own.
            if workflow_id is None or state in (State.ENCODED, State.DELIVERED):
                continue
            status = self._services.jobs.status(workflow_id)
            if status in DEAD:
                self._end(key, revision, State.FAILED, "JobEnded", DEAD[status])
        self._look_at_deliveries()

    def _look_at_deliveries(self) -> None:
        with self._services.database.read() as session:
            lines = dispatches.of_encoded(session)
        for key, revision, peer, number in lines:
            status = self._services.jobs.status(self._services.jobs.delivery_id(key, revision, peer, number))
            if status in DEAD:
                self._end(key, revision, State.FAILED, "JobEnded", f"The delivery to {peer} ended. {DEAD[status]}")

    def _run(self) -> None:
        looks = 0
        while not self._stop.wait(LOOK_EVERY_S):
            looks += 1
            try:
                self.look()
                if looks % JOBS_EVERY == 0:
                    self.look_at_jobs()
            except (db.errors.Transient, OperationalError, engine_errors.DBOSException) as error:
                logger.warning("sweep.interrupted", error_class=type(error).__name__)
