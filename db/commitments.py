"""The commitments: every request to a peer to keep objects safe, and what it answered, however late (PS3.4 annex J)."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Integer, String, Text, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from db.base import PREFIX, Base, Instant, now


class CommitmentState(StrEnum):
    """Planned before the peer is asked, asked when it has taken the request, and answered or overdue in the end."""

    PLANNED = "planned"
    ASKED = "asked"
    ANSWERED = "answered"
    OVERDUE = "overdue"
    DECLINED = "declined"


class Commitment(Base):
    """One transaction of storage commitment, written before the request so that no answer can come too early."""

    __tablename__ = f"{PREFIX}commitments"

    transaction_uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    run_key: Mapped[str] = mapped_column(ForeignKey(f"{PREFIX}runs.key"), index=True)
    peer: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    sop_instance_uids: Mapped[list[str]] = mapped_column(JSON, default=list)
    requested_at: Mapped[datetime] = mapped_column(Instant, default=now)
    answer_by: Mapped[datetime | None] = mapped_column(Instant)
    answered_at: Mapped[datetime | None] = mapped_column(Instant)
    n_committed: Mapped[int] = mapped_column(Integer, default=0)
    n_failed: Mapped[int] = mapped_column(Integer, default=0)

    def as_dict(self) -> dict[str, Any]:
        """Return the row for printing; times as ISO 8601 text, and how many objects were asked for."""
        columns = {column.name: getattr(self, column.name) for column in self.__table__.columns}
        columns["n_asked"] = len(columns.pop("sop_instance_uids"))
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in columns.items()}


def plan(
    session: Session, transaction_uid: str, run_key: str, peer: str, uids: list[str], answer_by: datetime
) -> Commitment:
    """Add a transaction that is about to be requested."""
    row = Commitment(
        transaction_uid=transaction_uid,
        run_key=run_key,
        peer=peer,
        state=CommitmentState.PLANNED,
        sop_instance_uids=uids,
        requested_at=now(),
        answer_by=answer_by,
        n_committed=0,
        n_failed=0,
    )
    session.add(row)
    session.flush()
    return row


def find(session: Session, transaction_uid: str) -> Commitment | None:
    """Return the transaction with that UID, or None where nobody here asked for it."""
    return session.get(Commitment, transaction_uid)


def of_run(session: Session, run_key: str, peer: str | None = None) -> list[Commitment]:
    """Return a run's transactions in the order in which they were requested, with one peer where given."""
    query = select(Commitment).where(Commitment.run_key == run_key)
    if peer is not None:
        query = query.where(Commitment.peer == peer)
    return list(session.scalars(query.order_by(Commitment.requested_at, Commitment.transaction_uid)).all())


def count(session: Session, run_key: str, peer: str) -> int:
    """Return how many transactions a run has had with a peer."""
    query = select(func.count()).where(Commitment.run_key == run_key, Commitment.peer == peer)
    return session.scalar(query) or 0
