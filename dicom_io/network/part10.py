"""The envelope of a DICOM file: writing it around received bytes, and reading it without decoding what is inside."""

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import dcmread
from pynetdicom.dsutils import split_dataset

from dicom_io.errors import NotDicom

IMPLEMENTATION_CLASS_UID = "2.25.25227552466161766416245673044513006111"
IMPLEMENTATION_VERSION_NAME = "LODESTONE_0_1"

_UID_CHARACTERS = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID = 64


@dataclass(frozen=True)
class Envelope:
    """What the file meta information says about the object inside (PS3.10 section 7.1)."""

    SOPClassUID: str
    SOPInstanceUID: str
    TransferSyntaxUID: str
    dataset_offset: int


@dataclass(frozen=True)
class ObjectSummary:
    """The few header attributes by which an archive lists an object; none of them identifies a patient."""

    SOPClassUID: str
    SOPInstanceUID: str
    StudyInstanceUID: str
    SeriesInstanceUID: str
    Modality: str
    SeriesDescription: str
    InstanceNumber: str


def is_uid(text: str) -> bool:
    """Say whether `text` has the form of a UID: up to 64 digits and single dots between them."""
    return len(text) <= _LONGEST_UID and _UID_CHARACTERS.fullmatch(text) is not None


def check_uid(text: str, keyword: str) -> str:
    """Return `text` if it has the form of a UID (PS3.5 section 9.1; leading zeros are met in the field and pass).

    Raises
    ------
    NotDicom
        It has not. The text itself is not repeated, since it came from outside.
    """
    if not is_uid(text):
        raise NotDicom(f"{keyword} is no UID; ask the sender to correct the object.")
    return text


def file_header(SOPClassUID: str, SOPInstanceUID: str, TransferSyntaxUID: str, sending_ae: str = "") -> bytes:
    """Build preamble, prefix and file meta information for an encoded dataset (PS3.10 section 7.1).

    Raises
    ------
    NotDicom
        One of the three is no UID.
    """
    elements = [
        _element(0x0001, b"OB", b"\x00\x01"),
        _element(0x0002, b"UI", check_uid(SOPClassUID, "SOPClassUID").encode("ascii")),
        _element(0x0003, b"UI", check_uid(SOPInstanceUID, "SOPInstanceUID").encode("ascii")),
        _element(0x0010, b"UI", check_uid(TransferSyntaxUID, "TransferSyntaxUID").encode("ascii")),
        _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID.encode("ascii")),
        _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode("ascii")),
    ]
    if sending_ae:
        elements.append(_element(0x0016, b"AE", sending_ae.encode("ascii")))
    group = b"".join(elements)
    return b"\x00" * 128 + b"DICM" + _element(0x0000, b"UL", struct.pack("<L", len(group))) + group


def _element(element: int, representation: bytes, content: bytes) -> bytes:
    """Encode one element of group 0002 in Explicit VR Little Endian (PS3.5 section 7.1.2).

    pydicom would warn about each irregular UID and write the received text into its log.
    """
    padded = content + (b"\x00" if representation in (b"UI", b"OB") else b" ") * (len(content) % 2)
    is_long = representation == b"OB"
    length = struct.pack("<HL", 0, len(padded)) if is_long else struct.pack("<H", len(padded))
    return struct.pack("<HH", 0x0002, element) + representation + length + padded


def read_envelope(path: Path) -> Envelope:
    """Read the file meta information of a file and where its dataset begins.

    Raises
    ------
    NotDicom
        The file has no preamble or lacks one of the attributes needed to send it.
    """
    try:
        meta, offset = split_dataset(path)
        return Envelope(
            SOPClassUID=str(meta.MediaStorageSOPClassUID),
            SOPInstanceUID=str(meta.MediaStorageSOPInstanceUID),
            TransferSyntaxUID=str(meta.TransferSyntaxUID),
            dataset_offset=offset,
        )
    except (AttributeError, InvalidDicomError, EOFError, ValueError) as error:
        raise NotDicom(f"{path.name} has no complete file meta information and cannot be sent.") from error


def read_summary(path: Path) -> ObjectSummary:
    """Read the attributes by which an archive lists an object; absent ones are empty.

    Raises
    ------
    NotDicom
        The header cannot be read.
    """
    keywords = list(ObjectSummary.__dataclass_fields__)
    try:
        dataset = dcmread(path, stop_before_pixels=True, specific_tags=keywords)
        return ObjectSummary(**{keyword: str(dataset.get(keyword, "")) for keyword in keywords})
    except (AttributeError, InvalidDicomError, EOFError, ValueError, KeyError, OSError) as error:
        raise NotDicom(f"The header of {path.name} cannot be read.") from error
