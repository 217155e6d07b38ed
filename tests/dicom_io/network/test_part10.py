from pathlib import Path

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from dicom_io.errors import NotDicom
from dicom_io.network.part10 import check_uid, file_header, read_envelope, read_summary


def test_a_header_and_encoded_bytes_make_a_file_that_reads_as_the_object(image: Path, tmp_path: Path) -> None:
    envelope = read_envelope(image)
    encoded = image.read_bytes()[envelope.dataset_offset :]
    copy = tmp_path / "copy.dcm"
    header = file_header(envelope.SOPClassUID, envelope.SOPInstanceUID, envelope.TransferSyntaxUID, "SCANNER")
    copy.write_bytes(header + encoded)
    assert pydicom.dcmread(copy) == pydicom.dcmread(image)
    assert pydicom.dcmread(copy).file_meta.SourceApplicationEntityTitle == "SCANNER"


def test_the_envelope_tells_where_the_dataset_begins(image: Path) -> None:
    envelope = read_envelope(image)
    assert (envelope.SOPClassUID, envelope.TransferSyntaxUID) == (MRImageStorage, ExplicitVRLittleEndian)
    assert image.read_bytes()[envelope.dataset_offset :][:4] == b"\x08\x00\x16\x00"


@pytest.mark.parametrize("text", ["", "1..2", "../../../etc/passwd", "1.2.3\n", "1" * 65, "1.2.a"])
def test_what_is_no_uid_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(NotDicom) as refusal:
        check_uid(text, "SOPInstanceUID")
    assert "SOPInstanceUID" in str(refusal.value)
    assert not text or text not in str(refusal.value)


def test_a_leading_zero_is_met_in_the_field_and_passes(tmp_path: Path) -> None:
    assert file_header(MRImageStorage, "1.2.03.4", ExplicitVRLittleEndian).startswith(b"\x00" * 128 + b"DICM")


@pytest.mark.parametrize("content", [b"", b"not DICOM at all", b"\x00" * 128 + b"DICM"])
def test_a_file_without_an_envelope_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.dcm"
    path.write_bytes(content)
    with pytest.raises(NotDicom, match=r"broken\.dcm"):
        read_envelope(path)


def test_a_summary_names_the_object_without_naming_the_patient(image: Path) -> None:
    summary = read_summary(image)
    assert summary.Modality == "MR"
    assert "Phantom" not in repr(summary)


def test_every_malformed_file_is_summarised_or_refused(data_dir: Path) -> None:
    for path in sorted((data_dir / "malformed_pydicom").glob("*.dcm")):
        try:
            read_summary(path)
        except NotDicom:
            continue
