import hashlib
from datetime import UTC, datetime

import pytest
from pydicom import Dataset
from pydicom.tag import Tag
from pydicom.uid import RawDataStorage

from dicom_io.errors import MalformedRawData, UnknownRawData
from dicom_io.kspace.formats import format_of, read_payload
from dicom_io.kspace.mrd_file import write_file
from dicom_io.kspace.mrd_messages import stream_of
from dicom_io.kspace.raw_data import PRIVATE_ELEMENTS, PayloadFormat, RawPayload, find_payload, raw_data_object
from dicom_io.write.part10 import to_bytes
from dicom_io.write.validation import validate
from tests.dicom_io.kspace.raw_scans import IDENTITY, raw_header, raw_scan

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def envelope(scan, inside=True):
    content = b"".join(stream_of(scan))
    payload = RawPayload(PayloadFormat.MRD_STREAM, hashlib.sha256(content).hexdigest(), len(content), None)
    return raw_data_object(payload, scan.header, NOON, content if inside else None)


def check(made):
    """The validator knows no private elements, which a Raw Data object holds by its nature."""
    public = Dataset()
    public.update({element.tag: element for element in made if not element.tag.is_private})
    validate(public)


def test_kspace_in_a_raw_data_object_comes_back(tmp_path):
    scan = raw_scan()
    made = envelope(scan)
    check(made)
    assert made.SOPClassUID == RawDataStorage
    assert made.StudyInstanceUID == IDENTITY["StudyInstanceUID"]
    assert made.FrameOfReferenceUID == IDENTITY["FrameOfReferenceUID"]
    path = tmp_path / "raw.dcm"
    path.write_bytes(to_bytes(made))
    payload = find_payload(path)
    assert payload.offset is not None
    read = read_payload(path, payload)
    assert all((a == b).all() for a, b in zip(read.samples, scan.samples, strict=True))


def test_its_private_elements_are_those_that_the_conformance_statement_lists():
    made = envelope(raw_scan())
    held = {
        element.tag: element.VR for element in made if element.tag.is_private and not element.tag.is_private_creator
    }
    assert held == {tag: vr for tag, (vr, _) in PRIVATE_ELEMENTS.items() if tag in held}
    assert set(PRIVATE_ELEMENTS) - set(held) == {Tag(0x0099, 0x1004)}


def test_the_object_may_stand_for_a_file_beside_it(tmp_path):
    path = tmp_path / "raw.dcm"
    path.write_bytes(to_bytes(envelope(raw_scan(), inside=False)))
    payload = find_payload(path)
    assert payload.offset is None
    assert payload.format is PayloadFormat.MRD_STREAM


def test_the_same_scan_is_the_same_object():
    first, second = envelope(raw_scan()), envelope(raw_scan())
    assert to_bytes(first) == to_bytes(second)
    assert envelope(raw_scan(seed=2)).SOPInstanceUID != first.SOPInstanceUID


def test_a_scan_without_identity_is_still_an_object():
    check(envelope(raw_scan(identity={})))
    payload = RawPayload(PayloadFormat.MRD_STREAM, "0" * 64, 0, None)
    check(raw_data_object(payload, None, NOON))
    check(raw_data_object(payload, raw_header(vendor="", model=""), NOON))


def test_raw_data_of_others_are_named_and_not_opened(tmp_path):
    made = envelope(raw_scan())
    made.CreatorVersionUID = "1.2.840.113619.6.408"
    path = tmp_path / "raw.dcm"
    path.write_bytes(to_bytes(made))
    with pytest.raises(UnknownRawData, match=r"creator version 1\.2\.840\.113619\.6\.408"):
        find_payload(path)


def test_damaged_content_is_refused(tmp_path):
    content = bytearray(to_bytes(envelope(raw_scan())))
    content[-100] ^= 1
    path = tmp_path / "raw.dcm"
    path.write_bytes(bytes(content))
    with pytest.raises(MalformedRawData, match="not what its digest says"):
        find_payload(path)


def test_a_file_is_known_by_its_first_bytes(tmp_path):
    scan = raw_scan()
    (tmp_path / "a.mrd").write_bytes(b"".join(stream_of(scan, "config")))
    write_file(tmp_path / "b.mrd", scan)
    (tmp_path / "c.dat").write_bytes(b"anything")
    (tmp_path / "d.txt").write_bytes(b"notes about it")
    found = [format_of(tmp_path / name) for name in ("a.mrd", "b.mrd", "c.dat")]
    assert found == [PayloadFormat.MRD_STREAM, PayloadFormat.ISMRMRD_FILE, PayloadFormat.TWIX]
    with pytest.raises(MalformedRawData, match="no raw data that can be read"):
        format_of(tmp_path / "d.txt")
