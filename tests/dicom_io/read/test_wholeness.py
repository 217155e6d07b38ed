"""An object that says something twice, or in another form than the standard's, is refused by name."""

from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.tag import BaseTag, Tag

from dicom_io.errors import ContradictoryHeader, DicomError
from dicom_io.read.headers import read_frame_headers
from node.reading_study.subjects import Subject, encoded, simulated_subjects

SCALE_SLOPE = Tag(0x2005, 0x100E)


@pytest.fixture(scope="module")
def subjects() -> dict[str, Subject]:
    return {subject.name: subject for subject in simulated_subjects()}


def twice(dataset: Dataset, holder: Dataset, tag: BaseTag, stand_in: BaseTag, value: object) -> bytes:
    """Return the file of a data set in one of whose items an element stands twice, before or after."""
    true = holder[tag]
    holder[stand_in] = DataElement(stand_in, true.VR, value)
    written = encoded(dataset)
    del holder[stand_in]
    assert written.count(spelled(stand_in) + true.VR.encode()) == 1
    return written.replace(spelled(stand_in) + true.VR.encode(), spelled(tag) + true.VR.encode())


def spelled(tag: BaseTag) -> bytes:
    return tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little")


@pytest.mark.parametrize("stand_in", [Tag(0x0018, 0x0082), Tag(0x0018, 0x0049), Tag(0x0018, 0x9901)])
def test_an_echo_time_that_stands_twice_is_refused(subjects: dict[str, Subject], stand_in: BaseTag) -> None:
    dataset = subjects["siemens_classic"].objects[0]
    assert stand_in not in dataset
    with pytest.raises(ContradictoryHeader, match=r"\(0018,0081\) stands there twice"):
        read_frame_headers(twice(dataset, dataset, Tag(0x0018, 0x0081), stand_in, "7.5"))


def test_a_slope_that_stands_twice_in_one_frame_of_many_is_refused(subjects: dict[str, Subject]) -> None:
    dataset = subjects["philips_enhanced"].objects[0]
    holder = dataset.PerFrameFunctionalGroupsSequence[4].PixelValueTransformationSequence[0]
    with pytest.raises(ContradictoryHeader, match=r"\(0028,1053\) stands there twice"):
        read_frame_headers(twice(dataset, holder, Tag(0x0028, 0x1053), Tag(0x0028, 0x1055), "2"))


def test_a_private_scale_called_another_kind_of_value_is_refused(subjects: dict[str, Subject]) -> None:
    file = encoded(subjects["philips_real_and_imaginary"].objects[0])
    mark = spelled(SCALE_SLOPE)
    assert file.count(mark + b"FL") == 1
    with pytest.raises(ContradictoryHeader, match=r"\(2005,100E\) is stored as SS, but it is FL"):
        read_frame_headers(file.replace(mark + b"FL", mark + b"SS"))


def test_a_text_called_another_kind_of_text_is_read(subjects: dict[str, Subject]) -> None:
    file = encoded(subjects["siemens_classic"].objects[0])
    echo_time = b"\x18\x00\x81\x00"
    assert read_frame_headers(file.replace(echo_time + b"DS", echo_time + b"LO")) == read_frame_headers(file)


def test_no_object_of_a_scanner_or_a_publisher_says_anything_twice(
    subjects: dict[str, Subject], data_dir: Path
) -> None:
    sources: list[Path | bytes] = [encoded(item) for subject in subjects.values() for item in subject.objects[::5]]
    sources += [path for path in sorted(data_dir.rglob("*"))[::7] if path.is_file()]
    judged, refusals = 0, []
    for source in sources:
        try:
            judged += len(read_frame_headers(source)) > 0
        except DicomError as refusal:
            refusals.append(str(refusal))
    assert judged > 60
    assert not [sentence for sentence in refusals if "twice" in sentence or "stored as" in sentence]


@pytest.mark.parametrize("form", [b"UL", b"FL", b"OB"])
def test_a_private_creator_called_a_number_is_refused(subjects: dict[str, Subject], form: bytes) -> None:
    file = encoded(subjects["siemens_xa_classic"].objects[0])
    mark = spelled(Tag(0x0021, 0x0011))
    assert file.count(mark + b"LO") == 1
    with pytest.raises(ContradictoryHeader, match=r"creator|is stored as"):
        read_frame_headers(file.replace(mark + b"LO", mark + form))
