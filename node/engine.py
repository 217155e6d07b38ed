"""The durable engine as the rest of the node sees it: names, queues, and jobs enqueued in the caller's transaction."""

import hashlib
from collections.abc import Callable
from functools import cached_property

from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer, EnqueueOptions
from sqlalchemy.orm import Session

from db.base import now
from db.series import Series

APPLICATION = "lodestone"
# Raise it only when the sequence of steps of a workflow changes: work in flight stays with workers of its version.
APPLICATION_VERSION = "1"
MAPPING_QUEUE = "mapping"
DELIVERY_QUEUE = "delivery"
MAP_WORKFLOW = "map_series"
DELIVER_WORKFLOW = "deliver_to_peer"
# Without a priority a job sorts first (0), ahead of anything urgent.
URGENT = 1
ROUTINE = 10
PriorityOf = Callable[[Session, Series], int]


def routine(session: Session, series: Series) -> int:
    """Return the priority of a series of which nothing special is known."""
    return ROUTINE


class Jobs:
    """Enqueues workflows; a job exists exactly when the transaction that asked for it was committed.

    `priority_of` says how soon a series' turn comes: the lower number goes first, equal ones in their order.
    """

    def __init__(self, database_url: str, priority_of: PriorityOf = routine) -> None:
        self._url = engine_url(database_url)
        self._priority_of = priority_of

    @cached_property
    def client(self) -> DBOSClient:
        """Return the engine's client, connected at the first use."""
        return DBOSClient(
            system_database_url=self._url, serializer=DBOSPortableJSONSerializer(), application_name=APPLICATION
        )

    def enqueue_mapping(self, session: Session, series: Series) -> None:
        """Let a worker take the series from `received` to `encoded`."""
        workflow_id = f"map-{series.key}-r{series.revision}"
        series.enqueued_at, series.workflow_id = now(), workflow_id
        session.flush()
        priority = self._priority_of(session, series)
        self._enqueue(session, MAP_WORKFLOW, MAPPING_QUEUE, workflow_id, priority, 0.0, series.key, series.revision)

    def enqueue_delivery(
        self, session: Session, series_key: str, revision: int, peer: str, attempt: int, delay_s: float
    ) -> None:
        """Let a worker look at the delivery of a run's objects to one peer, not before `delay_s` [s] have passed.

        Every look is a job of its own, so that a peer that is down for a night, or commits only then, occupies no
        worker.
        """
        workflow_id = self.delivery_id(series_key, revision, peer, attempt)
        arguments = (series_key, revision, peer, attempt)
        self._enqueue(session, DELIVER_WORKFLOW, DELIVERY_QUEUE, workflow_id, ROUTINE, delay_s, *arguments)

    @staticmethod
    def delivery_id(series_key: str, revision: int, peer: str, attempt: int) -> str:
        """Return the engine's name of one job to a peer."""
        # A peer's name is free text; an identifier of the engine is not.
        peer_id = hashlib.sha256(peer.encode()).hexdigest()[:8]
        return f"deliver-{series_key}-r{revision}-{peer_id}-a{attempt}"

    def status(self, workflow_id: str) -> str | None:
        """Return the engine's word for a workflow, e.g. `SUCCESS`, or None where it knows none."""
        found = self.client.list_workflows(workflow_ids=[workflow_id], load_input=False, load_output=False)
        return found[0].status if found else None

    def close(self) -> None:
        """Close the connections, where there are any."""
        if "client" in self.__dict__:
            self.client.destroy()

    def _enqueue(
        self,
        session: Session,
        workflow: str,
        queue: str,
        workflow_id: str,
        priority: int,
        delay_s: float,
        *arguments: str | int,
    ) -> None:
        options: EnqueueOptions = {
            "workflow_name": workflow,
            "queue_name": queue,
            "workflow_id": workflow_id,
            "app_version": APPLICATION_VERSION,
            "priority": priority,
        }
        if delay_s > 0:
            options["delay_seconds"] = delay_s
        self.client.enqueue_in_transaction(session, options, *arguments)


def engine_url(database_url: str) -> str:
    """Return the URL as the engine wants it: without a driver's name."""
    return database_url.replace("postgresql+psycopg://", "postgresql://", 1)


def migrate(database_url: str) -> None:
    """Create the engine's own tables or bring them to its version; safe to call at every start."""
    DBOS.migrate(engine_url(database_url))
