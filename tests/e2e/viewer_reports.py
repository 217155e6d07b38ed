"""The parts of a measurement report by their codes, to compare with what a viewer draws (TID 1500, TID 1410)."""

from pydicom import Dataset


def measurement_groups(report: Dataset) -> list[Dataset]:
    """Return the measurement groups of a report (TID 1500, TID 1410)."""
    measurements = next(item for item in report.ContentSequence if code_of(item) == "126010")
    return [item for item in measurements.ContentSequence if code_of(item) == "125007"]


def code_of(item: Dataset) -> str:
    """Return the code of an item's name."""
    return str(item.ConceptNameCodeSequence[0].CodeValue)


def identifier_of(group: Dataset) -> str:
    """Return the tracking identifier of a measurement group: the region's name."""
    return str(next(item.TextValue for item in group.ContentSequence if code_of(item) == "112039"))


def uid_of(group: Dataset) -> str:
    """Return the tracking unique identifier of a measurement group."""
    return str(next(item.UID for item in group.ContentSequence if code_of(item) == "112040"))
