"""The record has one writer at a time, loses nothing that was committed, and keeps nothing that was not."""

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from db import series
from db.base import PREFIX
from db.schema import METADATA
from db.session import VERSION_TABLE, Database, migrate, sqlalchemy_url


def test_the_migrations_make_exactly_the_tables_that_the_code_declares(database: Database) -> None:
    options = {"include_name": lambda name, kind, parents: kind != "table" or name.startswith(PREFIX)}
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        differences = compare_metadata(context, METADATA)
    assert [difference for difference in differences if VERSION_TABLE not in str(difference)] == []


def test_migrating_twice_changes_nothing(database: Database, url: str) -> None:
    with database.begin() as session:
        series.create(session, "1.2.3", "1.2", "SCANNER")
    migrate(url)
    with database.read() as session:
        assert [one.series_instance_uid for one in series.list_series(session)] == ["1.2.3"]


def test_what_fails_halfway_leaves_nothing_behind(database: Database) -> None:
    def fail_after_writing() -> None:
        with database.begin() as session:
            series.create(session, "1.2.3", "1.2", "SCANNER")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after_writing()
    with database.read() as session:
        assert series.list_series(session) == []
        assert session.execute(text("SELECT count(*) FROM lodestone_audit")).scalar() == 0


def test_writers_queue_so_that_read_and_write_belong_together(database: Database) -> None:
    with database.begin() as session:
        key = series.create(session, "1.2.3", "1.2", "SCANNER").key

    def count_one() -> None:
        for _ in range(10):
            with database.begin() as session:
                found = series.get(session, key)
                found.n_instances = found.n_instances + 1

    threads = [threading.Thread(target=count_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert series.get(session, key).n_instances == 40


def test_a_reader_is_not_kept_waiting_by_a_writer(database: Database) -> None:
    with database.begin() as writing:
        series.create(writing, "1.2.3", "1.2", "SCANNER")
        with database.read() as reading:
            assert series.list_series(reading) == []


def test_sqlite_flushes_every_commit_and_lets_readers_in(tmp_path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'record.db'}")
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    database.close()


def test_a_plain_postgresql_url_gets_the_driver_that_is_installed() -> None:
    assert sqlalchemy_url("postgresql://user@host/base") == "postgresql+psycopg://user@host/base"
    assert sqlalchemy_url("sqlite:///file.db") == "sqlite:///file.db"
