"""The audit: an append-only table whose rows form a hash chain, so that a change or a missing row shows.

A row's hash covers its content and the hash of the row before it. The head (number and hash of the last row) is kept
apart, so that rows cut off at the end show too; a seal of a run repeats the head outside this table.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Integer, String, Text, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from db.base import PREFIX, Base, Instant, now

GENESIS = "0" * 64
HEAD_ID = 1


class AuditEvent(Base):
    """One thing that happened; `event` is noun.participle, `subject` the key of a series, or empty."""

    __tablename__ = f"{PREFIX}audit"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(Instant)
    event: Mapped[str] = mapped_column(String(64), index=True)
    subject: Mapped[str] = mapped_column(String(64), index=True)
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))

    def as_dict(self) -> dict[str, Any]:
        """Return the row for printing."""
        return {
            "number": self.number,
            "at": self.at.isoformat(),
            "event": self.event,
            "subject": self.subject,
            "details": self.details,
            "hash": self.hash,
        }


class AuditHead(Base):
    """The number and hash of the last row; one row only."""

    __tablename__ = f"{PREFIX}audit_head"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(Integer)
    hash: Mapped[str] = mapped_column(Text)


@dataclass(frozen=True)
class Verification:
    """What a walk along the chain found; `first_bad` is the number of the first wrong row."""

    is_intact: bool
    n_rows: int
    first_bad: int | None
    sentence: str
    head: str


def append(session: Session, event: str, subject: str = "", details: Mapping[str, Any] | None = None) -> AuditEvent:
    """Append one event inside the caller's transaction, and return it."""
    head = session.get(AuditHead, HEAD_ID)
    if head is None:
        head = AuditHead(id=HEAD_ID, number=0, hash=GENESIS)
        session.add(head)
    row = AuditEvent(
        number=head.number + 1,
        at=now(),
        event=event,
        subject=subject,
        details=json.loads(canonical(details or {})),
        previous_hash=head.hash,
        hash="",
    )
    row.hash = _hash(row)
    session.add(row)
    head.number, head.hash = row.number, row.hash
    session.flush()
    return row


def head(session: Session) -> tuple[int, str]:
    """Return number and hash of the last row."""
    found = session.get(AuditHead, HEAD_ID)
    return (found.number, found.hash) if found else (0, GENESIS)


def list_events(session: Session, subject: str | None = None, limit: int | None = None) -> list[AuditEvent]:
    """Return events in the order of the chain; only the last `limit`, only those of one series, where given."""
    query = select(AuditEvent).order_by(AuditEvent.number.desc())
    if subject is not None:
        query = query.where(AuditEvent.subject == subject)
    if limit is not None:
        query = query.limit(limit)
    return list(reversed(session.scalars(query).all()))


def verify(session: Session) -> Verification:
    """Walk along the whole chain and say whether every row is as it was written."""
    previous, n_rows = GENESIS, 0
    for row in session.scalars(select(AuditEvent).order_by(AuditEvent.number)).yield_per(1000):
        n_rows += 1
        if row.number != n_rows or row.previous_hash != previous:
            return _broken(n_rows, n_rows, previous, f"Row {n_rows} of the audit is missing or out of order.")
        if row.hash != _hash(row):
            return _broken(n_rows, row.number, previous, f"Row {row.number} of the audit was changed after writing.")
        previous = row.hash
    number, hash_of_head = head(session)
    if (number, hash_of_head) != (n_rows, previous):
        return _broken(n_rows, n_rows + 1, previous, f"The audit ends at row {n_rows}, but {number} were written.")
    return Verification(True, n_rows, None, f"All {n_rows} rows of the audit are as they were written.", previous)


def canonical(value: Any) -> str:
    """Return the one JSON text of `value`: keys sorted, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=_plain)


def digest(parts: Sequence[str]) -> str:
    """Return the SHA-256 of `parts`, each on its own line."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be written to the audit")


def _hash(row: AuditEvent) -> str:
    at = row.at.isoformat(timespec="microseconds")
    return digest([row.previous_hash, str(row.number), at, row.event, row.subject, canonical(row.details)])


def _broken(n_rows: int, first_bad: int, hash_before: str, sentence: str) -> Verification:
    return Verification(False, n_rows, first_bad, sentence, hash_before)
