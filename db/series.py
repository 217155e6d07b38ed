"""The series: its state on the journey, and the one function that changes it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Float, ForeignKey, Index, Integer, String, Text, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from db import audit
from db.base import PREFIX, Base, Instant, new_key, now
from db.errors import NotInRecord, StateConflict, Superseded


class State(StrEnum):
    """Where a series is: the seven words, and the ends that are not the last word.

    `ignored` is no failure: the series is none that is to be mapped, and its sentence says why.
    """

    RECEIVED = "received"
    ASSEMBLED = "assembled"
    RECONSTRUCTED = "reconstructed"
    MAPPED = "mapped"
    ENCODED = "encoded"
    DELIVERED = "delivered"
    RECORDED = "recorded"
    REFUSED = "refused"
    FAILED = "failed"
    JOINED = "joined"
    IGNORED = "ignored"


JOURNEY = (
    State.RECEIVED,
    State.ASSEMBLED,
    State.RECONSTRUCTED,
    State.MAPPED,
    State.ENCODED,
    State.DELIVERED,
    State.RECORDED,
)
ENDS = (State.RECORDED, State.REFUSED, State.FAILED, State.JOINED, State.IGNORED)
UNDER_WAY = JOURNEY[:-1]


class Series(Base):
    """One series that arrived, of one kind of object; a series whose header names none has no `series_instance_uid`.

    Scanners export one SeriesInstanceUID as classic images, as one enhanced object and as raw data (Philips Ingenia
    5.7.1 does): each kind stands for the whole acquisition, so each is a series of its own here.

    `revision` grows when an instance arrives after the work began, or a person asks for a new try. `partner_key` of a
    joined series names the series with which it is mapped.

    Where rules map a series by several recipes, each further map is a row of its own, which travels by itself: it has
    no instances and no `series_instance_uid`; `map_of` names its series and `map_by` its recipe and encoding.
    """

    __tablename__ = f"{PREFIX}series"
    __table_args__ = (
        UniqueConstraint("series_instance_uid", "sop_class_uid"),
        Index("uq_lodestone_series_map", "map_of", "map_by", unique=True),
    )

    key: Mapped[str] = mapped_column(String(32), primary_key=True)
    series_instance_uid: Mapped[str | None] = mapped_column(Text)
    sop_class_uid: Mapped[str] = mapped_column(Text, default="")
    study_instance_uid: Mapped[str | None] = mapped_column(Text, index=True)
    calling_ae: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16), index=True)
    revision: Mapped[int] = mapped_column(Integer, default=1)
    n_instances: Mapped[int] = mapped_column(Integer, default=0)
    rule: Mapped[str | None] = mapped_column(Text)
    recipe: Mapped[str | None] = mapped_column(Text)
    destinations: Mapped[list[str]] = mapped_column(JSON, default=list)
    refusal_class: Mapped[str | None] = mapped_column(String(64))
    sentence: Mapped[str] = mapped_column(Text, default="")
    completeness: Mapped[str] = mapped_column(Text, default="")
    partner_key: Mapped[str | None] = mapped_column(ForeignKey(f"{PREFIX}series.key"), index=True)
    map_of: Mapped[str | None] = mapped_column(String(32))
    map_by: Mapped[str | None] = mapped_column(Text)
    progress_step: Mapped[str | None] = mapped_column(String(64))
    progress_fraction: Mapped[float | None] = mapped_column(Float)
    workflow_id: Mapped[str | None] = mapped_column(String(128))
    created_at: Mapped[datetime] = mapped_column(Instant, default=now)
    changed_at: Mapped[datetime] = mapped_column(Instant, default=now)
    last_received_at: Mapped[datetime] = mapped_column(Instant, default=now)
    association_ended_at: Mapped[datetime | None] = mapped_column(Instant)
    enqueued_at: Mapped[datetime | None] = mapped_column(Instant)

    @property
    def source_key(self) -> str:
        """Return the key of the series that holds the instances: its own, unless this is a further map."""
        return self.map_of or self.key

    def as_dict(self) -> dict[str, Any]:
        """Return the row for printing; times as ISO 8601 text."""
        columns = {column.name: getattr(self, column.name) for column in self.__table__.columns}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in columns.items()}


def create(
    session: Session, series_uid: str | None, study_uid: str | None, calling_ae: str, sop_class_uid: str = ""
) -> Series:
    """Add a series in state `received`."""
    series = Series(
        key=new_key("s"),
        series_instance_uid=series_uid,
        sop_class_uid=sop_class_uid,
        study_instance_uid=study_uid,
        calling_ae=calling_ae,
        state=State.RECEIVED,
        revision=1,
        n_instances=0,
        destinations=[],
        sentence="",
        completeness="",
        created_at=now(),
        changed_at=now(),
        last_received_at=now(),
    )
    session.add(series)
    session.flush()
    audit.append(session, "series.received", series.key, {"SeriesInstanceUID": series_uid, "calling_ae": calling_ae})
    return series


def create_further(session: Session, source: Series, map_by: str) -> Series:
    """Add a further map of a series, by another recipe, in state `received`."""
    further = Series(
        key=new_key("s"),
        sop_class_uid=source.sop_class_uid,
        study_instance_uid=source.study_instance_uid,
        calling_ae=source.calling_ae,
        map_of=source.key,
        map_by=map_by,
        state=State.RECEIVED,
        revision=1,
        n_instances=source.n_instances,
        destinations=[],
        sentence="",
        completeness=source.completeness,
        created_at=now(),
        changed_at=now(),
        last_received_at=source.last_received_at,
    )
    session.add(further)
    session.flush()
    audit.append(session, "series.received", further.key, {"map_of": source.key, "map_by": map_by})
    return further


def get(session: Session, key: str) -> Series:
    """Return the series with `key`.

    Raises
    ------
    NotInRecord
        There is none.
    """
    series = session.get(Series, key)
    if series is None:
        raise NotInRecord(f"The record holds no series {key!r}; `lodestone list` shows all.")
    return series


def by_uid(session: Session, series_uid: str, sop_class_uid: str = "") -> Series | None:
    """Return the series with that SeriesInstanceUID and kind of object, or None."""
    query = select(Series).where(Series.series_instance_uid == series_uid, Series.sop_class_uid == sop_class_uid)
    return session.scalars(query).one_or_none()


def list_series(session: Session, state: str | None = None, limit: int | None = None) -> list[Series]:
    """Return series, the newest first."""
    query = select(Series).order_by(Series.created_at.desc(), Series.key)
    if state is not None:
        query = query.where(Series.state == state)
    if limit is not None:
        query = query.limit(limit)
    return list(session.scalars(query).all())


def waiting(session: Session) -> list[Series]:
    """Return the series that have arrived but wait for more or for their turn to be examined, the oldest first."""
    query = select(Series).where(Series.state == State.RECEIVED, Series.enqueued_at.is_(None), Series.map_of.is_(None))
    return list(session.scalars(query.order_by(Series.created_at)).all())


def under_way(session: Session) -> list[Series]:
    """Return the series on which the job engine works or will work."""
    query = select(Series).where(Series.state.in_(UNDER_WAY), Series.enqueued_at.is_not(None))
    return list(session.scalars(query).all())


def joined_to(session: Session, key: str) -> list[Series]:
    """Return the series that are mapped together with `key`."""
    return list(session.scalars(select(Series).where(Series.partner_key == key).order_by(Series.key)).all())


def further_maps(session: Session, key: str) -> list[Series]:
    """Return the further maps of a series, by other recipes than its own, the oldest first."""
    query = select(Series).where(Series.map_of == key)
    return list(session.scalars(query.order_by(Series.created_at, Series.key)).all())


def uid_of(session: Session, series: Series) -> str | None:
    """Return the SeriesInstanceUID of a series, or of the one that it is a further map of."""
    return get(session, series.source_key).series_instance_uid


def in_study(session: Session, study_uid: str, states: Sequence[str]) -> list[Series]:
    """Return a study's series that are in one of `states`, without further maps."""
    query = select(Series).where(
        Series.study_instance_uid == study_uid, Series.state.in_(states), Series.map_of.is_(None)
    )
    return list(session.scalars(query.order_by(Series.key)).all())


