"""The attributes of a series as rules see them: echo times of all frames, anything else of one object per kind.

An object per kind means one for every series, part and kind of object that takes part, so that a rule sees the image
types of magnitude and of phase whichever was sent first.
"""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.orm import Session

from db import instances, series
from db.series import Series
from dicom_io.read.attributes import attribute_values, read_header
from dicom_io.read.headers import FrameHeader
from dicom_io.read.separation import MOST_SCANS
from node import engine
from node.engine import PriorityOf
from node.errors import Permanent
from node.inbox import Inbox
from node.purpose import why_ignored
from node.routing import URGENT, Value, Values, ValuesOf, choose, of_every_scan, own_choice
from node.services import Services
from node.settings import Settings

Held = tuple[Path, Sequence[FrameHeader]]


def values_in(held: Sequence[Held]) -> ValuesOf:
    """Return the function that looks attributes up in some files, given with those of their frames that can be read.

    What it returns does not depend on the order of the files.
    """
    frames = [frame for _, of_file in held for frame in of_file]
    headers = [read_header(path) for path in _witnesses(held)]
    known: dict[str, Values] = {}

    def values_of(path: str) -> Values:
        if path not in known:
            known[path] = _echo_times(frames) if path == "EchoTime" and frames else _found(path)
        return known[path]

    def _found(path: str) -> list[Value]:
        return list(dict.fromkeys(value for header in headers for value in attribute_values(header, path)))

    return values_of


def _echo_times(frames: Sequence[FrameHeader]) -> list[Value]:
    return sorted({frame.echo_time_ms for frame in frames if frame.echo_time_ms is not None})


def _witnesses(held: Sequence[Held]) -> list[Path]:
    """Return one file for every series, part and kind of object: the one with the smallest SOPInstanceUID."""
    first: dict[tuple[str, ...], tuple[str, Path]] = {}
    for path, frames in held:
        key, uid = ("", "", ""), ""
        if frames:
            key = (frames[0].series_instance_uid, str(frames[0].part), frames[0].sop_class_uid)
            uid = frames[0].sop_instance_uid
        candidate = (uid, path)
        first[key] = min(first.get(key, candidate), candidate)
    return [first[key][1] for key in sorted(first)]


def priority_by_rules(settings: Settings, inbox: Inbox) -> PriorityOf:
    """Return the function that tells the engine how soon the turn of a series comes."""
    is_any_urgent = any(rule.priority == URGENT for rule in settings.rules)

    def priority_of(session: Session, current: Series) -> int:
        if not is_any_urgent:
            return engine.ROUTINE
        try:
            choices = choose(settings.rules, values_in(_held(session, current, inbox)), settings.routing.match)
            choice = own_choice(of_every_scan(choices, MOST_SCANS), current.map_by)
        except Permanent:
            # Why no rule wants it is said by the step that reads the series.
            return engine.ROUTINE
        return engine.URGENT if choice.priority == URGENT else engine.ROUTINE

    return priority_of


def reason_to_ignore(services: Services, series_key: str, error: Exception) -> str:
    """Return why a series that cannot be mapped was never meant to be; empty where it was."""
    with services.database.read() as session:
        held = _held(session, series.get(session, series_key), services.inbox)
    frames = [frame for _, of_file in held for frame in of_file]
    image_type = [str(word) for word in values_in(held)("ImageType")]
    return why_ignored(error, frames, image_type, bool(services.settings.rules))


def _held(session: Session, current: Series, inbox: Inbox) -> list[Held]:
    keys = [current.source_key, *(partner.key for partner in series.joined_to(session, current.source_key))]
    rows = instances.of_series(session, keys)
    return [(inbox.path(row.inbox_name), [FrameHeader.from_json(frame) for frame in row.frames or []]) for row in rows]
