"""Has everything arrived? Decided by counting first; the clock decides only where the headers cannot.

Pure: everything known is passed in, and the answer says in a sentence what is still awaited.
"""

from dataclasses import dataclass
from enum import StrEnum

from dicom_io.read.sorting import Completeness
from dicom_io.series import Part

COMPLEMENT = {
    Part.MAGNITUDE: Part.PHASE,
    Part.PHASE: Part.MAGNITUDE,
    Part.REAL: Part.IMAGINARY,
    Part.IMAGINARY: Part.REAL,
}


class Verdict(StrEnum):
    """What to do with a series that has arrived at least in part."""

    WAIT = "wait"
    BEGIN = "begin"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Arrival:
    """When the last instance came [s ago], and whether the association that brought it is over."""

    seconds_since_last: float
    association_is_over: bool


@dataclass(frozen=True)
class Decision:
    """The verdict and what it rests on; `refusal_class` names the refusal, if it is one."""

    verdict: Verdict
    sentence: str
    refusal_class: str | None = None


def decide(assessment: Completeness | None, arrival: Arrival, settle_s: float, quiet_time_s: float) -> Decision:
    """Decide whether the work on a series begins.

    Parameters
    ----------
    assessment
        What the headers say; None where no header of the series is that of an image that could be mapped.
    arrival
        The series' clock.
    settle_s
        How long [s] after the association nothing more must come where counts are not declared, and how long a pause
        within it says that the other two of four parts do not follow.
    quiet_time_s
        How long [s] without a new instance makes what is missing missing for good.
    """
    is_settled = arrival.association_is_over and arrival.seconds_since_last >= settle_s
    is_quiet = arrival.seconds_since_last >= quiet_time_s
    if assessment is None or not assessment.parts:
        return _begin_if(is_settled or is_quiet, "no image of the series can become part of a map")
    missing_part = lacking_part(assessment)
    if missing_part is not None:
        return _begin_if(is_quiet, f"no {missing_part} images yet")
    is_pausing = arrival.association_is_over or arrival.seconds_since_last >= settle_s
    if assessment.is_complete and assessment.is_certain:
        if assessment.may_have_more_parts:
            return _begin_if(is_pausing, f"complete by count: {counted(assessment)}")
        return Decision(Verdict.BEGIN, f"complete by count: {counted(assessment)}")
    if assessment.is_complete:
        return _begin_if(is_settled or is_quiet, f"complete so far: {counted(assessment)}")
    return _begin_if(is_quiet, assessment.sentence)


def lacking_part(assessment: Completeness) -> Part | None:
    """Return the part without which the present one cannot be mapped, or None where nothing can be awaited."""
    parts = {Part(part) for part in assessment.parts}
    if len(parts) != 1:
        return None
    return COMPLEMENT.get(parts.pop())


def counted(assessment: Completeness) -> str:
    """Put echoes, slices and parts into words."""
    parts = " and ".join(sorted(Part(part).value for part in assessment.parts))
    echoes = "1 echo" if assessment.n_echoes == 1 else f"{assessment.n_echoes} echoes"
    return f"{echoes} × {assessment.n_slices} slices × {parts}"


def _begin_if(condition: bool, sentence: str) -> Decision:
    return Decision(Verdict.BEGIN if condition else Verdict.WAIT, sentence)
