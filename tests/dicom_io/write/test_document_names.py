"""A patient's name in any script arrives in every document exactly as the scanner wrote it."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import pydicom
import pytest
from pydicom import Dataset
from pydicom.tag import Tag

from dicom_io.series import SourceSeries
from dicom_io.write.key_objects import key_object_selection
from dicom_io.write.mr_image import susceptibility_series
from dicom_io.write.part10 import to_bytes
from dicom_io.write.planar_report import planar_report
from dicom_io.write.presentation import presentation_state
from dicom_io.write.provenance import RunDescription
from dicom_io.write.report import RegionValues, measurement_report
from dicom_io.write.segmentation import segmentation
from dicom_io.write.validation import validate
from tests.dicom_io.write.conftest import NAMES, QUALITY, map_of, mask_and_labels

PATIENT_NAME = Tag("PatientName")
# The bytes of the first are those of PS3.5 H.3.1.
NAMES_IN_SCRIPTS = {
    "\\ISO 2022 IR 87": (
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    "ISO_IR 144": ("Люксембург".encode("iso8859-5"), "Люксембург"),
    "ISO_IR 100": ("Äneas^Rüdiger".encode("latin-1"), "Äneas^Rüdiger"),
    "ISO_IR 192": ("Wang^XiaoDong=王^小東".encode(), "Wang^XiaoDong=王^小東"),
}


@pytest.fixture(params=NAMES_IN_SCRIPTS)
def named(request: pytest.FixtureRequest, simulated: SourceSeries) -> tuple[SourceSeries, bytes, str]:
    """Return a source with a patient of that name, without accession number and birth date."""
    encoded, readable = NAMES_IN_SCRIPTS[request.param]
    header = Dataset()
    header.update(simulated.template)
    header.SpecificCharacterSet = request.param.split("\\")
    header.add_new(PATIENT_NAME, "PN", readable)
    for keyword in ("AccessionNumber", "PatientBirthDate"):
        if keyword in header:
            delattr(header, keyword)
    content = to_bytes(header)
    padded = encoded + b" " * (len(encoded) % 2)
    assert padded in content, "the source itself does not have the bytes that are meant"
    return replace(simulated, template=pydicom.dcmread(BytesIO(content))), padded, readable


@pytest.fixture
def documents(run_description: RunDescription) -> Callable[[SourceSeries], dict[str, Dataset]]:
    def make(source: SourceSeries) -> dict[str, Dataset]:
        mask, labels = mask_and_labels(source)
        images = susceptibility_series(map_of(source), source, run_description)
        regions = segmentation(mask, labels, NAMES, images, source, run_description)
        values = [RegionValues("left caudate", 41.25, 12.0, 40.5, 3.5, 2)]
        return {
            "report": measurement_report(values, regions, images, source, run_description, QUALITY),
            "planar report": planar_report(values, mask, labels, images, source, run_description, QUALITY),
            "presentation state": presentation_state(images, source, run_description),
            "key objects": key_object_selection(images, ["A check failed."], source, run_description),
        }

    return make


def test_the_names_bytes_and_character_set_survive_in_every_document(
    named: tuple[SourceSeries, bytes, str],
    documents: Callable[[SourceSeries], dict[str, Dataset]],
    conformance_errors: Callable[[Dataset], list[str]],
) -> None:
    source, encoded, readable = named
    for kind, document in documents(source).items():
        validate(document)
        assert conformance_errors(document) == [], kind
        read = pydicom.dcmread(BytesIO(to_bytes(document)))
        assert read.get_item(PATIENT_NAME).value == encoded, kind
        assert read.SpecificCharacterSet == source.template.SpecificCharacterSet, kind
        assert str(read.PatientName) == readable, kind
        assert read.PatientBirthDate == read.AccessionNumber == "", kind
