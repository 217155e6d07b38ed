"""The artefacts: which content-addressed file in the workspace holds what a step made."""

from datetime import datetime

from sqlalchemy import ForeignKey, Integer, String, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from db.base import PREFIX, Base, Instant, now
from db.errors import NotInRecord


class Artefact(Base):
    """One artefact of one revision of a series; `digest` is the SHA-256 of its file."""

    __tablename__ = f"{PREFIX}artefacts"
    __table_args__ = (UniqueConstraint("series_key", "revision", "name"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    series_key: Mapped[str] = mapped_column(ForeignKey(f"{PREFIX}series.key"), index=True)
    revision: Mapped[int] = mapped_column(Integer)
    name: Mapped[str] = mapped_column(String(32))
    digest: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(Instant, default=now)


def find(session: Session, series_key: str, revision: int, name: str) -> Artefact | None:
    """Return an artefact, or None."""
    query = select(Artefact).where(
        Artefact.series_key == series_key, Artefact.revision == revision, Artefact.name == name
    )
    return session.scalars(query).one_or_none()


def digest_of(session: Session, series_key: str, revision: int, name: str) -> str:
    """Return the digest of an artefact.

    Raises
    ------
    NotInRecord
        The step that makes it has not run.
    """
    found = find(session, series_key, revision, name)
    if found is None:
        raise NotInRecord(f"Series {series_key} has no artefact {name!r} in revision {revision}.")
    return found.digest


def remember(session: Session, series_key: str, revision: int, name: str, digest: str) -> None:
    """Record the digest of an artefact; a second run of its step replaces the first."""
    found = find(session, series_key, revision, name)
    if found is not None:
        found.digest, found.created_at = digest, now()
    else:
        session.add(Artefact(series_key=series_key, revision=revision, name=name, digest=digest, created_at=now()))
