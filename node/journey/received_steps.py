"""What a scanner says of its performed procedure steps: recorded in one transaction with its audit row.

A message that comes twice, because its answer was lost, changes nothing and hears "success" again.
"""

from collections.abc import Iterable

from sqlalchemy.orm import Session

from db import audit, performed_steps, series
from db.performed_steps import COMPLETED, DISCONTINUED, IN_PROGRESS, ListedSeries, Listing, Step
from db.series import Series, State
from dicom_io.network.mpps import (
    DUPLICATE_INSTANCE,
    MISSING_ATTRIBUTE,
    NO_LONGER_UPDATED,
    NO_SUCH_INSTANCE,
    NOT_AUTHORISED,
    RECORDED,
    PerformedStep,
)
from node.completeness_announced import Announced, Announcement
from node.services import Services

EVENTS = {IN_PROGRESS: "updated", COMPLETED: "completed", DISCONTINUED: "discontinued"}


def record_step(services: Services, said: PerformedStep, calling_ae: str) -> int:
    """Record what a scanner says of a step; the status of success means that it is committed to the record."""
    with services.database.begin() as session:
        known = performed_steps.find(session, said.sop_instance_uid)
        if said.is_new:
            return _begin(session, known, said, calling_ae)
        return _change(session, known, said, calling_ae)


def announcement_of(session: Session, members: Iterable[Series]) -> Announcement | None:
    """Return what scanners have said of some series that are mapped together, or None where they said nothing."""
    group = list(members)
    found = [
        pair
        for one in group
        if one.series_instance_uid
        for pair in performed_steps.listings_of(session, one.series_instance_uid, one.sop_class_uid)
    ]
    states = {step.state for step, _ in found}
    # A step in progress, or a discontinued one that lists nothing, may concern any series that no ended step lists.
    if not states - {IN_PROGRESS}:
        studies = {one.study_instance_uid for one in group if one.study_instance_uid}
        states |= {step.state for uid in studies for step in performed_steps.open_in_study(session, uid)}
    if not states:
        return None
    listed = [uid for _, entry in found for uid in entry.sop_instance_uids]
    missing = tuple(performed_steps.not_here(session, listed))
    is_ended = IN_PROGRESS not in states
    return Announcement(
        Announced.OPEN if not is_ended else _ended_as(states),
        n_listed=len(set(listed)),
        missing=missing,
        is_all_here=is_ended and not missing and not _lacking_elsewhere(session, [step for step, _ in found]),
    )


def _ended_as(states: set[str]) -> Announced:
    return Announced.DISCONTINUED if DISCONTINUED in states else Announced.COMPLETED


def _lacking_elsewhere(session: Session, steps: Iterable[Step]) -> list[str]:
    rows: list[ListedSeries] = performed_steps.listed_by(session, [step.sop_instance_uid for step in steps])
    return performed_steps.not_here(session, (uid for row in rows for uid in row.sop_instance_uids))


def _begin(session: Session, known: Step | None, said: PerformedStep, calling_ae: str) -> int:
    if known is not None:
        if known.begun_sha256 == said.sha256 and known.calling_ae == calling_ae:
            audit.append(session, "performed_step.repeated", "", _about(said, calling_ae))
            return RECORDED
        return _refuse(session, said, calling_ae, DUPLICATE_INSTANCE, "another step has this SOPInstanceUID")
    step = performed_steps.begin(session, said.sop_instance_uid, calling_ae, said.study_instance_uids, said.sha256)
    _list_anew(session, step, said)
    audit.append(session, "performed_step.begun", "", _about(said, calling_ae))
    return RECORDED


def _change(session: Session, step: Step | None, said: PerformedStep, calling_ae: str) -> int:
    if step is None:
        return _refuse(session, said, calling_ae, NO_SUCH_INSTANCE, "no such step was created here")
    if step.calling_ae != calling_ae:
        return _refuse(session, said, calling_ae, NOT_AUTHORISED, "another scanner created the step")
    if step.last_sha256 == said.sha256:
        audit.append(session, "performed_step.repeated", "", _about(said, calling_ae))
        return RECORDED
    if step.ended_at is not None:
        return _refuse(session, said, calling_ae, NO_LONGER_UPDATED, "the step has ended")
    state = step.state if said.state is None else str(said.state)
    lists_nothing = said.listed is None and not performed_steps.listed_by(session, [step.sop_instance_uid])
    if state == COMPLETED and lists_nothing:
        return _refuse(session, said, calling_ae, MISSING_ATTRIBUTE, "a completed step lists its series")
    _list_anew(session, step, said)
    performed_steps.change(session, step, state, said.sha256)
    audit.append(session, f"performed_step.{EVENTS[state]}", "", _about(said, calling_ae))
    if step.ended_at is not None:
        _contradict(session, step)
    return RECORDED


def _list_anew(session: Session, step: Step, said: PerformedStep) -> None:
    if said.listed is not None:
        listings = [Listing(one.series_instance_uid, one.sop_class_uid, one.sop_instance_uids) for one in said.listed]
        performed_steps.list_anew(session, step, listings)


def _contradict(session: Session, step: Step) -> None:
    """Note at every series whose work has begun already what the ended step lists beyond it."""
    for row in performed_steps.listed_by(session, [step.sop_instance_uid]):
        begun = series.by_uid(session, row.series_instance_uid, row.sop_class_uid)
        missing = performed_steps.not_here(session, row.sop_instance_uids)
        if begun is None or begun.enqueued_at is None or not (missing or step.state == DISCONTINUED):
            continue
        details = {"step": step.sop_instance_uid, "state": step.state, "n_missing": len(missing), "missing": missing}
        for one in (begun, *series.further_maps(session, begun.key)):
            audit.append(session, "series.contradicted", one.key, {"revision": one.revision, **details})
            if one.state == State.RECORDED:
                # A person who looks at the list sees it beside the map that exists.
                one.sentence = _contradiction(len(missing))


def _contradiction(n_missing: int) -> str:
    if not n_missing:
        return "The scanner has discontinued its procedure step after this map was made."
    images = "one image, which has" if n_missing == 1 else f"{n_missing} images, which have"
    return f"The scanner's procedure step lists {images} not come: this map was made without."


def _refuse(session: Session, said: PerformedStep, calling_ae: str, status: int, reason: str) -> int:
    details = _about(said, calling_ae) | {"status": f"0x{status:04X}", "reason": reason}
    audit.append(session, "performed_step.refused", "", details)
    return status


def _about(said: PerformedStep, calling_ae: str) -> dict[str, object]:
    listed = said.listed or ()
    return {
        "SOPInstanceUID": said.sop_instance_uid,
        "calling_ae": calling_ae,
        "n_series": len({one.series_instance_uid for one in listed}),
        "n_instances": sum(len(one.sop_instance_uids) for one in listed),
    }
