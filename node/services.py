"""The collaborators that every step of the journey is given: built once in `node.app`, never looked up."""

from dataclasses import dataclass
from pathlib import Path

from db.session import Database
from node.engine import Jobs
from node.inbox import Inbox
from node.kspace_store import KspaceStore
from node.settings import Settings
from node.workspace import Workspace


@dataclass(frozen=True)
class Services:
    """What a step may use.

    `inbox` holds what came in and `kspace` the raw data among it, `workspace` what the steps hand to one another,
    `outbox` the objects to be sent. `jobs` enqueues work in the caller's transaction.
    """

    settings: Settings
    database: Database
    inbox: Inbox
    kspace: KspaceStore
    workspace: Workspace
    outbox: Path
    jobs: Jobs

    def close(self) -> None:
        """Close the connections to the database."""
        self.jobs.close()
        self.database.close()
