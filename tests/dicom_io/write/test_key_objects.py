"""A failed check is flagged on every image of the map, with the sentences that say what failed."""

from collections.abc import Callable
from io import BytesIO

import highdicom
import pydicom
import pytest
from pydicom import Dataset

from dicom_io.errors import InvalidObject
from dicom_io.series import SourceSeries
from dicom_io.write.key_objects import key_object_selection
from dicom_io.write.mr_image import susceptibility_series
from dicom_io.write.part10 import to_bytes
from dicom_io.write.provenance import RunDescription
from dicom_io.write.validation import validate
from tests.dicom_io.write.conftest import map_of

REASONS = ("The field is noisy (16.2 ppb).", "This map is the classical one.")


@pytest.fixture
def images(simulated: SourceSeries, run_description: RunDescription) -> list[Dataset]:
    return susceptibility_series(map_of(simulated), simulated, run_description)


@pytest.fixture
def flag(images: list[Dataset], simulated: SourceSeries, run_description: RunDescription) -> Dataset:
    return key_object_selection(images, REASONS, simulated, run_description)


def test_the_title_is_quality_issue_with_a_modifier_of_its_context_group(flag: Dataset) -> None:
    title, modifier = flag.ConceptNameCodeSequence[0], flag.ContentSequence[0]
    assert (title.CodeValue, title.CodeMeaning) == ("113010", "Quality Issue")
    assert modifier.RelationshipType == "HAS CONCEPT MOD"
    assert modifier.ConceptNameCodeSequence[0].CodeValue == "113011"
    assert modifier.ConceptCodeSequence[0].CodeMeaning == "Other failure"


def test_the_description_gives_the_reasons_and_the_research_flag(flag: Dataset) -> None:
    (description,) = [item for item in flag.ContentSequence if item.ValueType == "TEXT" and _is_contained(item)]
    assert description.ConceptNameCodeSequence[0].CodeMeaning == "Key Object Description"
    assert description.TextValue == " ".join((*REASONS, "For research use only. Not for diagnosis."))


def _is_contained(item: Dataset) -> bool:
    return item.RelationshipType == "CONTAINS"


def test_every_image_is_flagged_and_listed_as_evidence(flag: Dataset, images: list[Dataset]) -> None:
    read = highdicom.ko.KeyObjectSelectionDocument.from_dataset(pydicom.dcmread(BytesIO(to_bytes(flag))))
    flagged = [reference.referenced_sop_instance_uid for reference in read.content.get_references()]
    assert flagged == [image.SOPInstanceUID for image in images]
    for uid in flagged:
        assert read.resolve_reference(uid) == (images[0].StudyInstanceUID, images[0].SeriesInstanceUID, uid)


def test_it_satisfies_the_standard_whatever_the_source(
    source: SourceSeries,
    run_description: RunDescription,
    conformance_errors: Callable[[Dataset], list[str]],
) -> None:
    images = susceptibility_series(map_of(source), source, run_description)
    flag = key_object_selection(images, REASONS, source, run_description)
    validate(flag)
    assert conformance_errors(flag) == []


def test_equal_reasons_make_equal_bytes_and_others_another_object(
    flag: Dataset, images: list[Dataset], simulated: SourceSeries, run_description: RunDescription
) -> None:
    assert to_bytes(key_object_selection(images, REASONS, simulated, run_description)) == to_bytes(flag)
    other = key_object_selection(images, REASONS[:1], simulated, run_description)
    assert other.SOPInstanceUID != flag.SOPInstanceUID


def test_a_flag_without_reason_or_image_is_refused(
    images: list[Dataset], simulated: SourceSeries, run_description: RunDescription
) -> None:
    for wrong, reasons in ((images, ["  "]), ([], REASONS)):
        with pytest.raises(InvalidObject, match="one reason"):
            key_object_selection(wrong, reasons, simulated, run_description)
