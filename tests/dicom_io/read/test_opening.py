"""What is cut from a file is what pydicom reads of it, and nothing is concluded from other bytes."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from dicom_io.read.conclusions import Conclusions
from dicom_io.read.elements import Layouts
from dicom_io.read.headers import read_frame_headers
from dicom_io.read.multiframe import FrameView, whole_view
from dicom_io.read.opening import open_object
from dicom_io.read.pixels import PlainPixels, decode, pixels_in_file
from tests.dicom_io.read import scanner_files as scanner

SCAN = scanner.Scan()


def saved(tmp_path: Path) -> list[Path]:
    return scanner.save(scanner.classic(SCAN, "SIEMENS", "MP", scanner.as_siemens), tmp_path)


def test_headers_of_a_file_that_is_cut_are_those_that_pydicom_reads(tmp_path: Path) -> None:
    conclusions = Conclusions()
    for path in saved(tmp_path):
        assert open_object(path, Layouts()).parsed is None
        assert read_frame_headers(path, conclusions) == read_frame_headers(path.read_bytes())


def test_a_rule_is_asked_once_for_equal_bytes_and_again_for_others(tmp_path: Path) -> None:
    asked: list[str] = []

    def rule(view: FrameView, vendor: None) -> object:
        asked.append("once more")
        return view.get("EchoTime")

    conclusions = Conclusions()
    views = [whole_view(open_object(path, conclusions.layouts)) for path in saved(tmp_path)]
    times = [conclusions.of(rule, view, None) for view in views]
    assert times == [view.get("EchoTime") for view in views]
    assert len(asked) == len(SCAN.echo_times_ms)


def test_a_rule_that_looks_into_the_object_itself_is_asked_for_each(tmp_path: Path) -> None:
    def rule(view: FrameView, vendor: None) -> object:
        return str(view.dataset.SOPInstanceUID)

    conclusions = Conclusions()
    views = [whole_view(open_object(path, conclusions.layouts)) for path in saved(tmp_path)]
    assert len({conclusions.of(rule, view, None) for view in views}) == len(views)


@pytest.mark.parametrize("is_signed", [0, 1])
def test_bits_above_those_stored_are_no_part_of_a_value(tmp_path: Path, is_signed: int) -> None:
    dataset: Dataset = scanner.classic(SCAN, "SIEMENS", "M", scanner.as_siemens)[0]
    shape = dataset.Rows, dataset.Columns
    stored = np.random.default_rng(1).integers(0, 1 << 16, shape, dtype=np.uint16)
    dataset.PixelData, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = stored.tobytes(), 16, 12, 11
    dataset.PixelRepresentation = is_signed
    (path,) = scanner.save([dataset], tmp_path)
    conclusions = Conclusions()
    pixels = pixels_in_file(open_object(path, conclusions.layouts), conclusions)
    assert isinstance(pixels, PlainPixels)
    room = np.empty(shape, dtype=pixels.dtype)
    with path.open("rb") as stream:
        pixels.read(stream, 0, room)
    pixels.clear_unused_bits(room)
    assert np.array_equal(room, decode(path)[0])


def test_pixels_after_which_something_follows_are_left_to_the_decoder(tmp_path: Path) -> None:
    path, conclusions = saved(tmp_path)[0], Conclusions()
    path.write_bytes(path.read_bytes() + b"\x01\x02\x03\x04\x05\x06")
    assert pixels_in_file(open_object(path, conclusions.layouts), conclusions) is None
