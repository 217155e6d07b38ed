"""Sessions on the record: one writer at a time on SQLite and PostgreSQL alike, and the schema's migrations."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from db.errors import RecordBusy

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "lodestone_alembic_version"
BUSY_TIMEOUT_MS = 30_000
# Any constant that no other program on the server uses for its advisory locks.
WRITER_LOCK = 0x10DE_5703


class Database:
    """The record's own connections; the job engine has others."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _engine(url)
        self._writing = self.engine.execution_options(lodestone_writes=True)
        self.is_sqlite = self.engine.dialect.name == "sqlite"

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """Open the one writing transaction; commit at the end, roll back on an error.

        Writers queue for the whole transaction: the audit chain has one order, a read followed by a write sees no
        third party in between. Do no network or pixel work inside.

        Raises
        ------
        RecordBusy
            Another writer held the database for longer than the busy timeout.
        """
        with Session(self._writing, expire_on_commit=False) as session, session.begin():
            try:
                session.connection()
                if not self.is_sqlite:
                    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": WRITER_LOCK})
            except OperationalError as error:
                raise RecordBusy(f"The database could not be opened for writing: {error.orig}.") from error
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a transaction that only reads, and roll it back at the end."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def sqlalchemy_url(url: str) -> str:
    """Return `url` with the PostgreSQL driver that the project installs."""
    if url.startswith(("postgresql://", "postgres://")):
        return "postgresql+psycopg://" + url.split("://", 1)[1]
    return url


def migrate(url: str) -> None:
    """Create the record's tables or bring them to the present schema; safe to call at every start."""
    database_file = make_url(url).database if url.startswith("sqlite") else None
    if database_file:
        Path(database_file).parent.mkdir(parents=True, exist_ok=True)
    database = Database(url)
    try:
        with database.begin() as session:
            connection = session.connection()
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
            config.attributes["connection"] = connection
            if _current_revision(connection) != ScriptDirectory.from_config(config).get_current_head():
                command.upgrade(config, "head")
    finally:
        database.close()


def _current_revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


def _engine(url: str) -> Engine:
    engine = create_engine(sqlalchemy_url(url))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: Any, record: Any) -> None:
    # The driver's own BEGIN is deferred, and an upgrade from reading to writing fails at once instead of waiting.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode=WAL")
    # NORMAL may lose the last commits at a power cut, after the sender has heard "success".
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("lodestone_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
