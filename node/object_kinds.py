"""The kinds of objects that a run makes: the words of the settings, the outbox and the record."""

from enum import StrEnum


class ObjectKind(StrEnum):
    """What an object is, in the order in which a run's objects are made and sent.

    `CLASSICAL` is the classical map beside a network's. The companions stand where the recipe wants them. `REPORT`
    refers to segments, `PLANAR_REPORT` draws outlines for viewers that show nothing else. `KEY_OBJECTS` is made only
    where a check of the map's quality failed.
    """

    SUSCEPTIBILITY = "susceptibility"
    CLASSICAL = "classical"
    LOCAL_FIELD = "local_field"
    R2STAR = "r2star"
    SWI = "swi"
    UNCERTAINTY = "uncertainty"
    COMPARISON = "comparison"
    PARAMETRIC_MAP = "parametric_map"
    SEGMENTATION = "segmentation"
    REPORT = "report"
    PLANAR_REPORT = "planar_report"
    SUMMARY = "summary"
    PRESENTATION = "presentation"
    KEY_OBJECTS = "key_objects"


COMPANION_KINDS = (
    ObjectKind.LOCAL_FIELD,
    ObjectKind.R2STAR,
    ObjectKind.SWI,
    ObjectKind.UNCERTAINTY,
    ObjectKind.COMPARISON,
)
IN_PPB = frozenset({ObjectKind.SUSCEPTIBILITY, ObjectKind.CLASSICAL, ObjectKind.UNCERTAINTY, ObjectKind.COMPARISON})
"""Images whose stored values are parts per billion."""

# A parametric map is for viewers that read floating point; many archives do not take it.
USUAL_KINDS = tuple(kind for kind in ObjectKind if kind != ObjectKind.PARAMETRIC_MAP)
ORDER = {kind.value: number for number, kind in enumerate(ObjectKind)}
