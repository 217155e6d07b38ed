"""Items are cut where pydicom would part them, whichever way their lengths are written, or not at all."""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.dataelem import DataElement

from dicom_io.errors import DicomError
from dicom_io.read.conclusions import Conclusions
from dicom_io.read.cutting import ITEM_END, SEQUENCE_END, Cutter, NotPlain
from dicom_io.read.elements import TAG_BITS, Layouts
from dicom_io.read.frames import compared
from dicom_io.read.headers import OWN_FIELDS, read_frame_headers
from dicom_io.read.multiframe import FrameView, frames_of
from dicom_io.read.opening import open_object
from dicom_io.read.reader import read_echo_series, read_source
from dicom_io.series import Part
from node.reading_study.subjects import encoded, simulated_subjects

DAMAGES = 60
ENHANCED = ("philips_enhanced", "siemens_enhanced")
OUTER, INNER, OTHER, NUMBER = 0x00289132, 0x00409096, 0x00289145, 0x00281050
ITEM_START = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"


@pytest.fixture(scope="module")
def objects() -> dict[str, list[Dataset]]:
    return {subject.name: list(subject.objects) for subject in simulated_subjects() if subject.name in ENHANCED}


def with_open_lengths(objects: list[Dataset]) -> Iterator[bytes]:
    def leave_open(dataset: Dataset, element: DataElement) -> None:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True

    for original in objects:
        dataset = pydicom.dcmread(pydicom.filebase.DicomBytesIO(encoded(original)))
        dataset.walk(leave_open)
        yield encoded(dataset)


def saved(contents: Iterator[bytes], folder: Path) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = []
    for number, content in enumerate(contents):
        paths.append(folder / f"{number}.dcm")
        paths[-1].write_bytes(content)
    return paths


@pytest.mark.parametrize("flavour", ENHANCED)
def test_an_object_with_lengths_left_open_is_cut_and_read_as_with_stated_ones(
    tmp_path: Path, objects: dict[str, list[Dataset]], flavour: str
) -> None:
    stated = saved(map(encoded, objects[flavour]), tmp_path / "stated")
    left_open = saved(with_open_lengths(objects[flavour]), tmp_path / "open")
    conclusions = Conclusions()
    for path in left_open:
        assert open_object(path, Layouts()).parsed is None
        assert b"\x00\x52\x30\x92SQ\0\0\xff\xff\xff\xff" in path.read_bytes()
        assert read_frame_headers(path, conclusions) == read_frame_headers(path.read_bytes())
    first, second = read_echo_series(stated), read_echo_series(left_open)
    assert np.array_equal(first.phase, second.phase)
    assert np.array_equal(first.magnitude, second.magnitude)


@pytest.mark.parametrize("flavour", ENHANCED)
def test_what_is_taken_from_a_cut_object_is_what_pydicom_reads(
    tmp_path: Path, objects: dict[str, list[Dataset]], flavour: str
) -> None:
    paths = saved(with_open_lengths(objects[flavour]), tmp_path)
    template = read_source(paths).template
    read = {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID): path for path in paths}
    original = pydicom.dcmread(read[template.SOPInstanceUID], stop_before_pixels=True)
    assert template.to_json() == original.to_json()
    assert template.file_meta == original.file_meta
    assert template.original_character_set == original.original_character_set


@pytest.mark.parametrize("flavour", ENHANCED)
def test_every_frame_has_the_answers_that_it_would_have_alone(
    tmp_path: Path, objects: dict[str, list[Dataset]], flavour: str
) -> None:
    together = Conclusions()
    for path in saved(map(encoded, objects[flavour]), tmp_path):
        opened = open_object(path, together.layouts)
        for rule in (OWN_FIELDS["position"], OWN_FIELDS["acquired_at"], OWN_FIELDS["stack_position"]):
            found: dict[int, object] = {}
            for frames in compared(frames_of(opened)):
                found.update(zip(frames.places, together.of_all(rule, frames, None, None), strict=True))
            assert [found[place] for place in sorted(found)] == [
                rule(view, None, Part.PHASE) for view in frames_of(opened)
            ]


