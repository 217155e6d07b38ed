"""A header becomes what decides its reading, and nothing about the patient."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import JPEG2000, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSNearLossless, RLELossless

from dicom_io import errors
from dicom_io.read.headers import FrameHeader, is_lossy, read_frame_headers
from dicom_io.series import Part
from tests.dicom_io.read import scanner_files as scanner

SCAN = scanner.Scan()


def one(part: str = "P") -> Dataset:
    return scanner.classic(SCAN, "SIEMENS", part, scanner.as_siemens)[0]


def test_a_header_survives_json_and_holds_no_patient(tmp_path: Path) -> None:
    path = scanner.save([one()], tmp_path)[0]
    for source in (path, path.read_bytes(), one()):
        (header,) = read_frame_headers(source)
        stored = json.dumps(header.to_json())
        assert FrameHeader.from_json(json.loads(stored)) == header
        assert "SECRET" not in stored.upper()
        assert header.part is Part.PHASE
        assert header.echo_time_ms == 4.0


def test_a_multi_frame_object_gives_one_header_per_frame() -> None:
    headers = read_frame_headers(scanner.enhanced_siemens(SCAN, "PHASE", 1, "1.1"))
    assert [header.frame_number for header in headers] == [1, 2, 3, 4]
    assert {header.echo_time_ms for header in headers} == {8.5}
    assert all(list(header.position) == SCAN.position(index) for index, header in enumerate(headers))


def test_frames_without_a_description_are_refused() -> None:
    dataset = scanner.enhanced_siemens(SCAN, "PHASE", 1, "1.1")
    dataset.NumberOfFrames = 9
    with pytest.raises(errors.MissingAttribute, match="describes 4 frames"):
        read_frame_headers(dataset)


@pytest.mark.parametrize(
    ("keyword", "expected"),
    [
        ("StudyInstanceUID", errors.MissingAttribute),
        ("SeriesInstanceUID", errors.MissingAttribute),
        ("ImageOrientationPatient", errors.MissingAttribute),
        ("PixelSpacing", errors.MissingAttribute),
        ("Rows", errors.MissingAttribute),
    ],
)
def test_what_decides_the_grid_must_be_there(keyword: str, expected: type[errors.DicomError]) -> None:
    dataset = one()
    delattr(dataset, keyword)
    with pytest.raises(expected, match="ask the sender for complete headers"):
        read_frame_headers(dataset)


def test_a_number_that_is_none_is_a_contradiction(tmp_path: Path) -> None:
    path = scanner.save([one()], tmp_path)[0]
    path.write_bytes(path.read_bytes().replace(b"-4096 ", b"40-96x"))
    with pytest.raises(errors.ContradictoryHeader, match="Rescale Intercept"):
        read_frame_headers(path)


@pytest.mark.parametrize(
    ("syntax", "stated", "expected"),
    [
        (JPEGBaseline8Bit, "", True),
        (JPEGLSNearLossless, "00", True),
        (JPEG2000, "", True),
        (JPEG2000, "00", False),
        (JPEG2000Lossless, "", False),
        (RLELossless, "", False),
        (RLELossless, "01", True),
    ],
)
def test_loss_is_seen_in_the_attribute_and_in_the_transfer_syntax(syntax: str, stated: str, expected: bool) -> None:
    dataset = one()
    dataset.file_meta.TransferSyntaxUID = syntax
    if stated:
        dataset.LossyImageCompression = stated
    assert is_lossy(dataset) is expected


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_are_read_or_refused_but_never_surprise(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "whole.dcm"
    if not path.exists():
        scanner.save([one()], tmp_path / "made")[0].rename(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    # Any other exception ends the test.
    with contextlib.suppress(errors.DicomError):
        assert all(isinstance(header, FrameHeader) for header in read_frame_headers(bytes(content[:cut])))


def test_a_header_that_an_earlier_version_stored_is_read() -> None:
    """Rows of instances that arrived before an upgrade hold no second witnesses."""
    (header,) = read_frame_headers(one())
    stored = json.loads(json.dumps(header.to_json()))
    for name in ("slice_location", "acquisition_number", "coil", "stack", "acquired_matrix"):
        del stored[name]
    del stored["reconstruction_diameter_mm"]
    assert FrameHeader.from_json(stored) == header
