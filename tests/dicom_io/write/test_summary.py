"""A PDF becomes a DICOM object of the patient's study, and comes out of it byte for byte."""

import subprocess
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset

from dicom_io.errors import InvalidObject
from dicom_io.series import SourceSeries
from dicom_io.write.mr_image import susceptibility_series
from dicom_io.write.part10 import to_bytes
from dicom_io.write.provenance import RunDescription
from dicom_io.write.summary import encapsulated_pdf
from dicom_io.write.validation import validate
from tests.dicom_io.write.conftest import map_of

PAGES = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
NAMES = (
    (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ("ISO_IR 144", "Люкceмбypг^Роза"),
    ("ISO_IR 100", "Buc^Jérôme"),
    ("ISO_IR 192", "Wang^XiaoDong=王^小東"),
)


def made(source: SourceSeries, run: RunDescription, content: bytes = PAGES) -> Dataset:
    images = susceptibility_series(map_of(source), source, run)
    return encapsulated_pdf(content, "QSM – summary", images, source, run)


def read_back(dataset: Dataset) -> Dataset:
    return pydicom.dcmread(BytesIO(to_bytes(dataset)))


@pytest.mark.parametrize("content", [PAGES, PAGES + b"\n"], ids=["even or odd", "the other"])
def test_the_pages_come_out_byte_for_byte_whether_their_number_is_even_or_odd(
    content: bytes, simulated: SourceSeries, run_description: RunDescription
) -> None:
    read = read_back(made(simulated, run_description, content))
    assert read.EncapsulatedDocument[: read.EncapsulatedDocumentLength] == content
    assert len(read.EncapsulatedDocument) % 2 == 0


def test_dciodvfy_and_our_own_validation_find_no_error(
    source: SourceSeries, run_description: RunDescription, conformance_errors: Callable[[Dataset], list[str]]
) -> None:
    summary = made(source, run_description)
    validate(summary)
    assert conformance_errors(summary) == []


def test_dcmtk_takes_the_same_pages_out(
    simulated: SourceSeries, run_description: RunDescription, program: Callable[[str], str], tmp_path: Path
) -> None:
    path, taken_out = tmp_path / "summary.dcm", tmp_path / "summary.pdf"
    path.write_bytes(to_bytes(made(simulated, run_description)))
    subprocess.run([program("dcm2pdf"), str(path), str(taken_out)], check=True, capture_output=True, timeout=60)
    assert taken_out.read_bytes().rstrip(b"\x00") == PAGES


def test_it_lies_in_the_patient_s_study_in_a_series_of_its_own_and_names_every_image(
    simulated: SourceSeries, run_description: RunDescription
) -> None:
    images = susceptibility_series(map_of(simulated), simulated, run_description)
    summary = read_back(made(simulated, run_description))
    assert summary.StudyInstanceUID == images[0].StudyInstanceUID
    assert summary.SeriesInstanceUID != images[0].SeriesInstanceUID
    assert summary.Modality == "DOC"
    assert "FrameOfReferenceUID" not in summary
    named = [item.ReferencedSOPInstanceUID for item in summary.SourceInstanceSequence]
    assert named == [image.SOPInstanceUID for image in images]


def test_equal_pages_make_equal_bytes_and_other_pages_another_object(
    simulated: SourceSeries, run_description: RunDescription
) -> None:
    first, second = made(simulated, run_description), made(simulated, run_description)
    other = made(simulated, run_description, PAGES.replace(b"1.4", b"1.5"))
    assert to_bytes(first) == to_bytes(second)
    assert other.SOPInstanceUID != first.SOPInstanceUID


@pytest.mark.parametrize(("characters", "name"), NAMES, ids=[str(characters) for characters, _ in NAMES])
def test_names_in_every_script_survive_byte_for_byte(
    characters: str | list[str],
    name: str,
    simulated: SourceSeries,
    run_description: RunDescription,
    conformance_errors: Callable[[Dataset], list[str]],
) -> None:
    simulated.template.SpecificCharacterSet = characters
    simulated.template.PatientName = name
    sent = BytesIO()
    header = Dataset()
    header.SpecificCharacterSet, header.PatientName = characters, name
    pydicom.dcmwrite(sent, header, implicit_vr=False, little_endian=True)
    summary = made(simulated, run_description)
    encoded = sent.getvalue().split(b"PN", 1)[1][2:].rstrip()
    assert encoded in to_bytes(summary)
    assert str(read_back(summary).PatientName) == name
    assert conformance_errors(summary) == []


def test_a_source_without_accession_number_and_birth_date_is_enough(
    simulated: SourceSeries, run_description: RunDescription, conformance_errors: Callable[[Dataset], list[str]]
) -> None:
    for keyword in ("AccessionNumber", "PatientBirthDate"):
        simulated.template.pop(keyword, None)
    summary = made(simulated, run_description)
    validate(summary)
    assert conformance_errors(summary) == []


@pytest.mark.parametrize("content", [b"", b"no pages", PAGES[:-8]])
def test_what_is_no_whole_pdf_is_refused(
    content: bytes, simulated: SourceSeries, run_description: RunDescription
) -> None:
    with pytest.raises(InvalidObject, match="no complete PDF"):
        made(simulated, run_description, content)
