"""One look at one peer: which run it is for, what the steps of the look need to know, and how the next is called."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from db import deliveries, dispatches
from db.deliveries import Delivery
from db.runs import Run
from node.destinations import Destination, destination
from node.services import Services


@dataclass(frozen=True)
class Job:
    """One job of the engine on the way to one peer; `number` is its place in the line of jobs."""

    services: Services
    series_key: str
    study_uid: str
    run_key: str
    peer_name: str
    number: int

    @property
    def destination(self) -> Destination:
        """Return what the results are sent to.

        Raises
        ------
        InvalidSettings
            The peer is no longer configured.
        """
        return destination(self.services.settings, self.peer_name)

    @property
    def commitment(self) -> str:
        """Return how the peer's commitment is dealt with: `auto`, `required` or `off`."""
        return self.services.settings.peer(self.peer_name).commitment

    @property
    def commit_within(self) -> timedelta:
        """Return how long an answer to a request for commitment is waited for."""
        configured = self.services.settings.peer(self.peer_name).commit_within_min
        minutes = self.services.settings.delivery.commit_within_min if configured is None else configured
        return timedelta(minutes=minutes)

    def rows(self, session: Session) -> list[Delivery]:
        """Return the run's deliveries to the peer."""
        return deliveries.of_run(session, self.run_key, self.peer_name)


def wake(session: Session, services: Services, run_key: str, peer_name: str, delay_s: float = 0.0) -> None:
    """Let a worker look at a peer in `delay_s` [s], in place of every look that is planned.

    A job that is running looks at everything once more before it ends, so it needs no other.
    """
    line = dispatches.of(session, run_key, peer_name)
    if line.running_job is None:
        run = session.get_one(Run, run_key)
        number = dispatches.next_number(line)
        services.jobs.enqueue_delivery(session, run.series_key, run.revision, peer_name, number, delay_s)