def test_a_rule_is_asked_again_for_an_object_that_differs_where_frames_do_not(
    tmp_path: Path, objects: dict[str, list[Dataset]]
) -> None:
    def rule(view: FrameView) -> object:
        return view.get("SeriesInstanceUID"), view.get("ComplexImageComponent"), view.get("RescaleSlope")

    changed = pydicom.dcmread(pydicom.filebase.DicomBytesIO(encoded(objects["siemens_enhanced"][0])))
    changed.SharedFunctionalGroupsSequence[0].MRImagingModifierSequence[0].TransmitterFrequency = 128.5
    changed.SeriesInstanceUID = "1.2.3"
    paths = saved(map(encoded, [objects["siemens_enhanced"][0], changed]), tmp_path)
    conclusions = Conclusions()
    first, second = (read_frame_headers(path, conclusions) for path in paths)
    assert second == read_frame_headers(paths[1])
    assert {header.series_instance_uid for header in second} == {"1.2.3"}
    assert {header.frequency_mhz for header in first} != {header.frequency_mhz for header in second} == {128.5}
    views = [frames_of(open_object(path, conclusions.layouts))[0] for path in paths]
    assert [conclusions.of(rule, view) for view in views] == [rule(view) for view in views]


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def open_sequence(tag: int, *items: bytes) -> bytes:
    content = b"".join(ITEM_START + item + ITEM_END for item in items)
    return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, b"SQ", 0, 0xFFFFFFFF) + content + SEQUENCE_END


def test_equal_headers_around_another_nesting_do_not_make_two_items_alike() -> None:
    first, second = (open_sequence(tag, element(NUMBER, b"DS", b"1234")) for tag in (INNER, OTHER))
    one = open_sequence(OUTER, open_sequence(INNER, first, second) + element(0x00409210, b"SH", b"ab"))
    # Where the second inner item began, the inner sequence ends, and then the outer item: the rest belongs nowhere.
    at = one.index(second) - len(ITEM_START)
    other = one[:at] + SEQUENCE_END + one[at + len(ITEM_START) :]
    cutter = Cutter(False, Layouts())
    item = ITEM_START + one + ITEM_END
    assert cutter.items(item + item)[1].elements.layout is cutter.items(item)[0].elements.layout
    with pytest.raises(NotPlain):
        cutter.items(item + ITEM_START + other + ITEM_END)


def test_items_of_one_length_are_told_apart_by_their_headers() -> None:
    items = [open_sequence(OUTER, element(tag, b"DS", b"1234")) for tag in (0x00281052, 0x00281053, 0x00281052)]
    content = b"".join(ITEM_START + item + ITEM_END for item in items)
    keys = [item.elements.layout.keys[0] for item in Cutter(False, Layouts()).items(content)]
    assert keys == [OUTER << TAG_BITS | tag for tag in (0x00281052, 0x00281053, 0x00281052)]


@pytest.mark.parametrize("flavour", ENHANCED)
def test_damaged_bytes_are_read_as_pydicom_reads_them_or_refused(
    tmp_path: Path, objects: dict[str, list[Dataset]], flavour: str
) -> None:
    whole = next(with_open_lengths(objects[flavour][:1]))
    header = whole[: whole.index(b"\xe0\x7f\x10\x00OW")]
    generator = np.random.default_rng(5)
    differing = []
    for where, byte in zip(
        generator.integers(400, len(header), DAMAGES), generator.integers(0, 256, DAMAGES), strict=True
    ):
        damaged = header[:where] + bytes([byte]) + header[where + 1 :] if byte % 4 else header[:where]
        path = tmp_path / "damaged.dcm"
        path.write_bytes(damaged)
        if outcome(path) != outcome(damaged):
            differing.append((where, byte))
    assert not differing


def outcome(source: Path | bytes) -> object:
    """Return the headers of frames that were read, or the kind of refusal."""
    try:
        return read_frame_headers(source)
    except DicomError as refusal:
        return type(refusal)
