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
UNIT_OF_KIND = {
    ObjectKind.SUSCEPTIBILITY: "ppb",
    ObjectKind.CLASSICAL: "ppb",
    ObjectKind.LOCAL_FIELD: "Hz",
    ObjectKind.R2STAR: "1/s",
    ObjectKind.SWI: "arbitrary",
    ObjectKind.UNCERTAINTY: "ppb",
    ObjectKind.COMPARISON: "ppb",
    ObjectKind.PARAMETRIC_MAP: "ppm",
}
"""The unit of the stored values of images."""
SERIES_OF_IMAGES = (ObjectKind.SUSCEPTIBILITY, ObjectKind.CLASSICAL, *COMPANION_KINDS)
"""What is written as one image per slice, unless the source's encoding is asked for."""

# A parametric map is for viewers that read floating point; many archives do not take it.
USUAL_KINDS = tuple(kind for kind in ObjectKind if kind != ObjectKind.PARAMETRIC_MAP)
