"""The dispatches: for every run and peer, which job of the engine is the present one.

Jobs to one peer form one line. Whoever wants an earlier look enqueues the next number; the job that waits under an
older one finds itself superseded when its time comes, and does nothing.
"""

from sqlalchemy import ForeignKey, Integer, Text, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from db.base import PREFIX, Base
from db.runs import Run
from db.series import Series, State


class Dispatch(Base):
    """The line of jobs to one peer; `pauses` counts the attempts in a row that brought nothing."""

    __tablename__ = f"{PREFIX}dispatches"
    __table_args__ = (UniqueConstraint("run_key", "peer"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    run_key: Mapped[str] = mapped_column(ForeignKey(f"{PREFIX}runs.key"), index=True)
    peer: Mapped[str] = mapped_column(Text)
    job_number: Mapped[int] = mapped_column(Integer, default=0)
    running_job: Mapped[int | None] = mapped_column(Integer)
    pauses: Mapped[int] = mapped_column(Integer, default=0)


def of(session: Session, run_key: str, peer: str) -> Dispatch:
    """Return the line of jobs to a peer, a new one where there is none."""
    found = session.scalars(select(Dispatch).where(Dispatch.run_key == run_key, Dispatch.peer == peer)).one_or_none()
    if found is None:
        found = Dispatch(run_key=run_key, peer=peer, job_number=0, pauses=0)
        session.add(found)
        session.flush()
    return found


def take(session: Session, run_key: str, peer: str, number: int) -> bool:
    """Let job `number` be the running one; say no where a newer job has taken its place."""
    line = of(session, run_key, peer)
    if number < line.job_number:
        return False
    line.job_number = line.running_job = number
    return True


def next_number(line: Dispatch) -> int:
    """Return the number of the next job, which supersedes every job that still waits."""
    line.job_number += 1
    return line.job_number


def of_encoded(session: Session) -> list[tuple[str, int, str, int]]:
    """Return series key, revision, peer and newest job of every line whose series is not concluded."""
    query = (
        select(Series.key, Run.revision, Dispatch.peer, Dispatch.job_number)
        .join(Run, Run.key == Dispatch.run_key)
        .join(Series, Series.key == Run.series_key)
        .where(Series.state == State.ENCODED, Series.revision == Run.revision)
    )
    return [(key, revision, peer, number) for key, revision, peer, number in session.execute(query)]
