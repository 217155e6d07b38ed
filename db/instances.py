"""The instances: one row per file in the inbox, with its digests, its sender and what its header says of its frames."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, String, Text, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from db.base import PREFIX, Base, Instant, now


class Standing(StrEnum):
    """Whether an instance takes part, or is set aside because an instance with its UID and other bytes came first."""

    KEPT = "kept"
    CONFLICTING = "conflicting"


class Instance(Base):
    """One file in the inbox.

    `sha256` covers the file, `dataset_sha256` the bytes that the sender encoded. `frames` are the headers of its frames
    as plain dictionaries, or None where the header could not be read for the reason in `refusal_class` and `sentence`.
    `creator_version_uid` says whose raw data the file holds, None for everything else.
    """

    __tablename__ = f"{PREFIX}instances"
    __table_args__ = (
        Index(
            "uq_lodestone_instances_kept",
            "sop_instance_uid",
            unique=True,
            sqlite_where=text("standing = 'kept'"),
            postgresql_where=text("standing = 'kept'"),
        ),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    series_key: Mapped[str] = mapped_column(ForeignKey(f"{PREFIX}series.key"), index=True)
    sop_instance_uid: Mapped[str] = mapped_column(Text, index=True)
    sop_class_uid: Mapped[str] = mapped_column(Text)
    transfer_syntax_uid: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    dataset_sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    inbox_name: Mapped[str] = mapped_column(String(128))
    calling_ae: Mapped[str] = mapped_column(Text)
    received_at: Mapped[datetime] = mapped_column(Instant, default=now)
    standing: Mapped[str] = mapped_column(String(16))
    frames: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON)
    refusal_class: Mapped[str | None] = mapped_column(String(64))
    sentence: Mapped[str | None] = mapped_column(Text)
    creator_version_uid: Mapped[str | None] = mapped_column(String(64), index=True)

    def as_input(self) -> dict[str, Any]:
        """Return what the record of a run says about an input."""
        return {
            "SOPInstanceUID": self.sop_instance_uid,
            "SOPClassUID": self.sop_class_uid,
            "TransferSyntaxUID": self.transfer_syntax_uid,
            "sha256": self.sha256,
            "dataset_sha256": self.dataset_sha256,
            "calling_ae": self.calling_ae,
            "received_at": self.received_at.isoformat(),
        }


def with_uid(session: Session, sop_instance_uid: str) -> list[Instance]:
    """Return every instance with that UID: the kept one first, then those set aside."""
    query = select(Instance).where(Instance.sop_instance_uid == sop_instance_uid).order_by(Instance.id)
    return list(session.scalars(query).all())


def of_series(session: Session, series_keys: list[str], standing: Standing = Standing.KEPT) -> list[Instance]:
    """Return the instances of some series, in the order of their SOPInstanceUIDs."""
    query = select(Instance).where(Instance.series_key.in_(series_keys), Instance.standing == standing)
    return list(session.scalars(query.order_by(Instance.sop_instance_uid)).all())


def series_of_creator(session: Session, creator_version_uid: str) -> set[str]:
    """Return the keys of the series that hold raw data of a creator's version (0008,9123)."""
    query = select(Instance.series_key).where(Instance.creator_version_uid == creator_version_uid)
    return set(session.scalars(query).all())
