"""Which series are mapped together: magnitude with phase, real with imaginary, and the echoes of a scan kept apart.

The grouping is that of a folder's files. What nothing but the grid proves to belong together may have a nearer partner
on its way, so it is joined only when the associations are over and nothing more comes.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session

from db import instances, series
from db.base import now
from db.series import Series, State
from dicom_io.read.assembly import Instance
from dicom_io.read.folder import group_series
from dicom_io.read.headers import FrameHeader
from dicom_io.read.sorting import assess
from dicom_io.series import Part
from node.journey.assembled_further import reopen_with_further
from node.settings import CompletenessSection

# A series that was refused because its other half was not there is opened again when that half comes.
HALF_MISSING = ("PhaseMissing", "MagnitudeMissing", "IncompleteSeries")
LEADING = (Part.MAGNITUDE, Part.REAL)

Held = Mapping[str, Sequence[Instance]]


def frames_of(session: Session, series_keys: Sequence[str]) -> list[FrameHeader]:
    """Return the readable frame headers of some series."""
    return [frame for instance in _instances(session, series_keys) for frame in instance.frames]


def companions_of(session: Session, waiting: Series, limits: CompletenessSection) -> list[Series]:
    """Return the series that form one acquisition with one that waits, that one among them; nothing where it is whole.

    A series is free that waits itself, or that was refused for what it lacked. Series that were joined to it before
    come with it.
    """
    if waiting.study_instance_uid is None:
        return []
    frames = frames_of(session, [waiting.key, *(one.key for one in series.joined_to(session, waiting.key))])
    if not frames or assess(frames).is_complete:
        return []
    candidates = series.in_study(session, waiting.study_instance_uid, (State.RECEIVED, State.REFUSED))
    free = [one for one in candidates if one.sop_class_uid == waiting.sop_class_uid and _is_free(one)]
    leader_of = {one.key: one for one in free}
    leader_of |= {joined.key: one for one in free for joined in series.joined_to(session, one.key)}
    held = {key: found for key in leader_of if (found := _instances(session, [key]))}
    group = next((group for group in group_series(held) if waiting.key in group), [])
    together = {leader_of[key].key: leader_of[key] for key in group}
    if len(together) < 2 or not (_is_proven(group, held) or all(_is_settled(one, limits) for one in free)):
        return []
    return sorted(together.values(), key=lambda one: _rank(held[one.key], one.key))


def join(session: Session, together: Sequence[Series]) -> Series:
    """Join the series of one acquisition, and return the first of them, which leads: magnitude, or the real part."""
    leader, *followers = together
    if leader.state == State.REFUSED:
        reopen_with_further(session, leader, "the images that it lacked have arrived")
    leader.last_received_at = max(one.last_received_at for one in together)
    leader.association_ended_at = _latest(one.association_ended_at for one in together)
    for follower in followers:
        for earlier in series.joined_to(session, follower.key):
            earlier.partner_key = leader.key
        follower.partner_key = leader.key
        reason = "mapped together with the other images of its acquisition"
        series.change_state(session, follower, State.JOINED, {"with": leader.key}, reason)
    session.flush()
    return leader


def _instances(session: Session, series_keys: Sequence[str]) -> list[Instance]:
    rows = instances.of_series(session, list(series_keys))
    return [
        Instance(Path(row.inbox_name), row.inbox_name, tuple(FrameHeader.from_json(frame) for frame in row.frames))
        for row in rows
        if row.frames
    ]


def _is_free(one: Series) -> bool:
    is_waiting = one.state == State.RECEIVED and one.enqueued_at is None
    return is_waiting or one.refusal_class in HALF_MISSING


def _is_proven(group: Sequence[str], held: Held) -> bool:
    """Say whether the images of a group's parts were taken at the same times, so that no other partner is nearer."""
    moments: dict[Part, set[str]] = {}
    for key in group:
        for instance in held[key]:
            for frame in instance.frames:
                moments.setdefault(frame.part, set()).add(frame.acquired_at)
    first, *others = moments.values()
    return bool(others) and all(one == first for one in others) and first != {""}


def _is_settled(one: Series, limits: CompletenessSection) -> bool:
    is_over = one.association_ended_at is not None and one.association_ended_at >= one.last_received_at
    return (now() - one.last_received_at).total_seconds() >= (limits.settle_s if is_over else limits.quiet_time_s)


def _rank(found: Sequence[Instance], key: str) -> tuple[bool, float, str]:
    frame = found[0].frames[0]
    return frame.part not in LEADING, frame.echo_time_ms or 0.0, key


def _latest(moments: Iterable[datetime | None]) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)
