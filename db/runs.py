"""The runs: what went into one mapping, with which recipe and software, how long each step took, and its seal."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Integer, String, Text, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from db.base import PREFIX, Base, Instant, new_key, now
from db.errors import NotInRecord


class Run(Base):
    """One revision of a series on its way; `seal` covers `seal_document`, and is set last."""

    __tablename__ = f"{PREFIX}runs"
    __table_args__ = (UniqueConstraint("series_key", "revision"),)

    key: Mapped[str] = mapped_column(String(32), primary_key=True)
    series_key: Mapped[str] = mapped_column(ForeignKey(f"{PREFIX}series.key"), index=True)
    revision: Mapped[int] = mapped_column(Integer)
    inputs: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    input_digest: Mapped[str] = mapped_column(String(64))
    acquisition: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    recipe_name: Mapped[str] = mapped_column(Text)
    recipe_text: Mapped[str] = mapped_column(Text)
    recipe_digest: Mapped[str] = mapped_column(String(64))
    software: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    device: Mapped[str] = mapped_column(Text, default="")
    steps: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    quality: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    regions: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    performed_at: Mapped[datetime] = mapped_column(Instant)
    seal_document: Mapped[str | None] = mapped_column(Text)
    seal: Mapped[str | None] = mapped_column(String(64))
    sealed_at: Mapped[datetime | None] = mapped_column(Instant)


def find(session: Session, series_key: str, revision: int) -> Run | None:
    """Return the run of a revision, or None."""
    return session.scalars(select(Run).where(Run.series_key == series_key, Run.revision == revision)).one_or_none()


def get(session: Session, series_key: str, revision: int) -> Run:
    """Return the run of a revision.

    Raises
    ------
    NotInRecord
        The series has not been assembled in this revision.
    """
    run = find(session, series_key, revision)
    if run is None:
        raise NotInRecord(f"Series {series_key} has no run in revision {revision}.")
    return run


def of_series(session: Session, series_keys: Iterable[str]) -> list[Run]:
    """Return the runs of some series, each series' oldest revision first."""
    query = select(Run).where(Run.series_key.in_(sorted(set(series_keys))))
    return list(session.scalars(query.order_by(Run.series_key, Run.revision)).all())


def begin(session: Session, series_key: str, revision: int, **columns: Any) -> Run:
    """Return the run of a revision, made from `columns` where there is none.

    `performed_at` is written into the objects, so it is set once: a further run with the same inputs, recipe and
    software takes that of the first, and makes the same bytes.
    """
    run = find(session, series_key, revision)
    if run is None:
        run = Run(
            key=new_key("r"),
            series_key=series_key,
            revision=revision,
            performed_at=now(),
            steps={},
            quality={},
            regions=[],
            device="",
        )
    for name, value in columns.items():
        setattr(run, name, value)
    session.add(run)
    twin = _earlier_twin(session, run)
    if twin is not None:
        run.performed_at = twin.performed_at
    session.flush()
    return run


def _earlier_twin(session: Session, run: Run) -> Run | None:
    query = select(Run).where(
        Run.series_key == run.series_key,
        Run.revision < run.revision,
        Run.input_digest == run.input_digest,
        Run.recipe_digest == run.recipe_digest,
    )
    with session.no_autoflush:
        earlier = session.scalars(query.order_by(Run.revision)).all()
    return next((one for one in earlier if one.software == run.software), None)


def record_step(run: Run, step: str, started_at: datetime, details: dict[str, Any] | None = None) -> None:
    """Note when a step of the journey ran; JSON columns notice only a new object."""
    ended_at = now()
    entry = {
        "started_at": started_at.isoformat(),
        "ended_at": ended_at.isoformat(),
        "seconds": round((ended_at - started_at).total_seconds(), 3),
        **(details or {}),
    }
    run.steps = {**run.steps, step: entry}
