"""The outputs: every DICOM object that Lodestone made, known by its UID before it is sent."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Integer, String, Text, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from db.base import PREFIX, Base, Instant, now


class Output(Base):
    """One object made by a run; `path` is its place under the outbox.

    A second run on the same inputs with the same recipe and software makes the same object again, under the same UID.
    """

    __tablename__ = f"{PREFIX}outputs"
    __table_args__ = (UniqueConstraint("run_key", "sop_instance_uid"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    sop_instance_uid: Mapped[str] = mapped_column(String(64), index=True)
    run_key: Mapped[str] = mapped_column(ForeignKey(f"{PREFIX}runs.key"), index=True)
    series_instance_uid: Mapped[str] = mapped_column(String(64), index=True)
    sop_class_uid: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(32))
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    path: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Instant, default=now)

    def as_dict(self) -> dict[str, Any]:
        """Return what the record of a run says about an output."""
        return {
            "SOPInstanceUID": self.sop_instance_uid,
            "SeriesInstanceUID": self.series_instance_uid,
            "SOPClassUID": self.sop_class_uid,
            "kind": self.kind,
            "sha256": self.sha256,
            "size": self.size,
            "path": self.path,
        }


def newest(session: Session, sop_instance_uid: str) -> Output | None:
    """Return the object with that UID as the newest run made it, or None."""
    query = select(Output).where(Output.sop_instance_uid == sop_instance_uid).order_by(Output.id.desc())
    return session.scalars(query).first()


def of_run(session: Session, run_key: str) -> list[Output]:
    """Return a run's objects in the order in which they were made: images first, documents last."""
    return list(session.scalars(select(Output).where(Output.run_key == run_key).order_by(Output.id)).all())


def kinds_of(session: Session, run_keys: Iterable[str]) -> dict[str, dict[str, int]]:
    """Return how many objects of which kind some runs have made; runs that made nothing are absent."""
    query = select(Output.run_key, Output.kind, func.count()).where(Output.run_key.in_(sorted(set(run_keys))))
    counts: dict[str, dict[str, int]] = {}
    for run_key, kind, count in session.execute(query.group_by(Output.run_key, Output.kind).order_by(Output.kind)):
        counts.setdefault(run_key, {})[kind] = count
    return counts
