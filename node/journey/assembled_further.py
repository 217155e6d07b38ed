"""Further maps of a series: one row, run and journey for every recipe beyond the first that rules ask for.

They are opened in the transaction that records the series as assembled, so that they exist exactly when it does. What
makes the series begin anew makes them begin anew, and they wait until it is assembled once more.
"""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from db import runs, series
from db.series import ENDS, Series, State
from node.errors import NoRuleMatches
from node.routing import Choice
from node.services import Services

AGAIN = "its series is mapped anew"


def open_further(session: Session, services: Services, source: Series, choices: Sequence[Choice]) -> None:
    """Let the further maps that rules ask for begin, and those that wait and are not asked for any more end.

    One that has been assembled from these instances stays what it is: asking for a series once more does not repeat it.
    """
    known = {further.map_by: further for further in series.further_maps(session, source.key)}
    for choice in choices:
        further = known.pop(choice.map_by, None)
        if further is None:
            further = series.create_further(session, source, choice.map_by)
        elif _has_ended_unassembled(session, further):
            series.reopen(session, further, AGAIN)
        if _is_waiting(further):
            further.n_instances, further.completeness = source.n_instances, source.completeness
            services.jobs.enqueue_mapping(session, further)
    for further in filter(_is_waiting, known.values()):
        sentence = "Ignored on purpose, because no rule asks for this further map any more."
        series.change_state(session, further, State.IGNORED, {}, sentence, NoRuleMatches.__name__)


def reopen_with_further(session: Session, source: Series, reason: str) -> None:
    """Start a new revision of a series and of its further maps, which wait until it is assembled."""
    series.reopen(session, source, reason)
    for further in series.further_maps(session, source.key):
        if not _is_waiting(further):
            series.reopen(session, further, reason)
        further.completeness = f"waits for {source.key} to be assembled"


def end_waiting_further(session: Session, source: Series) -> None:
    """End the further maps that wait for a series which has ended itself, in the same way."""
    for further in filter(_is_waiting, series.further_maps(session, source.key)):
        sentence = f"Its series {source.key} was {source.state}: {source.sentence}"
        details = {"during": further.state}
        series.change_state(session, further, State(source.state), details, sentence, source.refusal_class)


def _is_waiting(further: Series) -> bool:
    return further.state == State.RECEIVED and further.enqueued_at is None


def _has_ended_unassembled(session: Session, further: Series) -> bool:
    return further.state in ENDS and runs.find(session, further.key, further.revision) is None
