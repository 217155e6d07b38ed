"""Which series are mapped together: magnitude with phase, real with imaginary, and the echoes of a scan kept apart.

The grouping is that of a folder's files. What nothing but the grid proves to belong together may have a nearer partner
on its way, so it is joined only when the associations are over and nothing more comes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session

from db import instances, series
from db.base import now
from db.series import Series, State
from dicom_io.read.assembly import Instance
from dicom_io.read.grouping import group_series
from dicom_io.read.headers import FrameHeader
from dicom_io.series import Part
from node.journey.assembled_further import reopen_with_further
from node.settings import CompletenessSection

# A series that was refused because its other half was not there is opened again when that half comes.
HALF_MISSING = ("PhaseMissing", "MagnitudeMissing", "IncompleteSeries")
LEADING = (Part.MAGNITUDE, Part.REAL)

# While images flow nothing is looked for: what comes next may be nearer, and the listener needs the record.
ARRIVING_S = 1.0
MOST_REMEMBERED = 32

Held = Mapping[str, Sequence[Instance]]
Contents = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class _Group:
    """Series that form one acquisition, by their keys, those first that would lead; is it proven, or only likely?"""

    keys: tuple[str, ...]
    is_proven: bool


# The headers of a study are read once for every change of what has arrived of it, not twice a second.
_remembered: dict[Contents, list[_Group]] = {}


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
    candidates = series.in_study(session, waiting.study_instance_uid, (State.RECEIVED, State.REFUSED))
    free = [one for one in candidates if one.sop_class_uid == waiting.sop_class_uid and _is_free(one)]
    if len(free) < 2 or any(_is_arriving(one) for one in free):
        return []
    rows = {one.key: (one, one) for one in free}
    rows |= {joined.key: (joined, one) for one in free for joined in series.joined_to(session, one.key)}
    groups = _groups(session, tuple(sorted((key, row.n_instances) for key, (row, _) in rows.items())))
    group = next((group for group in groups if waiting.key in group.keys), None)
    if group is None or not (group.is_proven or all(_is_settled(one, limits) for one in free)):
        return []
    together = {rows[key][1].key: rows[key][1] for key in group.keys}
    return list(together.values()) if len(together) > 1 else []


def _groups(session: Session, contents: Contents) -> list[_Group]:
    if contents not in _remembered:
        held = {key: found for key, _ in contents if (found := _instances(session, [key]))}
        groups = [sorted(group, key=lambda key: _rank(held[key], key)) for group in group_series(held)]
        while len(_remembered) >= MOST_REMEMBERED:
            _remembered.pop(next(iter(_remembered)))
        _remembered[contents] = [_Group(tuple(group), _is_proven(group, held)) for group in groups]
    return _remembered[contents]


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


def _is_arriving(one: Series) -> bool:
    is_over = one.association_ended_at is not None and one.association_ended_at >= one.last_received_at
    return one.state == State.RECEIVED and not is_over and (now() - one.last_received_at).total_seconds() < ARRIVING_S


def _is_proven(group: Sequence[str], held: Held) -> bool:
    """Say whether the images of a group's parts were taken at the same times, so that no other partner is nearer."""
    moments: dict[Part, set[str]] = {}
    for key in group:
        for instance in held[key]:
            for frame in instance.frames:
                moments.setdefault(frame.part, set()).add(frame.acquired_at)
    first, *others = moments.values()
    is_at_once = bool(others) and all(one == first for one in others) and first != {""}
    return is_at_once and not _may_lack_an_echo([held[key] for key in group])


def _may_lack_an_echo(pieces: Sequence[Sequence[Instance]]) -> bool:
    """Say whether echoes are kept in series of their own of which another may be on its way: their count is unknown."""
    frames = [[frame for instance in piece for frame in instance.frames] for piece in pieces]
    times = [{frame.echo_time_ms for frame in of_piece} for of_piece in frames]
    every = set[float | None]().union(*times)
    declared = max(frame.n_echoes_declared or 0 for of_piece in frames for frame in of_piece)
    return any(of_piece != every for of_piece in times) and len(every) != declared


def _is_settled(one: Series, limits: CompletenessSection) -> bool:
    is_over = one.association_ended_at is not None and one.association_ended_at >= one.last_received_at
    return (now() - one.last_received_at).total_seconds() >= (limits.settle_s if is_over else limits.quiet_time_s)


def _rank(found: Sequence[Instance], key: str) -> tuple[bool, float, str]:
    frame = found[0].frames[0]
    return frame.part not in LEADING, frame.echo_time_ms or 0.0, key


def _latest(moments: Iterable[datetime | None]) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)
