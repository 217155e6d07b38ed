"""Patient, study and frame of reference go from source to result unchanged; nothing else of the scanner's does."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO

import pydicom
import pytest
from pydicom import Dataset

from dicom_io.series import SourceSeries
from dicom_io.write.derived import copy_identity, find_element, local_time, without_identity
from dicom_io.write.mr_image import susceptibility_series
from dicom_io.write.part10 import to_bytes
from dicom_io.write.provenance import RunDescription
from dicom_io.write.validation import validate
from tests.dicom_io.write.conftest import map_of

IDENTITY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyDescription",
)


def with_header(source: SourceSeries, **values: object) -> SourceSeries:
    """Copy a source whose header states other values; None removes the attribute."""
    template = Dataset()
    template.update(source.template)
    for keyword, value in values.items():
        if value is None:
            template.pop(keyword, None)
        else:
            setattr(template, keyword, value)
    return replace(source, template=template)


def test_every_output_carries_the_patient_and_the_study_of_its_source(
    source: SourceSeries, make_all: Callable[[SourceSeries], list[Dataset]]
) -> None:
    for dataset in make_all(source):
        for keyword in IDENTITY:
            assert (dataset.get(keyword) or "") == (source.template.get(keyword) or ""), keyword


def test_image_outputs_stay_in_the_frame_of_reference_of_their_source(
    source: SourceSeries, make_all: Callable[[SourceSeries], list[Dataset]]
) -> None:
    *images, regions, report = make_all(source)
    assert {dataset.FrameOfReferenceUID for dataset in (*images, regions)} == {source.geometry.frame_of_reference_uid}
    assert "FrameOfReferenceUID" not in report


def test_no_private_attribute_of_the_scanner_reaches_an_output(
    source: SourceSeries, make_all: Callable[[SourceSeries], list[Dataset]]
) -> None:
    for dataset in make_all(source):
        assert not [element for element in dataset.iterall() if element.tag.is_private]


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "Ελένη^Π"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ],
)
def test_a_name_survives_in_the_character_set_of_its_source(
    simulated: SourceSeries,
    make_all: Callable[[SourceSeries], list[Dataset]],
    character_set: str | list[str],
    name: str,
) -> None:
    source = with_header(simulated, SpecificCharacterSet=character_set, PatientName=name)
    for dataset in make_all(source):
        read = pydicom.dcmread(BytesIO(to_bytes(dataset)))
        assert str(read.PatientName) == name
        assert read.SpecificCharacterSet == character_set


def test_an_issuer_a_request_and_a_time_zone_are_kept(
    simulated: SourceSeries, make_all: Callable[[SourceSeries], list[Dataset]]
) -> None:
    request = Dataset()
    request.RequestedProcedureID = "RP1"
    request.ScheduledProcedureStepID = "SPS1"
    request.add_new(0x00090010, "LO", "A VENDOR")
    source = with_header(simulated, IssuerOfPatientID="HOSPITAL", RequestAttributesSequence=[request])
    for dataset in make_all(source):
        assert dataset.IssuerOfPatientID == "HOSPITAL"
        assert dataset.RequestAttributesSequence[0].RequestedProcedureID == "RP1"
        assert dataset.TimezoneOffsetFromUTC == "+0000"
        assert 0x00090010 not in dataset.RequestAttributesSequence[0]
    assert 0x00090010 in request


def test_an_identifier_that_breaks_its_vr_is_kept_and_other_values_that_do_are_left_out(
    simulated: SourceSeries,
) -> None:
    source = with_header(simulated)
    with pytest.warns(UserWarning, match="maximum length"):
        source.template.AccessionNumber = "A" * 20
    with pytest.warns(UserWarning, match="Invalid value for VR DA"):
        source.template.PatientBirthDate = "1.4.1980"
    source.template.PatientSex = "UNKNOWN"
    target = Dataset()
    copy_identity(target, source)
    assert target.AccessionNumber == "A" * 20
    assert not target.PatientBirthDate
    assert not target.PatientSex


def test_an_empty_sequence_of_the_scanner_is_left_out(philips_classic: SourceSeries) -> None:
    assert len(philips_classic.template.ProcedureCodeSequence) == 0
    target = Dataset()
    copy_identity(target, philips_classic)
    assert "ProcedureCodeSequence" not in target


def test_an_attribute_is_found_inside_the_functional_groups_of_an_enhanced_image(
    philips_enhanced: SourceSeries,
) -> None:
    assert "SliceThickness" not in philips_enhanced.template
    found = find_element(philips_enhanced.template, "SliceThickness")
    assert found is not None
    assert float(found.value) == 3.0


def test_times_are_told_in_the_zone_of_the_source_and_only_there() -> None:
    moment = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)
    header = Dataset()
    assert local_time(moment, header) == moment
    header.TimezoneOffsetFromUTC = "+0100"
    assert local_time(moment, header).strftime("%Y%m%d%H%M") == "202611220030"
    header.TimezoneOffsetFromUTC = "-0330"
    assert local_time(moment, header).strftime("%Y%m%d%H%M") == "202611212000"


def test_blanked_copies_share_pixels_and_leave_the_originals_alone(scanner_images: list[Dataset]) -> None:
    (blanked,) = without_identity(scanner_images[:1])
    assert not blanked.PatientName
    assert scanner_images[0].PatientName == "Phantom^Head"
    assert blanked.PixelData is scanner_images[0].PixelData


def test_a_source_uid_with_leading_zeros_is_passed_on_as_it_is(
    simulated: SourceSeries, run_description: RunDescription
) -> None:
    odd = "1.2.840.0099.01"
    frames = tuple((replace(of_slice[0], SOPInstanceUID=odd),) for of_slice in simulated.frames)
    image = susceptibility_series(map_of(simulated), replace(simulated, frames=frames), run_description)[0]
    assert image.SourceImageSequence[0].ReferencedSOPInstanceUID == odd
    validate(image)
