"""A migrated, empty record on SQLite, and the same tests on PostgreSQL where it is installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.session import Database, migrate
from tests.postgresql import running_server


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """Start one PostgreSQL server for all tests of the record."""
    with running_server() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.e2e)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'record.db'}"
    server = request.getfixturevalue("postgresql_url")
    name = f"test_{abs(hash(request.node.nodeid)):x}"
    database = Database(server)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}")
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    database.close()
    return server.rsplit("/", 1)[0] + f"/{name}"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """Return a migrated, empty record."""
    migrate(url)
    opened = Database(url)
    yield opened
    opened.close()
