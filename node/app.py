"""Builds every collaborator of the node once; the only such place."""

from pathlib import Path

import db.session
from node import engine
from node.engine import Jobs
from node.inbox import Inbox
from node.kspace_store import KspaceStore
from node.series_attributes import priority_by_rules
from node.services import Services
from node.settings import Settings, load_settings
from node.workspace import Workspace

INBOX, KSPACE, WORKSPACE, OUTBOX = "inbox", "kspace", "workspace", "outbox"


def build_services(settings: Settings) -> Services:
    """Prepare folders and database as `settings` say, and return the node's collaborators."""
    directory = settings.directory
    directory.mkdir(parents=True, exist_ok=True)
    outbox = directory / OUTBOX
    outbox.mkdir(exist_ok=True)
    # Ours first: it puts an SQLite file into the mode that lets readers and one writer work at the same time.
    db.session.migrate(settings.database_url)
    engine.migrate(settings.database_url)
    inbox = Inbox(directory / INBOX, settings.node.free_space_watermark_mb)
    return Services(
        settings=settings,
        database=db.session.Database(settings.database_url),
        inbox=inbox,
        kspace=KspaceStore(directory / KSPACE, settings.node.free_space_watermark_mb),
        workspace=Workspace(directory / WORKSPACE),
        outbox=outbox,
        jobs=Jobs(settings.database_url, priority_by_rules(settings, inbox)),
    )


def build_services_from_file(path: Path) -> Services:
    """Read `path` and build.

    Raises
    ------
    InvalidSettings
        The file cannot be read or holds a mistake.
    """
    return build_services(load_settings(path))
