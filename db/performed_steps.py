"""The performed procedure steps: what scanners say they have begun and ended, and which objects they list."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import JSON, ForeignKey, Integer, String, Text, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from db.base import PREFIX, Base, Instant, now
from db.instances import Instance, Standing

IN_PROGRESS, COMPLETED, DISCONTINUED = "IN PROGRESS", "COMPLETED", "DISCONTINUED"
# A scanner that was switched off never ends its step; nobody is examined for longer than this.
LONGEST_STEP = timedelta(hours=24)
# SQLite takes a bounded number of values in one query.
_AT_ONCE = 500


class Step(Base):
    """One step, from its creation on; `begun_sha256` and `last_sha256` are those of the messages about it.

    `ended_at` is set once the state is COMPLETED or DISCONTINUED; then nothing changes any more.
    """

    __tablename__ = f"{PREFIX}performed_steps"

    sop_instance_uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    calling_ae: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16), index=True)
    study_instance_uids: Mapped[list[str]] = mapped_column(JSON, default=list)
    begun_sha256: Mapped[str] = mapped_column(String(64))
    last_sha256: Mapped[str | None] = mapped_column(String(64))
    begun_at: Mapped[datetime] = mapped_column(Instant, default=now)
    changed_at: Mapped[datetime] = mapped_column(Instant, default=now)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)

    def as_dict(self) -> dict[str, Any]:
        """Return the row for printing; times as ISO 8601 text."""
        columns = {column.name: getattr(self, column.name) for column in self.__table__.columns}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in columns.items()}


class ListedSeries(Base):
    """The objects of one kind that a step lists in one series."""

    __tablename__ = f"{PREFIX}performed_series"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    step_uid: Mapped[str] = mapped_column(ForeignKey(f"{PREFIX}performed_steps.sop_instance_uid"), index=True)
    series_instance_uid: Mapped[str] = mapped_column(Text, index=True)
    sop_class_uid: Mapped[str] = mapped_column(Text)
    sop_instance_uids: Mapped[list[str]] = mapped_column(JSON, default=list)


@dataclass(frozen=True)
class Listing:
    """A series, the kind of its objects, and the objects themselves, as a step lists them."""

    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uids: Sequence[str]


def find(session: Session, sop_instance_uid: str) -> Step | None:
    """Return the step with that UID, or None."""
    return session.get(Step, sop_instance_uid)


def begin(session: Session, sop_instance_uid: str, calling_ae: str, studies: Sequence[str], sha256: str) -> Step:
    """Add a step in progress."""
    step = Step(
        sop_instance_uid=sop_instance_uid,
        calling_ae=calling_ae,
        state=IN_PROGRESS,
        study_instance_uids=list(studies),
        begun_sha256=sha256,
        begun_at=now(),
        changed_at=now(),
    )
    session.add(step)
    session.flush()
    return step


def change(session: Session, step: Step, state: str, sha256: str) -> None:
    """Set a step's state and remember the message that said so."""
    step.state, step.last_sha256, step.changed_at = state, sha256, now()
    if state != IN_PROGRESS:
        step.ended_at = step.changed_at


def list_anew(session: Session, step: Step, listings: Iterable[Listing]) -> None:
    """Replace what a step lists: N-SET replaces a sequence as a whole (PS3.7 section 10.1.3)."""
    session.execute(delete(ListedSeries).where(ListedSeries.step_uid == step.sop_instance_uid))
    for one in listings:
        row = ListedSeries(
            step_uid=step.sop_instance_uid,
            series_instance_uid=one.series_instance_uid,
            sop_class_uid=one.sop_class_uid,
            sop_instance_uids=list(one.sop_instance_uids),
        )
        session.add(row)
    session.flush()


def listed_by(session: Session, step_uids: Iterable[str]) -> list[ListedSeries]:
    """Return everything that some steps list."""
    query = select(ListedSeries).where(ListedSeries.step_uid.in_(sorted(set(step_uids))))
    return list(session.scalars(query.order_by(ListedSeries.id)).all())


def listings_of(session: Session, series_instance_uid: str, sop_class_uid: str) -> list[tuple[Step, ListedSeries]]:
    """Return the steps that list objects of that kind in a series, each with its list."""
    query = (
        select(Step, ListedSeries)
        .join(ListedSeries, ListedSeries.step_uid == Step.sop_instance_uid)
        .where(ListedSeries.series_instance_uid == series_instance_uid, ListedSeries.sop_class_uid == sop_class_uid)
        .order_by(ListedSeries.id)
    )
    return [(step, listed) for step, listed in session.execute(query).all()]


def open_in_study(session: Session, study_instance_uid: str) -> list[Step]:
    """Return a study's recent steps that may still concern any of its series.

    Those are the steps in progress, and those that were discontinued without a list of what they had made.
    """
    lists_something = select(ListedSeries.step_uid).where(ListedSeries.step_uid == Step.sop_instance_uid).exists()
    query = select(Step).where(
        Step.begun_at > now() - LONGEST_STEP,
        (Step.state == IN_PROGRESS) | ((Step.state == DISCONTINUED) & ~lists_something),
    )
    return [step for step in session.scalars(query).all() if study_instance_uid in step.study_instance_uids]


def not_here(session: Session, sop_instance_uids: Iterable[str]) -> list[str]:
    """Return those of the objects that have not arrived, in the order of their UIDs."""
    wanted = sorted(set(sop_instance_uids))
    here: set[str] = set()
    for first in range(0, len(wanted), _AT_ONCE):
        some = wanted[first : first + _AT_ONCE]
        query = select(Instance.sop_instance_uid).where(
            Instance.sop_instance_uid.in_(some), Instance.standing == Standing.KEPT
        )
        here.update(session.scalars(query).all())
    return [uid for uid in wanted if uid not in here]
