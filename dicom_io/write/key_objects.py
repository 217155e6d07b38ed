"""Flag a map that failed a quality check, so that a reader sees it in the list of the study before opening it."""

from collections.abc import Sequence

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom import Dataset
from pydicom.sr.coding import Code

from dicom_io.codes import DOCUMENT_TITLE_MODIFIER, OTHER_FAILURE, QUALITY_ISSUE
from dicom_io.errors import InvalidObject
from dicom_io.series import SourceSeries
from dicom_io.write.derived import copy_identity, describe_making, without_identity
from dicom_io.write.identity import KEY_OBJECT_SERIES_OFFSET, derived_uid, series_number
from dicom_io.write.provenance import MANUFACTURER, RESEARCH_SENTENCE, RunDescription, plain_text
from dicom_io.write.report_items import IMAGE_ATTRIBUTES, device_observer, drop_attributes, modifier_item

_LONGEST_DESCRIPTION = 4096


def key_object_selection(
    images: Sequence[Dataset],
    reasons: Sequence[str],
    source: SourceSeries,
    run: RunDescription,
    kind_of_failure: Code = OTHER_FAILURE,
) -> Dataset:
    """Write a Key Object Selection with the title "Quality Issue" on all images of a map (PS3.3 A.35.4, TID 2010).

    The title is not "Rejected for Quality Reasons": archives hide what that title names, and whether the map is of
    use is for a person to decide.

    Parameters
    ----------
    images
        The susceptibility images of one series.
    reasons
        Sentences that say which check failed and what that means for the map.
    source
        What the map was made of.
    run
        What made the map.
    kind_of_failure
        A code of CID 7011; what exactly failed is in the reasons.

    Raises
    ------
    InvalidObject
        There is no image, or no reason.
    """
    if not images or not any(reason.strip() for reason in reasons):
        message = "A map is flagged only with at least one image and one reason."
        raise InvalidObject(message)
    description = _description(reasons, run)
    uids = (image.SOPInstanceUID for image in images)
    uid_parts = ("key objects", *uids, *run.identity, kind_of_failure.value, description)
    evidence = without_identity(images)
    content = KeyObjectSelection(
        document_title=QUALITY_ISSUE,
        referenced_objects=evidence,
        observer_device_context=device_observer(run),
        description=description,
    )
    content[0].ContentSequence.insert(0, modifier_item(DOCUMENT_TITLE_MODIFIER, kind_of_failure))
    made = KeyObjectSelectionDocument(
        evidence=evidence,
        content=content,
        series_instance_uid=derived_uid(*uid_parts, "series"),
        series_number=series_number(source.template.get("SeriesNumber"), KEY_OBJECT_SERIES_OFFSET),
        sop_instance_uid=derived_uid(*uid_parts, "instance"),
        instance_number=1,
        manufacturer=MANUFACTURER,
    )
    copy_identity(made, source)
    describe_making(made, source, run, "QSM quality issue")
    drop_attributes(made, IMAGE_ATTRIBUTES)
    for item in made.ContentSequence:
        if item.ValueType == "IMAGE":
            # The title says what the images are referred to for; the template forbids to say it again.
            del item.ConceptNameCodeSequence
    return made


def _description(reasons: Sequence[str], run: RunDescription) -> str:
    research = [RESEARCH_SENTENCE] if run.research_use_only else []
    return plain_text(" ".join([*reasons, *research]), _LONGEST_DESCRIPTION)
