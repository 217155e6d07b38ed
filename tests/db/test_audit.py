"""The audit shows every change to it: a row altered, a row missing, rows cut off at the end."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from db import audit
from db.audit import GENESIS
from db.session import Database


def write_three(database: Database) -> None:
    for number in range(3):
        with database.begin() as session:
            audit.append(session, "instance.received", f"s-{number}", {"sha256": f"{number:064x}", "size": 0.1})


def remove_the_guard(database: Database) -> None:
    with database.begin() as session:
        if database.is_sqlite:
            session.execute(text("DROP TRIGGER lodestone_audit_no_UPDATE"))
            session.execute(text("DROP TRIGGER lodestone_audit_no_DELETE"))
        else:
            session.execute(text("DROP TRIGGER lodestone_audit_append_only ON lodestone_audit"))


def test_an_untouched_audit_is_intact(database: Database) -> None:
    write_three(database)
    with database.read() as session:
        found = audit.verify(session)
        assert found.is_intact
        assert found.n_rows == 3
        assert audit.head(session) == (3, found.head)


def test_an_empty_audit_is_intact(database: Database) -> None:
    with database.read() as session:
        assert audit.verify(session).is_intact
        assert audit.head(session) == (0, GENESIS)


@pytest.mark.parametrize("statement", ["UPDATE lodestone_audit SET subject = 'x'", "DELETE FROM lodestone_audit"])
def test_the_database_itself_refuses_to_change_the_audit(database: Database, statement: str) -> None:
    write_three(database)
    with pytest.raises(DatabaseError, match="append-only"), database.begin() as session:
        session.execute(text(statement))


@pytest.mark.parametrize(
    ("statement", "first_bad", "word"),
    [
        ("UPDATE lodestone_audit SET event = 'x' WHERE number = 2", 2, "changed"),
        ("UPDATE lodestone_audit SET details = '{}' WHERE number = 3", 3, "changed"),
        ("UPDATE lodestone_audit SET at = '2020-01-01 00:00:00' WHERE number = 1", 1, "changed"),
        ("DELETE FROM lodestone_audit WHERE number = 2", 2, "missing"),
        ("DELETE FROM lodestone_audit WHERE number = 3", 3, "3 were written"),
        ("DELETE FROM lodestone_audit", 1, "3 were written"),
    ],
)
def test_tampering_is_found_at_the_row_where_it_begins(
    database: Database, statement: str, first_bad: int, word: str
) -> None:
    write_three(database)
    remove_the_guard(database)
    with database.begin() as session:
        session.execute(text(statement))
    with database.read() as session:
        found = audit.verify(session)
    assert not found.is_intact
    assert found.first_bad == first_bad
    assert word in found.sentence


def test_events_are_listed_in_order_and_by_subject(database: Database) -> None:
    write_three(database)
    with database.read() as session:
        assert [row.number for row in audit.list_events(session)] == [1, 2, 3]
        assert [row.number for row in audit.list_events(session, limit=2)] == [2, 3]
        assert [row.subject for row in audit.list_events(session, "s-1")] == ["s-1"]


def test_the_same_content_has_one_canonical_text() -> None:
    assert audit.canonical({"b": 1, "a": [1.5, "ä"]}) == audit.canonical({"a": [1.5, "ä"], "b": 1})
    with pytest.raises(TypeError, match="bytes"):
        audit.canonical({"a": b""})
