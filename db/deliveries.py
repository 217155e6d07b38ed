"""The deliveries: for every object and every peer, what has been tried, what the peer answered, and what proves it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import ForeignKey, Integer, String, Text, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from db.base import PREFIX, Base, Instant, now
from db.runs import Run


class DeliveryState(StrEnum):
    """Pending until the peer has accepted, accepted until it has committed, and then one of three ends."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    REFUSED = "refused"
    FAILED = "failed"


# SQLite takes no more than some thousand parameters.
KEYS_AT_ONCE = 500
OPEN = (DeliveryState.PENDING, DeliveryState.ACCEPTED)


class Evidence(StrEnum):
    """What proves that a peer holds an object: its answer to the store, its commitment, or a query for the object."""

    ANSWERED = "answered"
    COMMITTED = "committed"
    FOUND = "found"


class Delivery(Base):
    """One object on its way to one peer; `status` is the last answer to a store, e.g. `0x0000`.

    `transaction_uid` names the newest request for commitment that covers the object; `resends` counts how often it had
    to be sent again after the peer had accepted it.
    """

    __tablename__ = f"{PREFIX}deliveries"
    __table_args__ = (UniqueConstraint("run_key", "sop_instance_uid", "peer"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    run_key: Mapped[str] = mapped_column(ForeignKey(f"{PREFIX}runs.key"), index=True)
    sop_instance_uid: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(32), default="", server_default="")
    peer: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    evidence: Mapped[str | None] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    resends: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    status: Mapped[str | None] = mapped_column(String(16))
    sentence: Mapped[str] = mapped_column(Text, default="")
    transaction_uid: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(Instant, default=now)
    last_attempt_at: Mapped[datetime | None] = mapped_column(Instant)
    next_attempt_at: Mapped[datetime | None] = mapped_column(Instant)
    accepted_at: Mapped[datetime | None] = mapped_column(Instant)
    delivered_at: Mapped[datetime | None] = mapped_column(Instant)

    def as_dict(self) -> dict[str, Any]:
        """Return the row for printing; times as ISO 8601 text."""
        columns = {column.name: getattr(self, column.name) for column in self.__table__.columns if column.name != "id"}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in columns.items()}

    def accept(self) -> None:
        """Note that the peer has accepted the object; that alone proves nothing where it offers commitment."""
        self.state, self.accepted_at = DeliveryState.ACCEPTED, now()
        self.transaction_uid = self.next_attempt_at = None

    def deliver(self, evidence: Evidence) -> None:
        """Note what proves that the peer holds the object."""
        self.state, self.evidence = DeliveryState.DELIVERED, evidence
        self.delivered_at, self.next_attempt_at = self.delivered_at or now(), None

    def end(self, state: DeliveryState, sentence: str) -> None:
        """Note that the object will not be sent again, and why."""
        self.state, self.sentence = state, sentence
        self.next_attempt_at = self.evidence = None

    def send_again(self, sentence: str) -> None:
        """Note that the peer does not hold what it had accepted."""
        self.state, self.sentence = DeliveryState.PENDING, sentence
        self.resends += 1
        self.transaction_uid = self.accepted_at = self.delivered_at = self.evidence = None


def plan(
    session: Session,
    run_key: str,
    outputs: Iterable[tuple[str, str]],
    peers: Mapping[str, Collection[str] | None],
) -> None:
    """Add a pending delivery for every object that a peer is to have and that has none yet.

    Parameters
    ----------
    session
        The caller's transaction.
    run_key
        The run that made the objects.
    outputs
        SOPInstanceUID and kind of each object.
    peers
        By name, the kinds that a peer is to have; None for all.
    """
    known = {(row.sop_instance_uid, row.peer) for row in of_run(session, run_key)}
    made = list(outputs)
    for peer, kinds in peers.items():
        for uid, kind in made:
            if (uid, peer) not in known and (kinds is None or kind in kinds):
                session.add(_planned(run_key, uid, kind, peer))