def change_state(
    session: Session,
    series: Series,
    state: State,
    details: Mapping[str, Any] | None = None,
    sentence: str = "",
    refusal_class: str | None = None,
) -> None:
    """Set the state and append its audit row; the only place where a state changes.

    Raises
    ------
    StateConflict
        `state` cannot follow the present state.
    """
    present = State(series.state)
    if not _may_follow(present, state):
        raise StateConflict(f"Series {series.key} is {present}; it cannot become {state}.")
    series.state = state
    series.sentence = sentence
    series.refusal_class = refusal_class
    series.changed_at = now()
    if state in ENDS:
        series.progress_step = series.progress_fraction = None
    content = {"revision": series.revision, **(details or {})}
    if refusal_class:
        content |= {"class": refusal_class, "sentence": sentence}
    audit.append(session, f"series.{state}", series.key, content)


def has_reached(series: Series, state: State) -> bool:
    """Say whether the series is at `state` or beyond, or has ended in another way: then nothing is left to do."""
    if series.state not in JOURNEY:
        return True
    return JOURNEY.index(State(series.state)) >= JOURNEY.index(state)


def expect_revision(series: Series, revision: int) -> None:
    """Check that work for `revision` is still wanted.

    Raises
    ------
    Superseded
        The series has a newer revision, or was joined to another.
    """
    if series.revision != revision or series.state == State.JOINED:
        raise Superseded(f"Series {series.key} is at revision {series.revision}; revision {revision} is dropped.")


def reopen(session: Session, series: Series, reason: str) -> None:
    """Start a new revision in state `received`: an instance arrived late, a partner came, or a person asked."""
    series.revision += 1
    series.state = State.RECEIVED
    series.sentence, series.refusal_class, series.completeness = "", None, ""
    series.enqueued_at = series.workflow_id = series.partner_key = None
    series.progress_step = series.progress_fraction = None
    series.changed_at = now()
    audit.append(session, "series.reopened", series.key, {"revision": series.revision, "reason": reason})


def _may_follow(present: State, wanted: State) -> bool:
    if wanted in (State.REFUSED, State.FAILED, State.IGNORED):
        return present in UNDER_WAY
    if wanted == State.JOINED:
        return present in (State.RECEIVED, State.REFUSED)
    if present not in JOURNEY:
        return False
    return JOURNEY.index(wanted) == JOURNEY.index(present) + 1
