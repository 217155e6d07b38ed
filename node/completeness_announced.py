"""Has everything arrived that the scanner itself lists? Its performed procedure steps go before counts and the clock.

Pure, as `node.completeness` is: what the steps say of a series is passed in.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from dicom_io.errors import IncompleteSeries
from dicom_io.read.sorting import Completeness
from node.completeness import Arrival, Decision, Verdict, counted, decide, lacking_part
from node.errors import AcquisitionDiscontinued

MOST_NAMED = 3


class Announced(StrEnum):
    """What has become of the procedure steps that a series belongs to."""

    OPEN = "open"
    COMPLETED = "completed"
    DISCONTINUED = "discontinued"


@dataclass(frozen=True)
class Announcement:
    """What the scanner's performed procedure steps say of a series.

    `n_listed` objects are listed in it, of which those in `missing` have not arrived. `is_all_here`: nor does any other
    series of these steps lack something, so that no other half of this one is on its way.
    """

    announced: Announced
    n_listed: int = 0
    missing: tuple[str, ...] = ()
    is_all_here: bool = False


def decide_as_announced(
    announcement: Announcement | None,
    assessment: Completeness | None,
    arrival: Arrival,
    settle_s: float,
    quiet_time_s: float,
) -> Decision:
    """Decide whether the work on a series begins, with what the scanner has announced where it has.

    The parameters are those of `node.completeness.decide`. A completed step decides exactly: the work begins when the
    last listed object is there. What is listed and does not come within the quiet time is named, and the series is
    refused, as is one whose step was discontinued, unless the counts in the headers prove that it is whole.
    """
    if announcement is None or assessment is None or not assessment.parts:
        return decide(assessment, arrival, settle_s, quiet_time_s)
    if announcement.announced is Announced.OPEN:
        return _decide_in_progress(assessment, arrival, settle_s, quiet_time_s)
    is_quiet = arrival.seconds_since_last >= quiet_time_s
    if announcement.announced is Announced.DISCONTINUED:
        return _decide_discontinued(announcement, assessment, is_quiet)
    if announcement.missing:
        return _decide_missing(announcement, assessment, is_quiet)
    return _decide_listed(announcement, assessment, is_quiet)


def _decide_in_progress(assessment: Completeness, arrival: Arrival, settle_s: float, quiet_time_s: float) -> Decision:
    # The scanner will say when it has finished; the end of an association means less than that.
    decision = decide(assessment, replace(arrival, association_is_over=False), settle_s, quiet_time_s)
    if decision.verdict is Verdict.BEGIN:
        return decision
    return replace(decision, sentence=f"{decision.sentence}; the scanner's procedure step is in progress")


def _decide_listed(announcement: Announcement, assessment: Completeness, is_quiet: bool) -> Decision:
    listed = f"all {announcement.n_listed} instances that the scanner's procedure step lists"
    missing_part = lacking_part(assessment)
    if missing_part is not None:
        may_come = not announcement.is_all_here and not is_quiet
        return Decision(Verdict.WAIT if may_come else Verdict.BEGIN, f"{listed}, but no {missing_part} images")
    if assessment.is_complete:
        return Decision(Verdict.BEGIN, f"complete as announced: {listed}, {counted(assessment)}")
    return Decision(Verdict.BEGIN, f"{listed}, and yet {assessment.sentence}")


def _decide_missing(announcement: Announcement, assessment: Completeness, is_quiet: bool) -> Decision:
    sentence = (
        f"the scanner's procedure step lists {announcement.n_listed} instances, of which {_named(announcement.missing)}"
    )
    if not is_quiet:
        return Decision(Verdict.WAIT, sentence)
    if _is_proven(assessment):
        return Decision(Verdict.BEGIN, f"complete by count: {counted(assessment)}; but {sentence}")
    sentence = f"{sentence[0].upper()}{sentence[1:]}; send them from the scanner, and the series begins anew."
    return Decision(Verdict.REFUSE, sentence, IncompleteSeries.__name__)


def _decide_discontinued(announcement: Announcement, assessment: Completeness, is_quiet: bool) -> Decision:
    if _is_proven(assessment):
        sentence = f"complete by count: {counted(assessment)}, although the scanner discontinued its procedure step"
        return Decision(Verdict.BEGIN, sentence)
    may_come = announcement.missing or announcement.n_listed == 0 or lacking_part(assessment) is not None
    if may_come and not is_quiet:
        return Decision(Verdict.WAIT, f"the scanner discontinued its procedure step; {assessment.sentence}")
    sentence = (
        "The scanner discontinued its procedure step, and no count in the headers proves that the series is whole "
        f"({assessment.sentence}); if it is, `lodestone retry` maps what has arrived."
    )
    return Decision(Verdict.REFUSE, sentence, AcquisitionDiscontinued.__name__)


def _is_proven(assessment: Completeness) -> bool:
    return assessment.is_complete and assessment.is_certain


def _named(missing: tuple[str, ...]) -> str:
    shown = ", ".join(missing[:MOST_NAMED])
    more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
    return f"{len(missing)} {'has' if len(missing) == 1 else 'have'} not come: {shown}{more}"