def _planned(run_key: str, uid: str, kind: str, peer: str) -> Delivery:
    return Delivery(
        run_key=run_key,
        sop_instance_uid=uid,
        kind=kind,
        peer=peer,
        state=DeliveryState.PENDING,
        attempts=0,
        resends=0,
        sentence="",
        created_at=now(),
    )


def of_run(session: Session, run_key: str, peer: str | None = None) -> list[Delivery]:
    """Return a run's deliveries, to one peer where given."""
    query = select(Delivery).where(Delivery.run_key == run_key)
    if peer is not None:
        query = query.where(Delivery.peer == peer)
    return list(session.scalars(query.order_by(Delivery.peer, Delivery.id)).all())


def one(session: Session, run_key: str, peer: str, sop_instance_uid: str) -> Delivery:
    """Return the delivery of one object of a run to one peer."""
    query = select(Delivery).where(Delivery.run_key == run_key, Delivery.peer == peer)
    return session.scalars(query.where(Delivery.sop_instance_uid == sop_instance_uid)).one()


def summary(rows: Iterable[Delivery]) -> dict[str, dict[str, Any]]:
    """Return per peer how many objects are in each state and proved in which way, what was refused, and what was said.

    `refused_kinds` names the kinds of objects that a peer does not take; `status` and `sentence` are those of an object
    that is not delivered, where there is one.
    """
    return _per_peer(
        _Alike(row.peer, row.state, row.evidence, row.kind, row.status, row.sentence, 1, row.attempts, row.resends)
        for row in rows
    )


def summaries(session: Session, revisions: Mapping[str, int]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the summary of many series by their keys, each in the revision that is given for it.

    The database counts, since a record holds some hundred objects for each of many thousand series.
    """
    alike = (Delivery.peer, Delivery.state, Delivery.evidence, Delivery.kind, Delivery.status, Delivery.sentence)
    counts = (func.count(), func.max(Delivery.attempts), func.sum(Delivery.resends))
    query = select(Run.series_key, Run.revision, *alike, *counts).join(Run, Run.key == Delivery.run_key)
    query = query.group_by(Run.series_key, Run.revision, *alike).order_by(func.min(Delivery.id))
    keys = list(revisions)
    groups: dict[str, list[_Alike]] = {}
    for start in range(0, len(keys), KEYS_AT_ONCE):
        wanted = query.where(Run.series_key.in_(keys[start : start + KEYS_AT_ONCE]))
        for key, revision, *values in session.execute(wanted):
            if revisions[key] == revision:
                groups.setdefault(key, []).append(_Alike(*values))
    return {key: _per_peer(found) for key, found in groups.items()}


class _Alike(NamedTuple):
    """Deliveries that differ in nothing that a summary tells, and how many they are."""

    peer: str
    state: str
    evidence: str | None
    kind: str
    status: str | None
    sentence: str
    n_alike: int
    attempts: int
    resends: int


def _per_peer(groups: Iterable[_Alike]) -> dict[str, dict[str, Any]]:
    peers: dict[str, list[_Alike]] = {}
    for group in groups:
        peers.setdefault(group.peer, []).append(group)
    return {peer: _summary_of_one(peers[peer]) for peer in sorted(peers)}


def _summary_of_one(groups: Sequence[_Alike]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        state.value: sum(group.n_alike for group in groups if group.state == state) for state in DeliveryState
    }
    entry |= {kind.value: sum(group.n_alike for group in groups if group.evidence == kind) for kind in Evidence}
    entry["attempts"] = max(group.attempts for group in groups)
    entry["resends"] = sum(group.resends for group in groups)
    refused = {group.kind for group in groups if group.state == DeliveryState.REFUSED}
    if refused:
        entry["refused_kinds"] = sorted(refused)
    # What went well says nothing where something else did not.
    told = sorted(groups, key=lambda group: group.state != DeliveryState.DELIVERED)
    for name in ("status", "sentence"):
        said = [getattr(group, name) for group in told if getattr(group, name)]
        if said:
            entry[name] = said[-1]
    return entry
