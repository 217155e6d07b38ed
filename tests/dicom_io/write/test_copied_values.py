"""What a worklist or scanner filled badly is left out, and never keeps a result from being sent."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from io import BytesIO

import pydicom
import pytest
from pydicom import DataElement, Dataset
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword

from dicom_io.series import SourceSeries
from dicom_io.write.copied_values import copied_element
from dicom_io.write.part10 import to_bytes
from dicom_io.write.validation import validate


def element(keyword: str, value: object) -> DataElement:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return DataElement(tag, dictionary_VR(tag), value, validation_mode=IGNORE)


def item(values: Mapping[str, object]) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        made[keyword] = element(keyword, value)
    return made


CODE = {"CodeValue": "MRQSM", "CodingSchemeDesignator": "L", "CodeMeaning": "Susceptibility"}
UNUSABLE = {
    "other ID without type": ("OtherPatientIDsSequence", {"PatientID": "X"}),
    "other ID with empty type": ("OtherPatientIDsSequence", {"PatientID": "X", "TypeOfPatientID": ""}),
    "code without anything": ("ProcedureCodeSequence", {}),
    "code without meaning": ("ProcedureCodeSequence", {**CODE, "CodeMeaning": ""}),
    "code without scheme": ("DeidentificationMethodCodeSequence", {"CodeValue": "1", "CodeMeaning": "some"}),
    "code with two values": ("ProcedureCodeSequence", {**CODE, "LongCodeValue": "MRQSM"}),
}


@pytest.mark.parametrize(("keyword", "values"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_item_that_lacks_what_the_standard_requires_is_left_out(keyword: str, values: dict[str, object]) -> None:
    assert copied_element(element(keyword, [item(values)])) is None


def test_a_good_item_beside_a_bad_one_is_kept() -> None:
    copied = copied_element(element("ProcedureCodeSequence", [item({}), item(CODE)]))
    assert copied is not None
    assert [code.CodeValue for code in copied.value] == ["MRQSM"]


def test_a_value_that_is_too_long_goes_and_the_rest_of_its_item_stays() -> None:
    request = item({"RequestedProcedureID": "9" * 30, "ScheduledProcedureStepID": "STEP1", "AccessionNumber": "A" * 30})
    copied = copied_element(element("RequestAttributesSequence", [request]))
    assert copied is not None
    assert copied.value[0].ScheduledProcedureStepID == "STEP1"
    assert "RequestedProcedureID" not in copied.value[0]
    # An identifier of the study is never changed.
    assert copied.value[0].AccessionNumber == "A" * 30


def test_a_code_inside_an_item_is_judged_too() -> None:
    request = item({"ScheduledProcedureStepID": "1", "ScheduledProtocolCodeSequence": [item({"CodeValue": "1"})]})
    copied = copied_element(element("RequestAttributesSequence", [request]))
    assert copied is not None
    assert "ScheduledProtocolCodeSequence" not in copied.value[0]


def test_private_content_is_left_out_at_every_depth() -> None:
    request = item({"ScheduledProcedureStepID": "1"})
    request.private_block(0x0019, "A SCANNER", create=True).add_new(1, "LO", "private")
    copied = copied_element(element("RequestAttributesSequence", [request]))
    assert copied is not None
    assert [found.keyword for found in copied.value[0]] == ["ScheduledProcedureStepID"]


def test_a_name_of_more_than_five_components_is_kept_only_where_it_is_the_patients() -> None:
    assert copied_element(element("ReferringPhysicianName", "a^b^c^d^e^f")) is None
    assert copied_element(element("ReferringPhysicianName", "a^b^c^d^e=f^g^h^i^j")) is not None
    assert copied_element(element("PatientName", "a^b^c^d^e^f")) is not None


def test_the_source_is_not_changed() -> None:
    original = element("ProcedureCodeSequence", [item({}), item(CODE)])
    copied_element(original)
    assert len(original.value) == 2


BAD_VALUES = {
    "StationName": "A_NAME_OF_MORE_THAN_16",
    "InstitutionName": "x" * 80,
    "SoftwareVersions": ["y" * 80, "z"],
    "DeviceSerialNumber": "9" * 80,
    "Manufacturer": "m" * 80,
    "ProtocolName": "p" * 80,
    "SequenceName": "*fl3d_very_long_name_12",
    "PatientAge": "42",
    "TimezoneOffsetFromUTC": "UTC",
    "ReferringPhysicianName": "a^b^c^d^e^f^g",
    "PatientID": "i" * 80,
    "AccessionNumber": "1" * 30,
    "BodyPartExamined": "brain",
    "PatientBirthDate": "1970-01-01",
    "StudyTime": "12:13:14",
}


@pytest.mark.parametrize("keyword", BAD_VALUES)
def test_a_value_that_does_not_fit_its_representation_stops_no_object(
    keyword: str,
    simulated: SourceSeries,
    make_all: Callable[[SourceSeries], list[Dataset]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", IGNORE)
    template = Dataset()
    template.update(simulated.template)
    template[keyword] = element(keyword, BAD_VALUES[keyword])
    made = make_all(replace(simulated, template=template))
    for dataset in (made[0], *made[-2:]):
        validate(dataset)


def test_a_slice_thickness_of_zero_is_replaced_by_the_distance_of_the_slices(
    simulated: SourceSeries, make_all: Callable[[SourceSeries], list[Dataset]]
) -> None:
    template = Dataset()
    template.update(simulated.template)
    template.SliceThickness = "0"
    image = make_all(replace(simulated, template=template))[0]
    assert image.SliceThickness == image.SpacingBetweenSlices > 0


def test_an_unknown_patient_position_is_written_empty(
    simulated: SourceSeries, make_all: Callable[[SourceSeries], list[Dataset]]
) -> None:
    template = Dataset()
    template.update(simulated.template)
    del template.PatientPosition
    image = make_all(replace(simulated, template=template))[0]
    assert image["PatientPosition"].is_empty


# pydicom says so too, when it reads the header.
@pytest.mark.filterwarnings("ignore:(Unknown encoding|Incorrect value for Specific Character Set)")
@pytest.mark.parametrize("stated", ["UTF-8", "ISO-IR 100", "FOO"])
def test_a_character_set_that_does_not_exist_becomes_unicode_and_the_name_stays_readable(
    stated: str, simulated: SourceSeries, make_all: Callable[[SourceSeries], list[Dataset]]
) -> None:
    template = Dataset()
    template.update(simulated.template)
    template.PatientName = "Müller^Jörg"
    template["SpecificCharacterSet"] = element("SpecificCharacterSet", stated)
    for dataset in make_all(replace(simulated, template=template))[-2:]:
        validate(dataset)
        read = pydicom.dcmread(BytesIO(to_bytes(dataset)))
        assert read.SpecificCharacterSet == "ISO_IR 192"
        assert str(read.PatientName) == "Müller^Jörg"
