"""List, series by series, every instance that a multi-frame object refers to in its frames."""

from collections.abc import Sequence

from pydicom import Dataset

from dicom_io.series import SourceSeries
from dicom_io.write.derived import set_verbatim


def add_evidence(made: Dataset, source: SourceSeries, images: Sequence[Dataset] = ()) -> None:
    """Write Referenced Series: the images that an object belongs to first, then all sources (PS3.3 C.12.2).

    Parameters
    ----------
    made
        The object that refers to them.
    source
        What it was made of.
    images
        Images of ours to which it refers as well.
    """
    ours = [(image.SeriesInstanceUID, image.SOPClassUID, image.SOPInstanceUID) for image in images]
    made.ReferencedSeriesSequence = [
        _series(uid, instances, "ReferencedInstanceSequence")
        for uid, instances in _by_series([*ours, *_sources(source)]).items()
    ]


def source_evidence(source: SourceSeries) -> list[Dataset]:
    """Return Source Image Evidence: the study with every series and instance of the source (PS3.3 C.8.13.2.1)."""
    study = Dataset()
    set_verbatim(study, "StudyInstanceUID", source.template.StudyInstanceUID)
    study.ReferencedSeriesSequence = [
        _series(uid, instances, "ReferencedSOPSequence") for uid, instances in _by_series(_sources(source)).items()
    ]
    return [study]


def _sources(source: SourceSeries) -> list[tuple[str, str, str]]:
    own = str(source.template.get("SeriesInstanceUID", ""))
    return [
        (frame.SeriesInstanceUID or own, frame.SOPClassUID, frame.SOPInstanceUID)
        for frames in source.frames
        for frame in frames
    ]


def _by_series(references: Sequence[tuple[str, str, str]]) -> dict[str, list[tuple[str, str]]]:
    """Group references by series, each instance once, in the order of first mention."""
    found: dict[str, dict[tuple[str, str], None]] = {}
    for series, sop_class, instance in references:
        found.setdefault(series, {})[sop_class, instance] = None
    return {series: list(instances) for series, instances in found.items()}


def _series(uid: str, instances: Sequence[tuple[str, str]], keyword: str) -> Dataset:
    item = Dataset()
    set_verbatim(item, "SeriesInstanceUID", uid)
    references = []
    for sop_class, instance in instances:
        reference = Dataset()
        reference.ReferencedSOPClassUID = sop_class
        set_verbatim(reference, "ReferencedSOPInstanceUID", instance)
        references.append(reference)
    setattr(item, keyword, references)
    return item
