"""The deliveries: for every object and every peer, what has been tried and what the peer answered."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Integer, String, Text, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from db.base import PREFIX, Base, Instant, now


class DeliveryState(StrEnum):
    """Pending until the peer has answered with success, or until Lodestone gives up."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Delivery(Base):
    """One object on its way to one peer; `status` is the last C-STORE status, e.g. `0x0000`."""

    __tablename__ = f"{PREFIX}deliveries"
    __table_args__ = (UniqueConstraint("run_key", "sop_instance_uid", "peer"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    run_key: Mapped[str] = mapped_column(ForeignKey(f"{PREFIX}runs.key"), index=True)
    sop_instance_uid: Mapped[str] = mapped_column(String(64))
    peer: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    status: Mapped[str | None] = mapped_column(String(16))
    sentence: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(Instant, default=now)
    last_attempt_at: Mapped[datetime | None] = mapped_column(Instant)
    next_attempt_at: Mapped[datetime | None] = mapped_column(Instant)
    delivered_at: Mapped[datetime | None] = mapped_column(Instant)

    def as_dict(self) -> dict[str, Any]:
        """Return the row for printing; times as ISO 8601 text."""
        columns = {column.name: getattr(self, column.name) for column in self.__table__.columns if column.name != "id"}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in columns.items()}


def plan(session: Session, run_key: str, sop_instance_uids: Iterable[str], peers: Iterable[str]) -> None:
    """Add a pending delivery for every object and peer that has none yet."""
    known = {(row.sop_instance_uid, row.peer) for row in of_run(session, run_key)}
    for peer in peers:
        for uid in sop_instance_uids:
            if (uid, peer) not in known:
                session.add(
                    Delivery(
                        run_key=run_key,
                        sop_instance_uid=uid,
                        peer=peer,
                        state=DeliveryState.PENDING,
                        attempts=0,
                        sentence="",
                        created_at=now(),
                    )
                )


def of_run(session: Session, run_key: str, peer: str | None = None) -> list[Delivery]:
    """Return a run's deliveries, to one peer where given."""
    query = select(Delivery).where(Delivery.run_key == run_key)
    if peer is not None:
        query = query.where(Delivery.peer == peer)
    return list(session.scalars(query.order_by(Delivery.peer, Delivery.id)).all())


def summary(rows: Iterable[Delivery]) -> dict[str, dict[str, Any]]:
    """Return per peer: how many objects are in each state, the last status and sentence, and the most attempts."""
    peers: dict[str, dict[str, Any]] = {}
    for row in rows:
        entry = peers.setdefault(row.peer, {state.value: 0 for state in DeliveryState} | {"attempts": 0})
        entry[row.state] += 1
        entry["attempts"] = max(entry["attempts"], row.attempts)
        if row.status:
            entry["status"] = row.status
        if row.sentence:
            entry["sentence"] = row.sentence
    return peers
